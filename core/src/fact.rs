//! What one log entry says, reduced to what the merge needs.
//!
//! [`interpret`] is pure: it turns any entry, however broken, into a [`Fact`], and never fails.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use vmctl_api_types::{Compensation, JobError, JobId, JobState, Progress};

use crate::{
    audit,
    bus::{HeaderValue, LogEntry, Received},
    children::Waits,
    clock,
    event::{Event, EventData, EventType, JobSpec, MARK_TYPE, MAX_COUNT, Mark},
    kept::Kept,
    kinds::MAX_DEADLINE,
    report,
    topology::{EXCHANGE_JOBS, EXCHANGE_READY, QUEUE_DEAD},
};

/// How long a record is kept after the job's end, or after its deadline while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention(pub Duration);

impl Default for Retention {
    fn default() -> Self {
        Self(Duration::from_secs(24 * 3600))
    }
}

/// What one log entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Something about a job.
    Job(Box<JobFact>),
    /// A server's mark.
    Mark(Mark),
    /// Nothing that the view needs.
    Other,
    /// Something that cannot be merged; `job` when at least that could be told.
    Bad {
        /// The job, as far as the properties tell.
        job: Option<JobId>,
        /// Why it cannot be merged.
        reason: String,
    },
}

/// One message about one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFact {
    /// The job.
    pub job: JobId,
    /// The message's id.
    pub id: Uuid,
    /// Its place in the log; `None` when it was not read from there.
    pub offset: Option<u64>,
    /// What it says.
    pub event_type: EventType,
    /// The state that it announces.
    pub state: JobState,
    /// The run.
    pub epoch: u32,
    /// The try inside the run.
    pub attempt: u32,
    /// Orders the messages of one attempt.
    pub seq: u32,
    /// When it was said.
    pub time: Timestamp,
    /// When the record that it makes is forgotten.
    pub expires: Timestamp,
    /// The job as submitted; `None` only for a dead letter whose body does not parse.
    pub spec: Option<JobSpec>,
    /// What a client is shown of it.
    pub body: FactBody,
    /// Why, for a cancel.
    pub reason: Option<String>,
    /// Whether the broker confirmed the submission that this is (set by the server only).
    pub confirmed: bool,
    /// Whether the broker says it, which gave the command up.
    #[serde(default)]
    pub given_up: bool,
    /// The message that it repeats, if it is a `kept`: all that decides comes from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Box<Kept>>,
}

/// What a client is shown of a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FactBody {
    /// How far the job is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Not before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The names of the jobs that it has asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Box<Waits>>,
    /// How far undoing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Compensation>,
    /// Whether it waits for its turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_line: bool,
}

impl JobFact {
    /// Reduces an event.
    pub fn from_event(event: Event, offset: Option<u64>, retention: Retention) -> Self {
        let mut data = event.data;
        let kept = data.kept.take();
        let kept = kept.filter(|_| event.event_type == EventType::Kept);
        let said = kept.as_ref().map_or(event.time, |kept| kept.time);
        let what = kept
            .as_ref()
            .map_or(event.event_type, |kept| kept.event_type);
        let in_line = data.is_in_line(what);
        let left = is_command_left(event.event_type, &data, event.time);
        let expires = expiry(&data.job, data.state, left, said, retention);
        Self {
            job: event.subject,
            id: event.id,
            offset,
            event_type: event.event_type,
            state: data.state,
            epoch: data.epoch,
            attempt: data.attempt,
            seq: data.seq,
            time: event.time,
            expires,
            spec: Some(data.job),
            body: FactBody {
                progress: data.progress,
                output: data.output,
                error: data.error,
                worker: data.worker,
                not_before: data.not_before,
                children: data.children,
                waits: data.waits.map(Box::new),
                compensation: data.compensation,
                in_line,
            },
            reason: data.reason,
            confirmed: false,
            given_up: false,
            kept,
        }
    }

    /// Returns where the log says first what this fact says: of a `kept`, where it knows that the message
    /// was which it repeats.
    pub fn first_said(&self) -> Option<u64> {
        let known = self.kept.as_ref().and_then(|kept| kept.first);
        self.offset
            .map(|at| known.map_or(at, |first| first.min(at)))
    }

    /// Orders states inside one attempt: scheduled or in line, queued, running.
    pub const fn rank(&self) -> u8 {
        match self.state {
            JobState::Queued if self.body.in_line => 1,
            JobState::Retrying => 1,
            JobState::Queued => 2,
            _ => 3,
        }
    }
}

