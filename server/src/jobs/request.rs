//! Checks what a caller asks for, against the registry.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use vmctl_api_types::{Callback, FieldError, Kind, ProblemType};
use vmctl_core::{
    event::MAX_BODY,
    flow,
    kinds::{KindSpec, Registry},
    pointer,
    unique::Unique,
};

use crate::{
    error::ApiError,
    jobs::{
        callbacks, ids,
        plan::{self, Given, Plan},
        unique::{self, OnConflict},
    },
};

const FIELDS: [&str; 10] = [
    "kind",
    "input",
    "labels",
    "deadline",
    "run_at",
    "start_by",
    "attempt_timeout",
    "retry",
    "callback",
    "unique",
];
const MAX_LABELS: usize = 32;
const MAX_LABEL_KEY: usize = 63;
const MAX_LABEL_VALUE: usize = 255;

/// A request that may be submitted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobRequest {
    pub kind: Kind,
    pub input: Value,
    pub labels: BTreeMap<String, String>,
    /// When it was checked; durations count from here.
    pub created_at: Timestamp,
    /// When, and how often.
    pub plan: Plan,
    /// Whom to tell of its end; where it may go is not checked here.
    pub callback: Option<Callback>,
    /// Keys that the job holds.
    pub unique: Vec<Unique>,
    /// Keys that it frees when it succeeds.
    pub frees: Vec<String>,
    /// What to do when another job has one of its keys.
    pub on_conflict: OnConflict,
    /// Roles that the steps of a flow need, besides the kind's own.
    pub roles: BTreeSet<String>,
    /// The same for the same request, whenever it is sent.
    pub fingerprint: String,
}

/// What a message has besides the input and the labels of its job, at most, in bytes.
const ENVELOPE: usize = 16 * 1024;

impl JobRequest {
    /// Says whether the job does not fit into a message.
    pub fn is_too_large(&self) -> bool {
        let own = json!({"input": self.input, "labels": self.labels});
        own.to_string().len() + ENVELOPE > MAX_BODY
    }
}

/// Finds the kind that a body names.
pub(crate) fn kind_of<'r>(registry: &'r Registry, body: &Value) -> Result<&'r KindSpec, ApiError> {
    let Some(fields) = body.as_object() else {
        return Err(invalid(vec![field("", "type", "must be an object")]));
    };
    let name = match fields.get("kind") {
        Some(Value::String(name)) => name,
        Some(_) => return Err(invalid(vec![field("/kind", "type", "must be a string")])),
        None => return Err(invalid(vec![field("/kind", "required", "is missing")])),
    };
    // The one word is what people call it.
    let name = if name == "flow" { flow::KIND } else { name };
    let kind: Option<Kind> = name.parse().ok();
    if kind
        .as_ref()
        .is_some_and(|kind| registry.sync(kind).is_some())
    {
        return Err(
            ApiError::new(ProblemType::SyncKind).detail(format!("ask /v1/sync/{name} instead"))
        );
    }
    kind.and_then(|kind| registry.get(&kind))
        .filter(|kind| !kind.internal)
        .ok_or_else(|| ApiError::new(ProblemType::UnknownKind).detail("GET /v1/kinds lists them"))
}

/// Checks a whole body. `lenient` drops fields that nobody knows instead of refusing them.
pub(crate) fn check(
    registry: &Registry,
    kind: &KindSpec,
    body: Value,
    now: Timestamp,
    lenient: bool,
) -> Result<JobRequest, ApiError> {
    let Value::Object(mut fields) = body else {
        return Err(invalid(vec![field("", "type", "must be an object")]));
    };
    let mut errors = Vec::new();
    let mut input = fields.remove("input").unwrap_or(Value::Null);
    if lenient {
        drop_unknown(kind.input_schema(), &mut input);
    } else {
        errors.extend(unknown_fields(&fields));
    }
    let labels = labels(fields.remove("labels"), &mut errors);
    let callback = callbacks::read(fields.remove("callback"), &mut errors);
    let given = Given::take(&mut fields, lenient);
    let plan = plan::check(kind, &given, now, &mut errors);
    let given_unique = fields.remove("unique").filter(|u| !u.is_null());
    let unique = unique::read(given_unique.as_ref(), &mut errors);
    if let Some(asked) = unique.as_ref().filter(|_| plan.run_at.is_some()) {
        asked.check_run_at(&mut errors);
    }
    if input.is_null() {
        errors.push(field("/input", "required", "is missing"));
    } else {
        errors.extend(kind.check_input(&input).into_iter().map(|mut error| {
            error.pointer.insert_str(0, "/input");
            error
        }));
    }
    if !errors.is_empty() {
        return Err(invalid(errors));
    }
    let checked = flow::check(registry, kind, &input, 0);
    if !checked.errors.is_empty() {
        let told = checked.errors.into_iter().map(|error| of_flow(kind, error));
        return Err(invalid(told.collect()));
    }
    let mut request = request(kind, input, labels, (now, plan), &given);
    request.roles = checked.roles;
    if let (Some(asked), Some(given)) = (unique, given_unique) {
        asked.add_to(&mut request, &given);
    }
    Ok(with_callback(request, callback))
}

