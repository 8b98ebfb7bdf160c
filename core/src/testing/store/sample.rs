//! Jobs and messages to test with, made from small numbers that a property test can draw and shrink.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;
use vmctl_api_types::{JobError, JobId, JobState, Progress};

use crate::{
    clock,
    event::{Caller, Event, EventData, EventType, JobSpec},
    fact::{JobFact, Retention, derived_id},
    kept::{Described, Kept},
    partition::Partition,
    record::{Cancel, Started, Tick},
};

/// The types that a fact can have.
pub const TYPES: [EventType; 11] = [
    EventType::Submitted,
    EventType::Retry,
    EventType::Continued,
    EventType::Redriven,
    EventType::Started,
    EventType::CancelRequested,
    EventType::Succeeded,
    EventType::Failed,
    EventType::Cancelled,
    EventType::Deadline,
    EventType::Kept,
];

/// One message about one job, in small numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// The index of its type in [`TYPES`].
    pub what: usize,
    /// The run.
    pub epoch: u32,
    /// The try inside the run.
    pub attempt: u32,
    /// Orders the messages of one attempt.
    pub seq: u32,
    /// When, in milliseconds after the start of the story.
    pub at: i64,
}

/// Jobs of one story: ids that are the same for the same name, times that count from `start`.
#[derive(Debug, Clone, Copy)]
pub struct Story {
    /// When it starts.
    pub start: Timestamp,
}

impl Story {
    /// Returns `start` and some milliseconds.
    pub fn at(&self, ms: i64) -> Timestamp {
        self.start
            .checked_add(SignedDuration::from_millis(ms))
            .unwrap()
    }

    /// Returns the id of the job of that name, submitted at `ms`.
    pub fn job(&self, name: &str, ms: i64) -> JobId {
        JobId::from_uuid(derived_id(name, "job", self.at(ms)))
    }

    /// Returns a job of that name in the partition.
    pub fn job_in(&self, partition: Partition, name: &str) -> JobId {
        (0..10_000)
            .map(|n| self.job(&format!("{name}-{n}"), 0))
            .find(|&id| Partition::of(id) == partition)
            .unwrap()
    }

    /// Returns a job as submitted at `ms`, with a deadline an hour later.
    pub fn spec(&self, id: JobId, project: &str, ms: i64) -> JobSpec {
        let created_at = self.at(ms);
        let deadline = created_at
            .checked_add(SignedDuration::from_hours(1))
            .unwrap();
        let input =
            json!({"hostname": "lx1", "note": "é \u{0} \" ]]", "big": u64::MAX, "ratio": 0.1});
        let caller = Caller {
            user_id: "u1".to_owned(),
            user_name: "joe".to_owned(),
            project_id: project.to_owned(),
            domain_id: "default".to_owned(),
            roles: vec!["member".to_owned()],
            request_id: Some("req-1".to_owned()),
        };
        let kind = "vm.create".parse().unwrap();
        JobSpec {
            max_attempts: 5,
            labels: [("team".to_owned(), "blue".to_owned())].into(),
            fp: "sha256:00".to_owned(),
            ..JobSpec::new(id, kind, input, created_at, deadline, caller)
        }
    }

    /// Returns the message as a fact; the same message has the same id wherever it is.
    pub fn fact(&self, spec: &JobSpec, said: &Saying, offset: Option<u64>) -> JobFact {
        let event_type = TYPES[said.what];
        let mut data = data(spec.clone(), said, event_type);
        // Every third says what it keeps; an older reader's do not.
        if event_type == EventType::Kept && said.attempt.is_multiple_of(3) {
            data.kept = Some(Box::new(self.kept(spec, said)));
        }
        let event = Event::new(
            self.message(spec, event_type, said),
            event_type,
            "/worker/w1",
            self.at(said.at),
            data,
        );
        JobFact::from_event(event, offset, Retention::default())
    }

    fn message(&self, spec: &JobSpec, event_type: EventType, said: &Saying) -> Uuid {
        let what = format!("{event_type} {} {} {}", said.epoch, said.attempt, said.seq);
        derived_id(&spec.id.to_string(), &what, self.start)
    }

