//! Names that one job of a project may hold at a time.
//!
//! A job carries the keys that it holds in every message, so that whoever folds the log knows when
//! they are taken and when they are free. The keys themselves are advisory: what must never exist
//! twice is refused by whoever makes it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most characters of a key.
pub const MAX_KEY: usize = 255;

/// How long a job holds a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Until the job ends.
    Active,
    /// Until the job fails or is cancelled. One that succeeded has made something that has the name:
    /// its key is held until a job that frees it succeeds, or its record is forgotten.
    Result,
}

/// A key that a job holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct Unique {
    /// The key; one name space for each project.
    pub key: String,
    /// How long.
    pub scope: Scope,
    /// Whether the job waits for its turn (see [`crate::turn`]) where others are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queue: bool,
}

/// Says whether a text may be a key: 1 to 255 characters, none of them a control character.
pub fn is_key(text: &str) -> bool {
    (1..=MAX_KEY).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// A key with places for parts of a job's input: `vm:{/vm_hostname|lower}`.
///
/// What is between braces is a JSON Pointer (RFC 6901) to a text or a number; `|lower` makes ASCII
/// letters small, for names that do not tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place { pointer: String, lower: bool },
}

/// A text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key such as \"vm:{{/vm_hostname|lower}}\"")]
pub struct ParseTemplateError(String);

impl FromStr for Template {
    type Err = ParseTemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseTemplateError(text.to_owned());
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (place, behind) = after.split_once('}').ok_or_else(wrong)?;
            let (pointer, lower) = match place.split_once('|') {
                None => (place, false),
                Some((pointer, "lower")) => (pointer, true),
                Some(_) => return Err(wrong()),
            };
            if !pointer.starts_with('/') || before.contains('}') {
                return Err(wrong());
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Place {
                pointer: pointer.to_owned(),
                lower,
            });
            rest = behind;
        }
        if rest.contains('}') || !is_key(text) {
            return Err(wrong());
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }
}

impl Template {
    /// Fills in parts of an input; `None` when one is missing or is no text and no number, or when
    /// the outcome [is no key](is_key).
    pub fn fill(&self, input: &Value) -> Option<String> {
        let mut key = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Place { pointer, lower } => {
                    let text = match input.pointer(pointer)? {
                        Value::String(text) => text.clone(),
                        Value::Number(number) => number.to_string(),
                        _ => return None,
                    };
                    key.push_str(&if *lower {
                        text.to_ascii_lowercase()
                    } else {
                        text
                    });
                }
            }
        }
        is_key(&key).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_filled_from_the_input() {
        let input = json!({"vm_hostname": "lxWeb01", "n": 7, "a": {"b/c": "d"}, "list": []});
        for (template, key) in [
            ("vm:{/vm_hostname|lower}", Some("vm:lxweb01")),
            ("vm:{/vm_hostname}", Some("vm:lxWeb01")),
            ("{/a/b~1c}-{/n}!", Some("d-7!")),
            ("all", Some("all")),
            ("{/list}", None),
            ("{/absent}", None),
        ] {
            let template: Template = template.parse().unwrap();
            assert_eq!(template.fill(&input).as_deref(), key, "{template:?}");
        }
        let long = json!({"vm_hostname": "x".repeat(253)});
        let template: Template = "vm:{/vm_hostname}".parse().unwrap();
        assert_eq!(template.fill(&long), None);
    }

    #[test]
    fn what_cannot_be_filled_is_refused_when_it_is_read() {
        for text in ["", "{vm}", "{/a", "a}", "}{/a}", "{/a|upper}", "a\n{/b}"] {
            assert!(text.parse::<Template>().is_err(), "{text:?}");
        }
    }
}