/// Says where in the body an error of a flow is. The steps of a named flow are not in it.
fn of_flow(kind: &KindSpec, mut error: FieldError) -> FieldError {
    if kind.steps.is_some() {
        error.detail = format!("{}: {}", error.pointer, error.detail);
        "/input".clone_into(&mut error.pointer);
    } else {
        error.pointer.insert_str(0, "/input");
    }
    error
}

/// Checks the input of a compat route. Fields that nobody knows are dropped, the original's `token`
/// among them. Pointers are into the body itself.
pub(crate) fn check_compat(
    kind: &KindSpec,
    mut body: Value,
    now: Timestamp,
) -> Result<JobRequest, ApiError> {
    drop_unknown(kind.input_schema(), &mut body);
    let errors = kind.check_input(&body);
    if let Some(first) = errors.first() {
        let name = |e: &FieldError| e.pointer.trim_start_matches('/').to_owned();
        // The original checked the host name only, and said so in these words.
        let reason = if errors.iter().any(|e| name(e) == "vm_hostname") {
            "bad hostname".to_owned()
        } else {
            format!("bad {}", name(first)).trim_end().to_owned()
        };
        return Err(ApiError::new(ProblemType::Validation)
            .errors(errors)
            .compat(reason));
    }
    let plan = Plan::of(kind, now);
    let labels = BTreeMap::new();
    Ok(request(kind, body, labels, (now, plan), &Given::default()))
}

fn request(
    kind: &KindSpec,
    input: Value,
    labels: BTreeMap<String, String>,
    (created_at, plan): (Timestamp, Plan),
    given: &Given,
) -> JobRequest {
    // As it was given: `2h` is the same request an hour later.
    let mut request = json!({"kind": kind.kind, "input": input, "labels": labels});
    given.describe(&mut request);
    JobRequest {
        callback: None,
        kind: kind.kind.clone(),
        unique: kind.unique(&input).into_iter().collect(),
        frees: kind.frees(&input).into_iter().collect(),
        on_conflict: OnConflict::default(),
        input,
        labels,
        created_at,
        plan,
        roles: BTreeSet::new(),
        fingerprint: ids::fingerprint(&request),
    }
}

/// Another callback is another request. Without one the fingerprint is what it always was.
fn with_callback(mut request: JobRequest, callback: Option<Callback>) -> JobRequest {
    if let Some(callback) = &callback {
        let both = json!({"request": request.fingerprint, "callback": callback});
        request.fingerprint = ids::fingerprint(&both);
    }
    request.callback = callback;
    request
}

fn unknown_fields(fields: &Map<String, Value>) -> Vec<FieldError> {
    fields
        .keys()
        .filter(|name| !FIELDS.contains(&name.as_str()))
        .take(100)
        .map(|name| field(&pointer::member("", name), "unknown-field", "is not known"))
        .collect()
}

fn labels(given: Option<Value>, errors: &mut Vec<FieldError>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let map = match given {
        None | Some(Value::Null) => return labels,
        Some(Value::Object(map)) => map,
        Some(_) => {
            errors.push(field("/labels", "type", "must be an object of strings"));
            return labels;
        }
    };
    if map.len() > MAX_LABELS {
        errors.push(field("/labels", "max-items", "has more than 32 pairs"));
        return labels;
    }
    for (key, value) in map {
        let pointer = pointer::member("/labels", &key);
        let length = key.chars().count();
        // A colon would make the filter `label=key:value` ambiguous.
        if !(1..=MAX_LABEL_KEY).contains(&length) || key.chars().any(|c| c == ':' || c.is_control())
        {
            errors.push(field(
                &pointer,
                "pattern",
                "a key has 1 to 63 characters, no colon and no control characters",
            ));
            continue;
        }
        match value {
            Value::String(text)
                if text.chars().count() <= MAX_LABEL_VALUE
                    && !text.chars().any(char::is_control) =>
            {
                labels.insert(key, text);
            }
            Value::String(_) => errors.push(field(
                &pointer,
                "pattern",
                "a value has at most 255 characters and no control characters",
            )),
            _ => errors.push(field(&pointer, "type", "must be a string")),
        }
    }
    labels
}

/// Removes members that a closed schema does not name, in nested objects too.
fn drop_unknown(schema: &Value, value: &mut Value) {
    let Value::Object(members) = value else {
        return;
    };
    let Some(known) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        members.retain(|name, _| known.contains_key(name));
    }
    for (name, member) in members.iter_mut() {
        if let Some(schema) = known.get(name) {
            drop_unknown(schema, member);
        }
    }
}

pub(super) fn field(pointer: &str, code: &str, detail: &str) -> FieldError {
    FieldError {
        pointer: pointer.to_owned(),
        code: code.to_owned(),
        detail: detail.to_owned(),
    }
}