    /// What a `kept` repeats: the message of its state, with what there was beside it.
    fn kept(&self, spec: &JobSpec, said: &Saying) -> Kept {
        let event_type = match state(EventType::Kept, said.seq) {
            JobState::Queued => EventType::Retry,
            _ => EventType::Started,
        };
        let earlier = said.epoch.saturating_sub(1);
        let opened = self.message(
            spec,
            EventType::Submitted,
            &Saying {
                seq: 0,
                ..said.clone()
            },
        );
        Kept {
            id: self.message(spec, event_type, said),
            event_type,
            time: self.start,
            first: (said.seq > 1).then(|| u64::from(said.seq)),
            described: Described {
                epoch: said.epoch,
                original: true,
                id: opened,
                at: self.start,
            },
            cancel: (said.seq > 1).then(|| Cancel {
                epoch: earlier,
                at: self.at(1),
                id: opened,
                reason: None,
            }),
            started: (said.seq > 0).then(|| Started {
                epoch: said.epoch,
                at: self.at(2),
            }),
            confirmed: (said.seq != 2).then_some(earlier),
            whole: false,
        }
    }

    /// Returns the submission of a job, as a server writes it ahead of the log.
    pub fn submission(&self, spec: &JobSpec) -> JobFact {
        let at = spec.created_at.duration_since(self.start).as_millis();
        let said = Saying {
            what: 0,
            epoch: 0,
            attempt: 1,
            seq: 0,
            at: i64::try_from(at).unwrap(),
        };
        JobFact {
            confirmed: true,
            ..self.fact(spec, &said, None)
        }
    }

    /// Returns progress of a job.
    pub fn tick(&self, job: JobId, (epoch, attempt): (u32, u32), seq: u32, number: u32) -> Tick {
        Tick {
            job,
            epoch,
            attempt,
            seq,
            number,
            progress: self.progress(u8::try_from(number % 100).unwrap()),
        }
    }

    fn progress(&self, percent: u8) -> Progress {
        Progress {
            percent,
            step: "boot".to_owned(),
            step_number: Some(1),
            steps: Some(3),
            message: None,
            at: self.start,
        }
    }
}

/// Returns the state that a type announces; those that can announce several alternate by `seq`.
fn state(event_type: EventType, seq: u32) -> JobState {
    match event_type {
        EventType::Submitted | EventType::Redriven => JobState::Queued,
        EventType::Retry => JobState::Retrying,
        EventType::Succeeded => JobState::Succeeded,
        EventType::Failed | EventType::Deadline => JobState::Failed,
        EventType::Cancelled => JobState::Cancelled,
        EventType::Kept if seq.is_multiple_of(2) => JobState::Queued,
        EventType::Continued if seq.is_multiple_of(2) => JobState::Waiting,
        _ => JobState::Running,
    }
}

fn data(job: JobSpec, said: &Saying, event_type: EventType) -> EventData {
    let failed = matches!(event_type, EventType::Failed | EventType::Retry);
    EventData {
        epoch: said.epoch,
        attempt: said.attempt,
        seq: said.seq,
        output: (event_type == EventType::Succeeded).then(|| json!({"id": u64::MAX, "é": [1.5]})),
        error: failed.then(|| JobError {
            error_type: "boot".to_owned(),
            title: "it did not boot".to_owned(),
            detail: None,
            retryable: true,
            attempt: Some(said.attempt),
            worker: Some("w1".to_owned()),
        }),
        worker: Some("w1".to_owned()),
        reason: (event_type == EventType::CancelRequested).then(|| format!("because {}", said.at)),
        ..EventData::new(state(event_type, said.seq), job)
    }
}

/// Returns an id of an entry of the log, for positions.
pub fn entry_id(offset: u64) -> String {
    derived_id(&offset.to_string(), "entry", clock::from_unix_ms(0)).to_string()
}

/// Returns an id that no message has.
pub fn nobody() -> JobId {
    JobId::from_uuid(Uuid::nil())
}
