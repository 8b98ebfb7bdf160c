//! A file of rules: YAML or JSON, one mapping from names to rules.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::{
    Deserialize,
    de::{MapAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::{
    actions::{ACTIONS, ALIASES, Scope},
    expr::{Expr, Value},
    parse::parse,
};

/// Largest file, in bytes.
const LARGEST: usize = 64 * 1024;
/// Longest chain of rules that refer to each other.
const LONGEST_CHAIN: usize = 32;
/// Largest rule, in checks, with everything written out that it refers to.
const LARGEST_RULE: usize = 1_000;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be understood.
    #[error("{}: {}", path.display(), listed(wrong))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        wrong: Vec<Wrong>,
    },
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The line; 0 for a rule of the code that refers to one of the file.
    pub line: u64,
    /// The rule, if it is one.
    pub rule: Option<String>,
    /// Why, with the column.
    pub why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.why)
    }
}

fn listed(wrong: &[Wrong]) -> String {
    let all: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    all.join("; ")
}

/// Reads the rules of the code.
pub fn defaults() -> Result<BTreeMap<String, Expr>, Wrong> {
    let all = ACTIONS.iter().map(|action| (action.name, action.default));
    let read = |(name, text): (&str, &str)| {
        let rule = parse(text).map_err(|fault| wrong(0, name, fault.to_string()))?;
        Ok((name.to_owned(), rule))
    };
    all.chain(ALIASES).map(read).collect()
}

/// Reads a file over the rules of the code.
pub fn read(path: &Path) -> Result<BTreeMap<String, Expr>, PolicyError> {
    let cannot = |source| PolicyError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let opened = File::open(path).map_err(cannot)?;
    let mut opened = opened.take(LARGEST as u64 + 1);
    opened.read_to_string(&mut text).map_err(cannot)?;
    rules(&text).map_err(|wrong| PolicyError::Wrong {
        path: path.to_owned(),
        wrong,
    })
}

/// Reads rules over those of the code.
pub fn rules(text: &str) -> Result<BTreeMap<String, Expr>, Vec<Wrong>> {
    if text.len() > LARGEST {
        return Err(vec![whole(
            1,
            format!("the file has more than {LARGEST} bytes"),
        )]);
    }
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
    };
    let entries = serde_saphyr::from_str_with_options(text, options);
    let entries: Entries = entries.map_err(|error: serde_saphyr::Error| {
        let place = error.location();
        let line = place.map_or(1, |place| place.line());
        let column = place.map_or(1, |place| place.column());
        let why = error.without_snippet().to_string();
        vec![whole(line, format!("column {column}: {why:.300}"))]
    })?;
    let mut rules = defaults().map_err(|wrong| vec![wrong])?;
    let (mut lines, mut faults) = (BTreeMap::new(), Vec::new());
    for (name, text) in entries.0 {
        let line = text.referenced.line();
        if lines.insert(name.clone(), line).is_some() {
            faults.push(wrong(line, &name, "is there twice"));
        }
        match parse(&text.value) {
            Ok(rule) => drop(rules.insert(name, rule)),
            Err(fault) => faults.push(wrong(line, &name, fault.to_string())),
        }
    }
    if faults.is_empty() {
        faults = check(&rules, &lines);
    }
    if faults.is_empty() {
        Ok(rules)
    } else {
        Err(faults)
    }
}

/// Says what is wrong with rules that were each understood.
fn check(rules: &BTreeMap<String, Expr>, lines: &BTreeMap<String, u64>) -> Vec<Wrong> {
    let mut faults = Vec::new();
    let line = |name: &str| lines.get(name).copied().unwrap_or_default();
    let mut fault = |name: &str, why: String| faults.push(wrong(line(name), name, why));
    for name in lines.keys() {
        let is_known = ACTIONS.iter().any(|action| action.name == name);
        // Rules that others refer to have no colon, so that an action that is misspelt is found.
        if name.contains(':') && !is_known {
            fault(name, "there is no such action".to_owned());
        }
    }
    for name in lines.keys() {
        if let Err(why) = reaches(rules, name) {
            fault(name, why);
        }
    }
    if !faults.is_empty() {
        return faults;
    }
    // What is left refers to a rule of the file that is good by itself.
    let others = ACTIONS.iter().map(|action| action.name);
    for name in others.filter(|name| !lines.contains_key(*name)) {
        if let Err(why) = reaches(rules, name) {
            faults.push(wrong(0, name, why));
        }
    }
    faults
}

/// Says what is wrong with all that a rule refers to.
fn reaches(rules: &BTreeMap<String, Expr>, name: &str) -> Result<(), String> {
    let mut reach = Reach::default();
    reach.follow(rules, name, &mut Vec::new())?;
    let action = ACTIONS.iter().find(|action| action.name == name);
    let known = action.map_or(Scope::Job, |action| action.scope);
    if reach.looks_at > known {
        let what = reach.what();
        return Err(format!("looks at {what}, which is not known there"));
    }
    Ok(())
}

/// What a rule comes to with everything that it refers to.
struct Reach {
    checks: usize,
    looks_at: Scope,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            checks: 0,
            looks_at: Scope::Service,
        }
    }
}

impl Reach {
    /// Follows a rule; `path` has those that have led to it.
    fn follow<'a>(
        &mut self,
        rules: &'a BTreeMap<String, Expr>,
        name: &'a str,
        path: &mut Vec<&'a str>,
    ) -> Result<(), String> {
        if path.contains(&name) {
            let first = path.first().copied().unwrap_or(name);
            return Err(if first == name {
                format!("refers to itself, by {}", path.join(", "))
            } else {
                format!("refers to {name}, which refers to itself")
            });
        }
        if path.len() == LONGEST_CHAIN {
            return Err(format!(
                "more than {LONGEST_CHAIN} rules refer to each other"
            ));
        }
        let rule = rules.get(name);
        let rule = rule.ok_or_else(|| format!("there is no rule {name}"))?;
        path.push(name);
        let mut named = Vec::new();
        rule.walk(&mut |part| {
            self.checks += 1;
            match part {
                Expr::Rule(name) => named.push(name.as_str()),
                Expr::Is(_, Value::ProjectId) => self.looks_at = self.looks_at.max(Scope::Project),
                Expr::Is(_, Value::UserId) => self.looks_at = Scope::Job,
                _ => {}
            }
        });
        if self.checks > LARGEST_RULE {
            return Err(format!("comes to more than {LARGEST_RULE} checks"));
        }
        for name in named {
            self.follow(rules, name, path)?;
        }
        path.pop();
        Ok(())
    }

    fn what(&self) -> Value {
        if self.looks_at == Scope::Job {
            Value::UserId
        } else {
            Value::ProjectId
        }
    }
}

fn wrong(line: u64, rule: &str, why: impl Into<String>) -> Wrong {
    Wrong {
        line,
        rule: Some(rule.to_owned()),
        why: why.into(),
    }
}

fn whole(line: u64, why: String) -> Wrong {
    Wrong {
        line,
        rule: None,
        why,
    }
}

/// The entries of a file in their order, also those that are there twice.
struct Entries(Vec<(String, Spanned<String>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping from names to rules")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Reading)
    }
}