/// Says whether a job was ended while its command still waits for `run_at`: then the end must be
/// known until the command cannot run any more.
fn is_command_left(event_type: EventType, data: &EventData, time: Timestamp) -> bool {
    event_type == EventType::Cancelled
        && (data.attempt, data.seq) == (1, 0)
        && data.job.run_at.is_some_and(|at| at > time)
}

/// How far the clock of an honest process may be wrong: further ahead than this, or further before
/// its job, and what it says is not believed.
pub const CLOCK_TRUST: Duration = Duration::from_secs(24 * 3600);

/// Says why a fact cannot come from an honest process with a usable clock, by the reader's own clock.
/// Whoever believed it would keep a record for centuries, or take a live one for long over.
pub fn implausible(fact: &JobFact, now: Timestamp) -> Option<&'static str> {
    let latest = clock::add(now, CLOCK_TRUST);
    let spec = fact.spec.as_ref();
    let said = fact.kept.as_ref().map_or(fact.time, |kept| kept.time);
    if fact.time.max(said) > latest {
        return Some("its time is in the future");
    }
    if spec.is_some_and(|s| s.deadline > clock::add(latest, MAX_DEADLINE)) {
        return Some("its deadline is too far ahead");
    }
    // Only a version 7 id says when it was drawn; whoever submits draws it then.
    let drawn = fact.job.unix_ms().map(clock::from_unix_ms);
    let submitted = spec.map(|s| s.created_at).into_iter().chain(drawn).max();
    if submitted.is_some_and(|at| clock::add(fact.time, CLOCK_TRUST) < at) {
        return Some("its time is before its job's");
    }
    None
}

/// Says when the record of a job is forgotten.
fn expiry(
    job: &JobSpec,
    state: JobState,
    command_left: bool,
    time: Timestamp,
    retention: Retention,
) -> Timestamp {
    let from = if state.is_terminal() && !command_left {
        job.keep_until.map_or(time, |until| until.max(time))
    } else {
        job.keep_until
            .map_or(job.deadline, |until| until.max(job.deadline))
    };
    // Nobody believes a time beyond the longest life of a job.
    let latest = clock::add(time.max(job.deadline), MAX_DEADLINE);
    clock::add(from.min(latest), retention.0)
}

/// Reads one log entry.
///
/// An entry that did not come through the exchange `jobs` is a dead letter: a command that the
/// broker gave up. It means that its job failed, with the newest reason of the broker's trace, even
/// when the body does not parse. Its event id is derived from the command's, so that every reader
/// and every rebuild derives the same.
pub fn interpret(entry: &LogEntry, retention: Retention) -> Fact {
    let message = &entry.message;
    if message.message_type.as_deref() == Some(MARK_TYPE) {
        return match Mark::parse(&message.body) {
            Ok(mark) => Fact::Mark(mark),
            Err(e) => bad(entry, e.to_string()),
        };
    }
    if audit::is_audit(message) {
        return Fact::Other;
    }
    let dead = message.exchange != EXCHANGE_JOBS;
    if !dead && message.routing_key == report::KEY {
        // The event that it means comes after it.
        return Fact::Other;
    }
    match Event::parse(&message.body) {
        Ok(event) if dead => dead_letter(entry, Some(event), retention),
        Ok(event) if event.event_type.is_tick() => Fact::Other,
        Ok(event) => Fact::Job(Box::new(JobFact::from_event(
            event,
            Some(entry.offset),
            retention,
        ))),
        Err(_) if dead => dead_letter(entry, None, retention),
        Err(e) => bad(entry, e.to_string()),
    }
}

fn bad(entry: &LogEntry, reason: String) -> Fact {
    Fact::Bad {
        job: correlation(entry),
        reason,
    }
}

fn correlation(entry: &LogEntry) -> Option<JobId> {
    entry.message.correlation_id.as_deref()?.parse().ok()
}

