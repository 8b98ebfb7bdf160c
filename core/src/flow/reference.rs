//! References in the inputs of steps: `{"$ref": "/done/vm/output/ip"}`.
//!
//! A reference is a JSON pointer (RFC 6901) into a document with the flow's `input` and, for every
//! step that has ended well, `done.<step>` with its `job_id`, `input` and `output`. With a member
//! `default` it gives that where the pointer finds nothing. There is nothing else to it.

use serde_json::Value;

const REF: &str = "$ref";
const DEFAULT: &str = "default";

/// One reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference<'a> {
    /// Where it points.
    pub pointer: &'a str,
    /// What it gives when there is nothing.
    pub default: Option<&'a Value>,
}

/// A reference that points to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} refers to nothing")]
pub struct Dangling(pub String);

impl<'a> Reference<'a> {
    /// Reads a value as a reference; `None` when it is none.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn of(value: &'a Value) -> Option<Result<Self, &'static str>> {
        let members = value.as_object()?;
        let pointer = members.get(REF)?;
        if members.keys().any(|key| key != REF && key != DEFAULT) {
            return Some(Err("a reference has the members $ref and default alone"));
        }
        let Some(pointer) = pointer.as_str() else {
            return Some(Err("$ref must be a string"));
        };
        if !pointer.starts_with('/') {
            return Some(Err(
                "$ref must be a JSON pointer, such as /done/vm/output/ip",
            ));
        }
        Some(Ok(Self {
            pointer,
            default: members.get(DEFAULT),
        }))
    }

    /// Follows it.
    pub fn find<'d>(&self, document: &'d Value) -> Option<&'d Value>
    where
        'a: 'd,
    {
        document.pointer(self.pointer).or(self.default)
    }
}

/// Replaces every reference in a value by what it refers to.
///
/// # Errors
///
/// The first one that refers to nothing, or is none.
pub fn resolve(value: &Value, document: &Value) -> Result<Value, Dangling> {
    match (Reference::of(value), value) {
        (Some(Ok(reference)), _) => {
            let found = reference.find(document).cloned();
            found.ok_or_else(|| Dangling(reference.pointer.to_owned()))
        }
        (Some(Err(reason)), _) => Err(Dangling(reason.to_owned())),
        (None, Value::Object(members)) => members
            .iter()
            .map(|(name, member)| Ok((name.clone(), resolve(member, document)?)))
            .collect(),
        (None, Value::Array(items)) => items.iter().map(|item| resolve(item, document)).collect(),
        (None, plain) => Ok(plain.clone()),
    }
}

/// Says whether a step with this `when` takes part. Without one it does.
pub fn holds(when: Option<&Value>, document: &Value) -> bool {
    let Some(when) = when else { return true };
    let found = match Reference::of(when) {
        Some(Ok(reference)) => reference.find(document),
        _ => None,
    };
    match found {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
    }
}
