//! Flows: jobs that ask for other jobs, one step after the other, and undo them when one fails.
//!
//! A flow is data: a list of [`Step`]s, written in a submission of kind [`KIND`] or in the file of a
//! kind of its own. A step's input may refer to what came before it ([`reference`]); there are no
//! loops and no conditions but a step's `when`. What can be known before the flow runs is checked
//! here, once for the server and for the registry: [`check`].
//!
//! Who runs a flow is the worker's business; nothing here does I/O.

mod check;
pub mod reference;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vmctl_api_types::Kind;

pub use check::{Checked, check, check_all};
use reference::Unresolved;

/// The kind whose input is the flow itself.
pub const KIND: &str = "flow.run";

/// Most steps of one flow.
pub const MAX_STEPS: usize = 50;

/// Longest name of a step, in bytes.
pub const MAX_STEP_NAME: usize = 32;

/// One step of a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Names it in references and to people: `a-z`, then at most 31 of `a-z 0-9 - _`.
    pub name: String,
    /// What its job does.
    pub kind: Kind,
    /// With what; may hold references.
    #[serde(default = "empty")]
    pub input: Value,
    /// A reference: the step is left out when it gives nothing, null, false, 0, an empty text, list
    /// or object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Value>,
    /// The job that takes back what the step did. It must not mind when there is nothing to take
    /// back, and being run twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// Once this step has succeeded nothing is undone any more: later steps are repeated until they
    /// succeed or the flow's time is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pivot: bool,
}

/// How a step is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// What its job does.
    pub kind: Kind,
    /// With what. May refer to what came before the step, and to the step's own `job_id` and
    /// `input`, but not to its output: there is none when the step has failed.
    #[serde(default = "empty")]
    pub input: Value,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// Reads the steps out of the input of a job of kind [`KIND`].
///
/// # Errors
///
/// Why they are none.
pub fn steps_of(input: &Value) -> Result<Vec<Step>, String> {
    let steps = input.get("steps").ok_or("there are no steps")?;
    Vec::deserialize(steps).map_err(|e| e.to_string())
}

/// Takes the steps of a flow inside a flow out of its input: their references mean their own flow.
fn split(kind: &Kind, input: &Value) -> (Value, Option<Value>) {
    let mut outer = input.clone();
    let inner = match &mut outer {
        Value::Object(members) if kind.as_str() == KIND => members.remove("steps"),
        _ => None,
    };
    (outer, inner)
}

/// Follows the references in the input of a step; what they give may take `left` bytes, and takes them.
///
/// # Errors
///
/// The first reference that cannot be followed.
pub fn resolve_input(
    kind: &Kind,
    input: &Value,
    document: &Value,
    left: &mut usize,
) -> Result<Value, Unresolved> {
    let (outer, inner) = split(kind, input);
    let mut resolved = reference::resolve(&outer, document, left)?;
    if let (Some(inner), Value::Object(members)) = (inner, &mut resolved) {
        members.insert("steps".to_owned(), inner);
    }
    Ok(resolved)
}

/// Says whether a text can name a step.
pub fn is_step_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= MAX_STEP_NAME
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests;
