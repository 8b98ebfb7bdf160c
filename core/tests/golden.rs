//! The message contract as files: one example of every message, as it is on the wire.
//!
//! `docs/messages/*.json` are for whoever writes a worker in another language; here they are held
//! to what this version writes and reads. `VMCTL_UPDATE=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use vmctl_api_types::{JobInHand, Presence, ServedKind, WorkerState};
use vmctl_core::{
    JobError, JobState, LogStream, Progress,
    bus::{HeaderValue, Message},
    clock::{add, from_unix_ms},
    event::{Caller, Control, Event, EventData, EventType, JobSpec, Mark, SaidLine},
    kept::{Described, Kept},
    presence,
    topology::Tier,
};

const JOB: &str = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a";

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/messages")
}

/// The moment `seconds` after the job was submitted.
fn at(seconds: u64) -> Timestamp {
    add(
        from_unix_ms(1_795_000_000_123),
        Duration::from_secs(seconds),
    )
}

fn job() -> JobSpec {
    let caller = Caller {
        user_id: "5b4f0c1e8d2a4b6f9c3d7e1a2b4c6d8e".to_owned(),
        user_name: "Joe".to_owned(),
        project_id: "9f8e7d6c5b4a39281706f5e4d3c2b1a0".to_owned(),
        domain_id: "default".to_owned(),
        roles: vec!["member".to_owned(), "reader".to_owned()],
        request_id: Some("req-7b1f".to_owned()),
    };
    let input = json!({"app_env": "DEV", "app_trigram": "abc", "vm_desc": "web",
        "vm_hostname": "lxweb01", "vm_profile": "Micro", "vm_region": "GreaterParis"});
    JobSpec {
        max_attempts: 5,
        labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        fp: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        ..JobSpec::new(
            JOB.parse().unwrap(),
            "vm.create".parse().unwrap(),
            input,
            at(0),
            at(86_400),
            caller,
        )
    }
}

/// The `n`-th message of the job.
fn event(n: u64, event_type: EventType, state: JobState) -> Event {
    let id = format!("0198f2a4-7c1e-7a01-8000-{n:012x}");
    let source = match event_type {
        EventType::Submitted | EventType::Redriven | EventType::CancelRequested => {
            "/server/server-a-00000001"
        }
        EventType::Kept => "/reader/reader-a-00000003",
        _ => "/worker/worker-a-00000002",
    };
    let mut event = Event::new(
        id.parse().unwrap(),
        event_type,
        source,
        at(n),
        EventData::new(state, job()),
    );
    event.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    event
}

fn error(error_type: &str, title: &str, retryable: bool, attempt: u32) -> JobError {
    JobError {
        error_type: error_type.to_owned(),
        title: title.to_owned(),
        detail: None,
        retryable,
        attempt: Some(attempt),
        worker: Some("worker-a-00000002".to_owned()),
    }
}

fn progress(percent: u8) -> Progress {
    Progress {
        percent,
        step: "boot".to_owned(),
        step_number: Some(3),
        steps: Some(4),
        message: Some("waiting for sshd".to_owned()),
        at: at(40),
    }
}

