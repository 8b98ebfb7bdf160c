//! References in the inputs of steps: `{"$ref": "/done/vm/output/ip"}`.
//!
//! A reference is a JSON pointer (RFC 6901) into a document with the flow's `input` and, for every
//! step that has ended well, `done.<step>` with its `job_id`, `input` and `output`. With a member
//! `default` it gives that where the pointer finds nothing. There is nothing else to it.

use std::io;

use serde_json::Value;

use crate::event::MAX_BODY;

/// Most bytes of JSON that the references of one input may give: more fits into no message. References to
/// references would otherwise make much out of little.
pub const MAX_RESOLVED: usize = MAX_BODY;

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

/// Why references cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// One points to nothing.
    #[error("{0} refers to nothing")]
    Dangling(String),
    /// One is none.
    #[error("{0}")]
    Malformed(&'static str),
    /// They give more than they may.
    #[error("its references give more than {MAX_RESOLVED} bytes")]
    TooLarge,
}

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
        if pointer
            .split('~')
            .skip(1)
            .any(|rest| !rest.starts_with(['0', '1']))
        {
            return Some(Err(
                "in a JSON pointer ~ stands before 0 or 1, for ~ and / themselves",
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

/// Replaces every reference in a value by what it refers to, at most `left` bytes of JSON in all. `left` is
/// what of them is not used.
///
/// # Errors
///
/// The first one that cannot be followed.
pub fn resolve(value: &Value, document: &Value, left: &mut usize) -> Result<Value, Unresolved> {
    match (Reference::of(value), value) {
        (Some(Ok(reference)), _) => {
            let found = reference.find(document);
            let found = found.ok_or_else(|| Unresolved::Dangling(reference.pointer.to_owned()))?;
            spend(found, left)?;
            Ok(found.clone())
        }
        (Some(Err(reason)), _) => Err(Unresolved::Malformed(reason)),
        (None, Value::Object(members)) => members
            .iter()
            .map(|(name, member)| Ok((name.clone(), resolve(member, document, left)?)))
            .collect(),
        (None, Value::Array(items)) => {
            let items = items.iter().map(|item| resolve(item, document, left));
            items.collect()
        }
        (None, plain) => Ok(plain.clone()),
    }
}

/// Takes the size of a value from what is left, without writing it down.
fn spend(value: &Value, left: &mut usize) -> Result<(), Unresolved> {
    struct Spending<'l>(&'l mut usize);
    impl io::Write for Spending<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let rest = self.0.checked_sub(bytes.len());
            *self.0 = rest.unwrap_or(0);
            rest.map(|_| bytes.len())
                .ok_or_else(|| io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Spending(left), value).map_err(|_| Unresolved::TooLarge)
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
