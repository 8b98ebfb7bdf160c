//! What is kept of one event.
//!
//! No callback and no output: where a callback goes is between a project and its receiver, and what
//! came out is the view's to tell. Texts are cut, so that a document has a bounded size.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use vmctl_core::{JobId, JobState, Kind, callback, event::JobSpec, fact::JobFact};

/// Most bytes of a job's input.
const MOST_INPUT: usize = 16 * 1024;

/// Most bytes of what went wrong and why.
const MOST_MESSAGE: usize = 8 * 1024;

/// One event, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The event's id.
    pub id: Uuid,
    /// One line of JSON.
    pub line: Vec<u8>,
}

#[derive(Serialize)]
struct Source<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Timestamp,
    event: &'static str,
    job: JobId,
    state: JobState,
    epoch: u32,
    attempt: u32,
    seq: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(flatten)]
    of: Option<Of<'a>>,
}

/// What the event says of its job; all but a dead letter that nobody can read says it.
#[derive(Serialize)]
struct Of<'a> {
    created: i64,
    root: JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    kind: &'a Kind,
    project: &'a str,
    user: &'a str,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    input: String,
}

impl Document {
    /// Makes the document of an event.
    pub fn of(fact: &JobFact) -> Self {
        let source = Source {
            timestamp: fact.time,
            event: fact.event_type.word(),
            job: fact.job,
            state: fact.state,
            epoch: fact.epoch,
            attempt: fact.attempt,
            seq: fact.seq,
            offset: fact.offset,
            worker: fact.body.worker.as_deref(),
            error: fact.body.error.as_ref().map(|e| e.error_type.as_str()),
            message: message(fact),
            of: fact.spec.as_ref().map(of),
        };
        Self {
            id: fact.id,
            // All keys are strings and all numbers finite, so this cannot fail.
            line: serde_json::to_vec(&source).unwrap_or_default(),
        }
    }
}

fn of(spec: &JobSpec) -> Of<'_> {
    let mut input = String::new();
    // That of a delivery is an address and what is told there.
    if spec.kind.as_str() != callback::KIND {
        leaves(&spec.input, &mut input);
    }
    let pair = |(key, value): (&String, &String)| format!("{key}:{value}");
    Of {
        created: spec.created_at.as_millisecond(),
        root: spec.root_id.unwrap_or(spec.id),
        parent: spec.parent_id,
        step: spec.step.as_deref(),
        kind: &spec.kind,
        project: &spec.auth.project_id,
        user: &spec.auth.user_name,
        user_id: &spec.auth.user_id,
        labels: spec.labels.iter().map(pair).collect(),
        input,
    }
}

/// What went wrong, and why somebody did it.
fn message(fact: &JobFact) -> String {
    let mut text = String::new();
    if let Some(error) = &fact.body.error {
        add(&error.title, &mut text, MOST_MESSAGE);
        if let Some(detail) = &error.detail {
            add(detail, &mut text, MOST_MESSAGE);
        }
    }
    if let Some(reason) = &fact.reason {
        add(reason, &mut text, MOST_MESSAGE);
    }
    text
}

/// The texts and numbers of an input, one on a line; how deep it may be is checked on submission.
fn leaves(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => add(text, into, MOST_INPUT),
        Value::Number(number) => add(&number.to_string(), into, MOST_INPUT),
        Value::Array(values) => values.iter().for_each(|value| leaves(value, into)),
        Value::Object(members) => members.values().for_each(|value| leaves(value, into)),
        Value::Bool(_) | Value::Null => {}
    }
}

/// Adds a line, as much of it as there is room for.
fn add(line: &str, into: &mut String, most: usize) {
    if !into.is_empty() {
        into.push('\n');
    }
    let room = most.saturating_sub(into.len());
    into.push_str(&line[..line.floor_char_boundary(room)]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vmctl_api_types::{Callback, JobError};
    use vmctl_core::{
        clock::from_unix_ms,
        event::{Caller, Event, EventData, EventType},
        fact::Retention,
    };

    use super::*;

    const JOB: &str = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a";

    fn fact(kind: &str, input: Value) -> JobFact {
        let at = from_unix_ms(1_795_000_000_123);
        let caller = Caller {
            project_id: "demo".into(),
            user_name: "joe".into(),
            ..Caller::default()
        };
        let (id, kind) = (JOB.parse().unwrap(), kind.parse().unwrap());
        let mut spec = JobSpec::new(id, kind, input, at, at, caller);
        spec.callback = Some(Callback {
            url: "https://canary.example/".into(),
            events: Vec::new(),
            secret_ref: "canary".into(),
            full: true,
        });
        let data = EventData::new(JobState::Failed, spec);
        let event = Event::new(Uuid::nil(), EventType::Failed, "/test", at, data);
        JobFact::from_event(event, Some(7), Retention::default())
    }

    fn source(fact: &JobFact) -> Value {
        serde_json::from_slice(&Document::of(fact).line).unwrap()
    }

    #[test]
    fn a_document_says_what_is_searched_and_no_callback() {
        let mut fact = fact(
            "vm.create",
            json!({"vm_hostname": "lx1", "disks": [{"size": 20}]}),
        );
        fact.body.error = Some(JobError {
            error_type: "no-capacity".into(),
            title: "no room".into(),
            detail: Some("zone b is full".into()),
            retryable: false,
            attempt: None,
            worker: None,
        });
        let source = source(&fact);
        assert_eq!(
            source,
            json!({
                "@timestamp": "2026-11-18T11:06:40.123Z", "event": "failed", "job": JOB,
                "state": "failed", "epoch": 0, "attempt": 1, "seq": 0, "offset": 7,
                "error": "no-capacity", "message": "no room\nzone b is full",
                "created": 1_795_000_000_123_i64, "root": JOB, "kind": "vm.create",
                "project": "demo", "user": "joe", "user_id": "",
                "input": source["input"],
            })
        );
        let mut words: Vec<_> = source["input"].as_str().unwrap().lines().collect();
        words.sort_unstable();
        assert_eq!(words, ["20", "lx1"]);
        assert!(!source.to_string().contains("canary"));
    }

    #[test]
    fn a_delivery_says_neither_where_nor_what() {
        let input = json!({"url": "https://canary.example/", "event": {"data": "canary"}});
        let source = source(&fact(callback::KIND, input));
        assert!(!source.to_string().contains("canary"), "{source}");
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        let long = "é".repeat(MOST_INPUT);
        let source = source(&fact("vm.create", json!({"a": ["x", long]})));
        let input = source["input"].as_str().unwrap();
        assert!((MOST_INPUT - 2..=MOST_INPUT).contains(&input.len()));
    }

    #[test]
    fn what_nobody_can_read_is_indexed_without_its_job() {
        let mut fact = fact("vm.create", json!({}));
        fact.spec = None;
        let source = source(&fact);
        assert_eq!(
            (&source["job"], &source["project"]),
            (&json!(JOB), &Value::Null)
        );
    }
}
