//! Callbacks: what is told of a job's end, and the job that tells it.
//!
//! A delivery is a job of kind [`KIND`]. Its id is derived from the job and the run whose end it
//! tells, so whoever asks for it twice asks for the same job; the same id is the `webhook-id` of
//! its requests. Pure: who delivers it is the worker's business.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use vmctl_api_types::{Callback, JobId, JobState, Kind};

use crate::{
    clock,
    event::{Event, EventData, EventType, JobSpec},
    fact::{JobFact, derived_id},
    kinds::Registry,
};

/// The kind whose jobs deliver callbacks.
pub const KIND: &str = "callback.deliver";

/// Largest body of a callback, in bytes (Standard Webhooks 1.0 asks for less than 20 kB).
pub const MAX_EVENT: usize = 20_000;

/// Longest address of a receiver, in bytes.
pub const MAX_URL: usize = 2048;

/// Longest name of a secret, in bytes.
pub const MAX_SECRET_REF: usize = 64;

/// The input of a job of kind [`KIND`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryInput {
    /// The job that has ended.
    pub job_id: JobId,
    /// Its run.
    pub epoch: u32,
    /// Where the request goes.
    pub url: String,
    /// Which secret signs it.
    pub secret_ref: String,
    /// The body, a CloudEvents 1.0 document.
    pub event: Value,
}

/// How long a delivery may take, as the registry says of [`KIND`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    kind: Kind,
    deadline: Duration,
    max_attempts: u32,
}

impl Policy {
    /// Reads it from the registry; `None` when that has no such kind.
    pub fn of(registry: &Registry) -> Option<Self> {
        let kind = registry.get(&KIND.parse().ok()?)?;
        Some(Self {
            kind: kind.kind.clone(),
            deadline: kind.deadline,
            max_attempts: kind.retry.max_attempts,
        })
    }
}

/// Derives the id of the job that tells the end of one run of a job (UUID version 8).
pub fn delivery_id(job: JobId, epoch: u32) -> JobId {
    let mut hash = Sha256::new();
    hash.update(b"vmctl callback\0");
    hash.update(job.as_uuid().as_bytes());
    hash.update(epoch.to_be_bytes());
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    JobId::from_uuid(Uuid::new_v8(bytes))
}