fn invalid(errors: Vec<FieldError>) -> ApiError {
    let unknown_only = errors.iter().all(|e| e.code == "unknown-field");
    ApiError::new(if unknown_only {
        ProblemType::UnknownField
    } else {
        ProblemType::Validation
    })
    .errors(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T17:00:00Z".parse().unwrap()
    }

    fn body() -> Value {
        json!({"kind": "vm.delete", "input": {"vm_hostname": "lx1"}})
    }

    fn run(body: Value, lenient: bool) -> Result<JobRequest, Vec<String>> {
        let registry = Registry::built_in().unwrap();
        let outcome =
            kind_of(&registry, &body).and_then(|kind| check(&registry, kind, body, now(), lenient));
        outcome.map_err(|error| {
            let problem = error.problem();
            std::iter::once(problem.problem_type["/problems/".len()..].to_owned())
                .chain(
                    problem
                        .errors
                        .iter()
                        .map(|e| format!("{} {}", e.pointer, e.code)),
                )
                .collect()
        })
    }

    fn with(change: impl FnOnce(&mut Value)) -> Result<JobRequest, Vec<String>> {
        let mut body = body();
        change(&mut body);
        run(body, false)
    }

    #[test]
    fn a_good_request_passes_and_its_fingerprint_does_not_depend_on_the_time() {
        let request = with(|b| b["deadline"] = "PT2H".into()).unwrap();
        assert_eq!(
            request.plan.deadline,
            "2026-11-23T19:00:00Z".parse().unwrap()
        );
        let registry = Registry::built_in().unwrap();
        let mut again = body();
        again["deadline"] = "PT2H".into();
        let kind = kind_of(&registry, &again).unwrap();
        let later = check(
            &registry,
            kind,
            again,
            "2026-11-24T00:00:00Z".parse().unwrap(),
            false,
        )
        .unwrap();
        assert_eq!(later.fingerprint, request.fingerprint);
        assert_ne!(run(body(), false).unwrap().fingerprint, request.fingerprint);
    }

    #[test]
    fn deadlines_are_instants_or_durations_within_eight_days() {
        let deadline = |text: &str| {
            with(|b| b["deadline"] = text.into())
                .map(|r| r.plan.deadline.to_string())
                .map_err(|e| e.join(","))
        };
        assert_eq!(deadline("90s").unwrap(), "2026-11-23T17:01:30Z");
        assert_eq!(deadline("8d").unwrap(), "2026-12-01T17:00:00Z");
        assert_eq!(
            deadline("2026-11-23T18:00:00+00:00").unwrap(),
            "2026-11-23T18:00:00Z"
        );
        for bad in [
            "0s",
            "2026-11-23T16:59:59Z",
            "9d",
            "P9D",
            "2026-12-02T00:00:00Z",
            "2999-01-01T00:00:00Z",
            "99999999999999999999d",
        ] {
            let error = deadline(bad).unwrap_err();
            assert!(
                error == "validation,/deadline range" || error == "validation,/deadline format",
                "{bad}: {error}"
            );
        }
        assert_eq!(deadline("soon").unwrap_err(), "validation,/deadline format");
    }

    #[test]
    fn every_error_is_told_at_once() {
        let errors = run(
            json!({"kind": "vm.delete", "input": {"vm_hostname": 1}, "labels": {"a:b": "x", "c": 1},
                   "deadline": 5, "priority": "high"}),
            false,
        )
        .unwrap_err();
        assert_eq!(
            errors,
            [
                "validation",
                "/priority unknown-field",
                "/labels/a:b pattern",
                "/labels/c type",
                "/deadline type",
                "/input/vm_hostname type",
            ]
        );
    }

    #[test]
    fn unknown_fields_have_a_problem_of_their_own_unless_they_may_be_dropped() {
        let mut body = body();
        body["colour"] = Value::Null;
        body["input"]["token"] = "x".into();
        assert_eq!(
            run(body.clone(), false).unwrap_err(),
            [
                "unknown-field",
                "/colour unknown-field",
                "/input/token unknown-field"
            ]
        );
        let request = run(body, true).unwrap();
        assert_eq!(request.input, json!({"vm_hostname": "lx1"}));
    }

    #[test]
    fn the_kind_must_be_known() {
        for (kind, error) in [
            (json!("vm.explode"), vec!["unknown-kind"]),
            (json!("VM.CREATE"), vec!["unknown-kind"]),
            (json!(1), vec!["validation", "/kind type"]),
        ] {
            assert_eq!(with(|b| b["kind"] = kind).unwrap_err(), error);
        }
        assert_eq!(
            run(json!({}), false).unwrap_err(),
            ["validation", "/kind required"]
        );
        assert_eq!(run(json!([]), false).unwrap_err(), ["validation", " type"]);
    }

    #[test]
    fn labels_are_bounded() {
        let many: Map<_, _> = (0..33).map(|i| (format!("k{i}"), json!("v"))).collect();
        assert!(with(|b| b["labels"] = many.into()).is_err());
        let long = json!({"k".repeat(63): "v".repeat(255)});
        assert_eq!(with(|b| b["labels"] = long).unwrap().labels.len(), 1);
        for bad in [
            json!({"k".repeat(64): "v"}),
            json!({"": "v"}),
            json!({"k": "\u{0}"}),
        ] {
            assert!(with(|b| b["labels"] = bad).is_err());
        }
    }
}