/// Every message of the contract, by the name of its file.
#[expect(clippy::too_many_lines, reason = "one list of all messages")]
fn messages() -> Vec<(&'static str, Message)> {
    use EventType as T;
    use JobState as S;
    let by_worker = |n, event_type, state| {
        let mut event = event(n, event_type, state);
        event.data.worker = Some("worker-a-00000002".to_owned());
        event
    };
    let submitted = event(0, T::Submitted, S::Queued);
    let mut retry = by_worker(60, T::Retry, S::Retrying);
    retry.data.attempt = 2;
    retry.data.not_before = Some(at(66));
    retry.data.error = Some(error("provider-busy", "the provider is busy", true, 1));
    let mut continued = by_worker(30, T::Continued, S::Running);
    continued.data.seq = 1;
    continued.data.checkpoint = Some(json!({"phase": "boot"}));
    continued.data.progress = Some(progress(25));
    let mut redriven = event(3600, T::Redriven, S::Queued);
    redriven.data.epoch = 1;
    let mut started = by_worker(1, T::Started, S::Running);
    started.data.command_seq = Some(0);
    let mut cancel_requested = event(20, T::CancelRequested, S::Running);
    cancel_requested.data.reason = Some("wrong region".to_owned());
    let mut succeeded = by_worker(90, T::Succeeded, S::Succeeded);
    succeeded.data.seq = 1;
    succeeded.data.output =
        Some(json!({"vm_hostname": "lxweb01", "provider": "simulated", "ip": "192.0.2.17"}));
    succeeded.data.progress = Some(progress(100));
    let mut failed = by_worker(90, T::Failed, S::Failed);
    failed.data.attempt = 5;
    failed.data.error = Some(error("provider-quota", "the quota is used up", false, 5));
    let mut cancelled = by_worker(25, T::Cancelled, S::Cancelled);
    cancelled.data.reason = Some("wrong region".to_owned());
    let mut deadline = by_worker(86_400, T::Deadline, S::Failed);
    deadline.data.error = Some(error("deadline", "the deadline passed", false, 1));
    let mut kept = event(43_200, T::Kept, S::Queued);
    kept.data.kept = Some(Box::new(Kept {
        first: Some(4711),
        id: submitted.id,
        event_type: T::Submitted,
        time: submitted.time,
        described: Described {
            epoch: 0,
            original: true,
            id: submitted.id,
            at: submitted.time,
        },
        cancel: None,
        started: None,
        confirmed: Some(0),
        whole: true,
    }));
    let mut ticked = by_worker(40, T::Progress, S::Running);
    ticked.data.progress = Some(progress(40));
    ticked.data.tick = Some(7);
    let mut log = by_worker(40, T::Log, S::Running);
    log.data.job.input = Value::Null;
    log.data.lines = vec![SaidLine {
        n: 17,
        at: at(39),
        stream: LogStream::Stdout,
        text: "next phase: boot".to_owned(),
    }];
    let mark = Mark {
        id: "0198f2a4-7c1e-7a02-8000-000000000001".parse().unwrap(),
        server: "server-a-00000001".to_owned(),
        time: at(1),
    };
    let cancel = Control::Cancel {
        job_id: JOB.parse().unwrap(),
        epoch: 0,
        reason: Some("wrong region".to_owned()),
    };
    let presence = Presence {
        name: "worker-a-00000002".to_owned(),
        app: "vmctl-worker".to_owned(),
        version: "0.1.0".to_owned(),
        language: "rust".to_owned(),
        started_at: at(0),
        state: WorkerState::Working,
        kinds: vec![ServedKind {
            kind: job().kind,
            slots: 8,
            in_hand: 1,
            consuming: true,
        }],
        jobs: vec![JobInHand {
            id: job().id,
            kind: job().kind,
            project_id: job().auth.project_id,
            attempt: 1,
            since: at(30),
            heard_at: at(40),
        }],
    };
    let presence_id: Uuid = "0198f2a4-7c1e-7a04-8000-000000000001".parse().unwrap();
    let control_id: Uuid = "0198f2a4-7c1e-7a03-8000-000000000001".parse().unwrap();
    vec![
        ("submitted", submitted.to_message()),
        (
            "retry",
            retry.to_delayed_message(Tier::at_most(Duration::from_secs(6)).unwrap()),
        ),
        ("continued", continued.to_message()),
        ("redriven", redriven.to_message()),
        ("started", started.to_message()),
        ("cancel_requested", cancel_requested.to_message()),
        ("succeeded", succeeded.to_message()),
        ("failed", failed.to_message()),
        ("cancelled", cancelled.to_message()),
        ("deadline", deadline.to_message()),
        ("kept", kept.to_message()),
        ("progress", ticked.to_message()),
        ("log", log.to_message()),
        ("mark", mark.to_message()),
        (
            "worker",
            presence::to_message(presence, presence_id, at(42)),
        ),
        ("control-cancel", cancel.to_message(control_id, at(20))),
    ]
}

/// A message as its file shows it.
fn shown(message: &Message) -> Value {
    let headers: Map<_, _> = message
        .headers
        .iter()
        .map(|(name, value)| {
            let value = match value {
                HeaderValue::Text(text) => json!(text),
                HeaderValue::Int(number) => json!(number),
            };
            (name.clone(), value)
        })
        .collect();
    json!({
        "exchange": message.exchange,
        "routing_key": message.routing_key.as_str(),
        "properties": {
            "content_type": message.content_type,
            "delivery_mode": if message.persistent { 2 } else { 1 },
            "message_id": message.message_id,
            "correlation_id": message.correlation_id,
            "type": message.message_type,
            "timestamp": message.timestamp.as_second(),
        },
        "headers": headers,
        "body": serde_json::from_slice::<Value>(&message.body).unwrap(),
    })
}

fn read(name: &str) -> Value {
    let path = directory().join(format!("{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_files_are_what_this_version_writes() {
    let messages = messages();
    if std::env::var_os("VMCTL_UPDATE").is_some_and(|v| v == "1") {
        fs::create_dir_all(directory()).unwrap();
        for (name, message) in &messages {
            let text = serde_json::to_string_pretty(&shown(message)).unwrap() + "\n";
            fs::write(directory().join(format!("{name}.json")), text).unwrap();
        }
    }
    for (name, message) in &messages {
        assert_eq!(
            read(name),
            shown(message),
            "docs/messages/{name}.json: run the tests with VMCTL_UPDATE=1"
        );
    }
    let mut files: Vec<_> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|file| file.strip_suffix(".json").map(str::to_owned))
        .collect();
    files.sort();
    let mut names: Vec<_> = messages.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(files, names, "a file without a message");
}

#[test]
fn every_type_of_message_has_a_file() {
    let types: Vec<_> = messages()
        .iter()
        .map(|(_, m)| m.message_type.clone())
        .collect();
    for event_type in EventType::ALL {
        let name = format!("jobs.{}.v1", event_type.word());
        assert!(types.contains(&name), "{name}");
    }
}

#[test]
fn what_is_read_is_written_again_with_what_nobody_knows() {
    for (name, message) in messages() {
        let Ok(_) = Event::parse(&message.body) else {
            assert!(
                matches!(name, "mark" | "worker" | "control-cancel"),
                "{name}"
            );
            continue;
        };
        let mut body = read(name)["body"].clone();
        body["tenant"] = json!("attribute of a newer version");
        body["data"]["weight"] = json!({"of": "a newer version"});
        body["data"]["job"]["colour"] = json!("blue");
        let event = Event::parse(body.to_string().as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&event.to_body()).unwrap();
        assert_eq!(written, body, "{name}");
    }
}