/// Says whether a text can name a secret: 1 to 64 of `a-z A-Z 0-9 _ -`.
pub fn is_secret_ref(text: &str) -> bool {
    (1..=MAX_SECRET_REF).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Makes the command that delivers the callback of a job that has ended; `None` when it has none.
///
/// Ids are derived: called again for the same fact, it makes a copy of the same command.
pub fn delivery(fact: &JobFact, policy: &Policy, source: &str, now: Timestamp) -> Option<Event> {
    let spec = fact.spec.as_ref()?;
    let callback = spec.callback.as_ref()?;
    let id = delivery_id(fact.job, fact.epoch);
    let input = DeliveryInput {
        job_id: fact.job,
        epoch: fact.epoch,
        url: callback.url.clone(),
        secret_ref: callback.secret_ref.clone(),
        event: cloud_event(id, fact, spec, callback),
    };
    let job = JobSpec {
        max_attempts: policy.max_attempts,
        fp: spec.fp.clone(),
        ..JobSpec::new(
            id,
            policy.kind.clone(),
            json!(input),
            now,
            clock::add(now, policy.deadline),
            spec.auth.clone(),
        )
    };
    Some(Event::new(
        derived_id(&id.to_string(), "submitted", fact.time),
        EventType::Submitted,
        source,
        now,
        EventData::new(JobState::Queued, job),
    ))
}

/// Writes the body. Without output and error when they are not asked for, or do not fit; the
/// receiver then asks for the job.
fn cloud_event(id: JobId, fact: &JobFact, spec: &JobSpec, callback: &Callback) -> Value {
    let path = format!("/v1/jobs/{}", fact.job);
    let mut event = json!({
        "specversion": "1.0",
        "id": id,
        "type": format!("jobs.{}.v1", fact.event_type.word()),
        "source": "/v1/jobs",
        "subject": fact.job,
        "time": fact.time,
        "datacontenttype": "application/json",
        "data": {
            "id": fact.job,
            "kind": spec.kind,
            "state": fact.state,
            "epoch": fact.epoch,
            "links": {"self": path, "result": format!("{path}/result"), "events": format!("{path}/events")},
        },
    });
    if callback.full {
        let mut full = event.clone();
        full["data"]["output"] = json!(fact.body.output);
        full["data"]["error"] = json!(fact.body.error);
        full["data"]["labels"] = json!(spec.labels);
        if full.to_string().len() <= MAX_EVENT {
            return full;
        }
        event["data"]["truncated"] = Value::Bool(true);
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Caller, fact::Retention};

    const JOB: &str = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a";

    fn fact(callback: Option<Callback>, output: Value) -> JobFact {
        let at = clock::from_unix_ms(1_795_000_000_000);
        let spec = JobSpec {
            callback,
            ..JobSpec::new(
                JOB.parse().unwrap(),
                "vm.create".parse().unwrap(),
                json!({}),
                at,
                clock::add(at, Duration::from_secs(60)),
                Caller {
                    project_id: "demo".to_owned(),
                    ..Caller::default()
                },
            )
        };
        let data = EventData {
            output: Some(output),
            ..EventData::new(JobState::Succeeded, spec)
        };
        let event = Event::new(Uuid::nil(), EventType::Succeeded, "/t", at, data);
        JobFact::from_event(event, None, Retention::default())
    }

    fn callback(full: bool) -> Callback {
        serde_json::from_value(json!({"url": "https://r.example/", "full": full})).unwrap()
    }

    fn deliver(fact: &JobFact, later: u64) -> Option<Event> {
        let policy = Policy::of(&Registry::built_in().unwrap()).unwrap();
        let now = clock::add(fact.time, Duration::from_secs(later));
        delivery(fact, &policy, "/reader/r", now)
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let callback = callback(false);
        assert_eq!(callback.secret_ref, "default");
        assert_eq!(json!(callback.events), json!(["terminal"]));
    }

    #[test]
    fn a_delivery_is_a_job_with_derived_ids_that_its_schema_allows() {
        assert_eq!(deliver(&fact(None, json!(1)), 0), None);
        let fact = fact(Some(callback(false)), json!({"ip": "x"}));
        let event = deliver(&fact, 0).unwrap();
        let again = deliver(&fact, 90).unwrap();
        assert_eq!((event.id, event.subject), (again.id, again.subject));
        assert!(event.subject.is_ours());
        assert_eq!(event.data.job.auth.project_id, "demo");
        assert_eq!(event.data.job.callback, None);
        let registry = Registry::built_in().unwrap();
        let kind = registry.get(&event.data.job.kind).unwrap();
        assert!(kind.internal);
        assert_eq!(kind.check_input(&event.data.job.input), []);
        // Each run has its own, and so does each job.
        assert_ne!(delivery_id(fact.job, 0), delivery_id(fact.job, 1));
    }

    #[test]
    fn the_body_is_thin_unless_it_is_asked_for_and_fits() {
        let body = |full, output| {
            let event = deliver(&fact(Some(callback(full)), output), 0).unwrap();
            let input: DeliveryInput = serde_json::from_value(event.data.job.input).unwrap();
            assert!(input.event.to_string().len() <= MAX_EVENT);
            assert_eq!(input.event["id"], json!(event.subject));
            input.event["data"].clone()
        };
        let thin = body(false, json!(1));
        assert_eq!(thin["links"]["self"], format!("/v1/jobs/{JOB}"));
        assert_eq!(
            (&thin["output"], &thin["truncated"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(body(true, json!({"ip": "x"}))["output"], json!({"ip": "x"}));
        let large = body(true, json!("x".repeat(MAX_EVENT)));
        assert_eq!(
            (&large["output"], &large["truncated"]),
            (&Value::Null, &json!(true))
        );
    }

    #[test]
    fn names_of_secrets_are_short_words() {
        for (text, is) in [
            ("default", true),
            ("a-B_9", true),
            ("", false),
            ("../x", false),
            ("a.b", false),
        ] {
            assert_eq!(is_secret_ref(text), is, "{text}");
        }
        assert!(!is_secret_ref(&"a".repeat(65)));
    }
}