fn dead_letter(entry: &LogEntry, event: Option<Event>, retention: Retention) -> Fact {
    let message = &entry.message;
    if event.as_ref().is_some_and(|e| !e.event_type.is_command()) {
        return bad(entry, "a dead letter that is no command".to_owned());
    }
    let Some(job) = event
        .as_ref()
        .map(|e| e.subject)
        .or_else(|| correlation(entry))
    else {
        return bad(entry, "a dead letter that names no job".to_owned());
    };
    let time = message
        .death
        .as_ref()
        .and_then(|d| d.time)
        .or_else(|| event.as_ref().map(|e| e.time))
        .or(message.timestamp)
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let command = event.as_ref().map_or_else(
        || {
            message
                .message_id
                .clone()
                .unwrap_or_else(|| job.to_string())
        },
        |e| e.id.to_string(),
    );
    let error = dead_letter_error(message, event.is_some());
    let id = derived_id(&command, "dead", time);
    let mut data = event.map(|e| e.data);
    let (children, compensation) = data.as_mut().map_or_else(Default::default, |d| {
        (std::mem::take(&mut d.children), d.compensation)
    });
    let (epoch, attempt, seq) = data
        .as_ref()
        .map_or_else(|| headers(message), |d| (d.epoch, d.attempt, d.seq));
    // When the broker does not say when it gave the command up, the command's own time may be so
    // old that the record would be forgotten before anybody has seen it.
    let is_dated = message.death.as_ref().is_some_and(|d| d.time.is_some());
    let ended_by = match &data {
        Some(data) if !is_dated => time.max(data.job.deadline),
        _ => time,
    };
    let expires = data.as_ref().map_or_else(
        || clock::add(ended_by, retention.0),
        |data| expiry(&data.job, JobState::Failed, false, ended_by, retention),
    );
    Fact::Job(Box::new(JobFact {
        job,
        id,
        offset: Some(entry.offset),
        event_type: EventType::Failed,
        state: JobState::Failed,
        epoch,
        attempt,
        seq,
        time,
        expires,
        body: FactBody {
            error: Some(JobError {
                attempt: Some(attempt),
                ..error
            }),
            children,
            compensation,
            ..FactBody::default()
        },
        spec: data.map(|d| d.job),
        reason: None,
        confirmed: false,
        given_up: true,
        kept: None,
    }))
}

/// Reads from the headers what run a command is of whose body nobody can read.
fn headers(message: &Received) -> (u32, u32, u32) {
    let count = |name: &str| match message.headers.get(name) {
        Some(HeaderValue::Int(n)) => u32::try_from(*n).ok().filter(|n| *n <= MAX_COUNT),
        _ => None,
    };
    let attempt = count("attempt").filter(|n| *n > 0).unwrap_or(1);
    (
        count("epoch").unwrap_or(0),
        attempt,
        count("seq").unwrap_or(0),
    )
}

/// Says why the broker gave a command up. The trace may be missing (see
/// [`Received::death`]); the exchange then tells at least which queue it was.
fn dead_letter_error(message: &Received, parsed: bool) -> JobError {
    let reason = message.death.as_ref().map(|d| d.reason.as_str());
    let (error_type, title) = match reason {
        Some("delivery_limit" | "delivery-limit") => (
            "delivery-limit",
            "its workers went down or gave it back too many times",
        ),
        Some("rejected") if !parsed => ("malformed", "no worker could read the command"),
        Some("rejected") => ("rejected", "a worker refused the command"),
        Some("maxlen") => ("queue-full", "the work queue was full"),
        _ if message.exchange == EXCHANGE_READY => ("unroutable", "no work queue took the command"),
        _ => (
            "dead-lettered",
            "a worker refused the command, or it came back too often",
        ),
    };
    let detail = message.death.as_ref().map_or_else(
        || format!("the whole trace is in the queue {QUEUE_DEAD}"),
        |d| format!("dead-lettered by {} ({})", d.queue, d.reason),
    );
    JobError {
        error_type: error_type.to_owned(),
        title: title.to_owned(),
        detail: Some(detail),
        retryable: false,
        attempt: None,
        worker: None,
    }
}

