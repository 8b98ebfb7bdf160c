//! `unique` in a submission: a name that one live job of a project may have at a time.

use serde_json::{Value, json};
use vmctl_api_types::FieldError;
use vmctl_core::{
    pointer,
    unique::{Scope, Unique, is_key},
};

use crate::jobs::{
    ids,
    request::{JobRequest, field},
};

const FIELDS: [&str; 3] = ["key", "scope", "on_conflict"];

/// What to answer when another job has the name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OnConflict {
    /// 409, with the id of the other job.
    #[default]
    Reject,
    /// The other job.
    Return,
    /// The caller's job, which runs when the other one has ended.
    Queue,
}

/// What a caller asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    key: String,
    on_conflict: OnConflict,
}

/// Reads the member; `None` when it is not there, or is wrong and said so.
pub(crate) fn read(given: Option<&Value>, errors: &mut Vec<FieldError>) -> Option<Asked> {
    let before = errors.len();
    let Value::Object(members) = given? else {
        errors.push(field("/unique", "type", "must be an object with a key"));
        return None;
    };
    for name in members
        .keys()
        .filter(|name| !FIELDS.contains(&name.as_str()))
    {
        let pointer = pointer::member("/unique", name);
        errors.push(field(&pointer, "unknown-field", "is not known"));
    }
    let key = match members.get("key") {
        Some(Value::String(key)) if is_key(key) => Some(key.clone()),
        Some(Value::String(_)) => {
            let rule = "has 1 to 255 characters and no control characters";
            errors.push(field("/unique/key", "pattern", rule));
            None
        }
        Some(_) => {
            errors.push(field("/unique/key", "type", "must be a string"));
            None
        }
        None => {
            errors.push(field("/unique/key", "required", "is missing"));
            None
        }
    };
    match members.get("scope").and_then(|scope| word(scope)) {
        None | Some("active") => {}
        Some(_) => errors.push(field("/unique/scope", "enum", "must be active")),
    }
    let on_conflict = match members.get("on_conflict").and_then(|asked| word(asked)) {
        None | Some("reject") => OnConflict::Reject,
        Some("return") => OnConflict::Return,
        Some("queue") => OnConflict::Queue,
        Some(_) => {
            let rule = "must be one of reject, return, queue";
            errors.push(field("/unique/on_conflict", "enum", rule));
            OnConflict::Reject
        }
    };
    let key = key.filter(|_| errors.len() == before)?;
    Some(Asked { key, on_conflict })
}

/// Returns a text; what is no text is no word of ours, and `null` is as if it were absent.
fn word(value: &Value) -> Option<&str> {
    (!value.is_null()).then(|| value.as_str().unwrap_or_default())
}

impl Asked {
    /// Says what does not go together with a job that starts at an hour of its own.
    pub(crate) fn check_run_at(&self, errors: &mut Vec<FieldError>) {
        if self.on_conflict == OnConflict::Queue {
            let why = "a job that waits for its turn has no run_at: submit it then";
            errors.push(field("/unique/on_conflict", "unsupported", why));
        }
    }

    /// Puts the name into a request. A name that the kind itself wants is held as the kind says.
    pub(crate) fn add_to(self, request: &mut JobRequest, given: &Value) {
        request.on_conflict = self.on_conflict;
        if !request.unique.iter().any(|unique| unique.key == self.key) {
            request.unique.push(Unique {
                key: self.key,
                scope: Scope::Active,
                queue: false,
            });
        }
        for unique in &mut request.unique {
            unique.queue = self.on_conflict == OnConflict::Queue;
        }
        request.fingerprint = ids::fingerprint(&json!({
            "request": request.fingerprint,
            "unique": given,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(given: &Value) -> Result<Asked, Vec<(String, String)>> {
        let mut errors = Vec::new();
        let asked = read(Some(given), &mut errors);
        let wrong = errors.into_iter().map(|e| (e.pointer, e.code)).collect();
        asked.ok_or(wrong)
    }

    #[test]
    fn a_name_is_enough() {
        let all = json!({"key": "a", "scope": "active", "on_conflict": "return"});
        assert_eq!(asked(&all).unwrap().on_conflict, OnConflict::Return);
        let least = json!({"key": "a", "scope": null});
        assert_eq!(asked(&least).unwrap().on_conflict, OnConflict::Reject);
        let queue = json!({"key": "a", "on_conflict": "queue"});
        assert_eq!(asked(&queue).unwrap().on_conflict, OnConflict::Queue);
        assert_eq!(read(None, &mut Vec::new()), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (given, pointer, code) in [
            (json!("a"), "/unique", "type"),
            (json!({}), "/unique/key", "required"),
            (json!({"key": 1}), "/unique/key", "type"),
            (json!({"key": ""}), "/unique/key", "pattern"),
            (json!({"key": "a\u{0}"}), "/unique/key", "pattern"),
            (
                json!({"key": "a", "scope": "result"}),
                "/unique/scope",
                "enum",
            ),
            (json!({"key": "a", "scope": 1}), "/unique/scope", "enum"),
            (
                json!({"key": "a", "on_conflict": "wait"}),
                "/unique/on_conflict",
                "enum",
            ),
            (
                json!({"key": "a", "ttl": 1}),
                "/unique/ttl",
                "unknown-field",
            ),
        ] {
            let wrong = asked(&given).unwrap_err();
            assert_eq!(wrong, [(pointer.to_owned(), code.to_owned())], "{given}");
        }
    }
}