/// Derives an id from what it follows from: the same for everyone who derives it. Version 7 with
/// the given time in front, so that it sorts with drawn ones.
pub fn derived_id(from: &str, what: &str, time: Timestamp) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(from.as_bytes());
    hash.update([0]);
    hash.update(what.as_bytes());
    let digest = hash.finalize();
    let mut random = [0_u8; 10];
    random.copy_from_slice(&digest[..10]);
    let ms = u64::try_from(time.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{bus::Death, merge::merge, record::Record, topology::EXCHANGE_DLX};

    const JOB: &str = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a";

    fn dead(exchange: &str, death: Option<(&str, &str)>) -> LogEntry {
        let message = Received {
            exchange: exchange.to_owned(),
            routing_key: "job.vm.create".to_owned(),
            content_type: None,
            message_id: Some("command".to_owned()),
            correlation_id: Some(JOB.to_owned()),
            message_type: None,
            timestamp: Some(clock::from_unix_ms(1_795_000_000_000)),
            headers: BTreeMap::new(),
            death: death.map(|(reason, queue)| Death {
                reason: reason.to_owned(),
                queue: queue.to_owned(),
                time: None,
            }),
            redelivered: false,
            delivery_count: 0,
            body: "not JSON".into(),
        };
        LogEntry { offset: 7, message }
    }

    fn job_fact(entry: &LogEntry) -> JobFact {
        match interpret(entry, Retention::default()) {
            Fact::Job(fact) => *fact,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_dead_letter_says_why_as_far_as_the_broker_told() {
        let work = "work.vm.create";
        for (exchange, death, expected) in [
            (
                EXCHANGE_DLX,
                Some(("delivery_limit", work)),
                "delivery-limit",
            ),
            (EXCHANGE_DLX, Some(("rejected", work)), "malformed"),
            (EXCHANGE_DLX, Some(("maxlen", work)), "queue-full"),
            (
                EXCHANGE_READY,
                Some(("expired", "jobs.delay.1s")),
                "unroutable",
            ),
            (EXCHANGE_READY, None, "unroutable"),
            (EXCHANGE_DLX, None, "dead-lettered"),
        ] {
            let fact = job_fact(&dead(exchange, death));
            assert_eq!(fact.body.error.unwrap().error_type, expected);
            assert_eq!((fact.state, fact.offset), (JobState::Failed, Some(7)));
        }
    }

    #[test]
    fn the_end_of_an_old_command_is_not_forgotten_before_it_is_seen() {
        let submitted = clock::from_unix_ms(1_795_000_000_000);
        let deadline = clock::add(submitted, Duration::from_secs(3 * 86_400));
        let command = serde_json::json!({
            "specversion": "1.0", "id": Uuid::nil(), "type": "jobs.submitted.v1", "source": "/test",
            "subject": JOB, "time": submitted, "datacontenttype": "application/json",
            "data": {"state": "queued", "epoch": 0, "attempt": 1, "seq": 0, "job": {
                "id": JOB, "kind": "vm.create", "input": {}, "created_at": submitted,
                "deadline": deadline, "max_attempts": 5, "fp": "sha256:0",
                "auth": {"user_id": "u", "user_name": "joe", "project_id": "demo"},
            }},
        });
        let mut entry = dead(EXCHANGE_DLX, Some(("rejected", "work.vm.create")));
        entry.message.body = command.to_string().into();
        let expires = job_fact(&entry).expires;
        assert_eq!(expires, clock::add(deadline, Retention::default().0));
        // A broker that says when is believed.
        let died = clock::add(submitted, Duration::from_secs(25 * 3600));
        entry.message.death.as_mut().unwrap().time = Some(died);
        let fact = job_fact(&entry);
        assert_eq!(fact.time, died);
        assert_eq!(fact.expires, clock::add(died, Retention::default().0));
    }

    #[test]
    fn a_command_that_was_given_up_at_an_unknown_time_ends_after_its_start() {
        let end = job_fact(&dead(EXCHANGE_DLX, None));
        let started = JobFact {
            id: Uuid::nil(),
            offset: Some(6),
            event_type: EventType::Started,
            state: JobState::Running,
            time: clock::add(end.time, Duration::from_secs(60)),
            given_up: false,
            ..end.clone()
        };
        let mut record = Record::default();
        merge(&mut record, &started, started.time);
        assert_eq!(record.finished_at(), None);
        merge(&mut record, &end, started.time);
        assert_eq!(record.state(), Some(JobState::Failed));
        assert_eq!(record.finished_at(), Some(started.time));
    }

    #[test]
    fn everyone_derives_the_same_id() {
        let entry = dead(EXCHANGE_DLX, None);
        let mut again = entry.clone();
        again.offset = 9;
        assert_eq!(job_fact(&entry).id, job_fact(&again).id);
    }

    #[test]
    fn what_names_no_job_is_bad() {
        let mut entry = dead(EXCHANGE_DLX, None);
        entry.message.correlation_id = None;
        let fact = interpret(&entry, Retention::default());
        assert!(matches!(fact, Fact::Bad { job: None, .. }), "{fact:?}");
        entry.message.exchange = EXCHANGE_JOBS.to_owned();
        let fact = interpret(&entry, Retention::default());
        assert!(matches!(fact, Fact::Bad { job: None, .. }), "{fact:?}");
    }
}
