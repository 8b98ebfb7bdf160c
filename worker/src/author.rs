//! The messages that follow from a command. Pure, but for ids and time.
//!
//! How they are numbered is what the merge stands on:
//!
//! | message | epoch | attempt | seq |
//! |---|---|---|---|
//! | `started`, ticks, terminal events | the command's | the command's | the command's |
//! | `continued`, also of a job that waits | the command's | the command's | one more |
//! | `retry` | the command's | one more | 0 |
//!
//! Whatever a newer version has put into a command goes on into what follows from it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use vmctl_core::{
    Compensation, JobError, JobState, Progress,
    children::Waits,
    clock::{self, Clock},
    event::{Event, EventData, EventType, MAX_BODY, SaidLine},
};

use crate::{children::Spawn, handler::Outcome};

/// Longest title and detail of an error that is published, in bytes.
const MAX_TITLE: usize = 256;
const MAX_DETAIL: usize = 4096;

/// The wait before the next attempt where neither the handler nor a policy names one.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// What the later messages of a job that waits may have more than its first one, in bytes: the name of
/// another worker, a number with more digits.
const LATER: usize = 1024;

/// What a message says beside the outcome of a slice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    pub(crate) progress: Option<Progress>,
    /// When the attempt must have ended, for its next slice.
    pub(crate) attempt_until: Option<Timestamp>,
    pub(crate) compensation: Option<Compensation>,
}

/// Writes messages in the name of one worker.
pub(crate) struct Author {
    worker: Arc<str>,
    source: String,
    clock: Arc<dyn Clock>,
}

impl Author {
    pub(crate) fn new(worker: Arc<str>, clock: Arc<dyn Clock>) -> Self {
        Self {
            source: format!("/worker/{worker}"),
            worker,
            clock,
        }
    }

    fn follow(&self, command: &Event, event_type: EventType, state: JobState) -> Event {
        let said = &command.data;
        let data = EventData {
            epoch: said.epoch,
            attempt: said.attempt,
            seq: said.seq,
            progress: said.progress.clone(),
            worker: Some(self.worker.to_string()),
            children: said.children.clone(),
            compensation: said.compensation,
            extra: said.extra.clone(),
            ..EventData::new(state, said.job.clone())
        };
        let id = clock::new_uuid(&*self.clock);
        let mut event = Event::new(id, event_type, &self.source, self.clock.now(), data);
        // What follows a fact belongs to the slice that said it; a later slice stands beside this one.
        let slice = (!event_type.is_command()).then(vmctl_trace::current);
        event.traceparent = slice.flatten().or_else(|| command.traceparent.clone());
        event.extra.clone_from(&command.extra);
        event
    }

    /// The attempt that the command opens has started.
    pub(crate) fn started(&self, command: &Event) -> Event {
        let mut event = self.follow(command, EventType::Started, JobState::Running);
        event.data.command_seq = Some(command.data.seq);
        event
    }

    /// The job is that far.
    pub(crate) fn tick(&self, command: &Event, number: u32, progress: Progress) -> Event {
        let mut event = self.follow(command, EventType::Progress, JobState::Running);
        event.data.tick = Some(number);
        event.data.progress = Some(progress);
        event
    }

    /// The job's log goes on. Its input stays out: lines come often.
    pub(crate) fn log(&self, command: &Event, lines: Vec<SaidLine>) -> Event {
        let mut event = self.follow(command, EventType::Log, JobState::Running);
        event.data.job.input = Value::Null;
        event.data.progress = None;
        event.data.lines = lines;
        event
    }

    /// Somebody wanted the job cancelled, and it is.
    pub(crate) fn cancelled(&self, command: &Event, reason: Option<String>) -> Event {
        let mut event = self.follow(command, EventType::Cancelled, JobState::Cancelled);
        event.data.reason = reason;
        event
    }

    /// The job's time is over. `begun` when it may have made something.
    pub(crate) fn deadline(&self, command: &Event, begun: bool) -> Event {
        let mut event = self.follow(command, EventType::Deadline, JobState::Failed);
        let detail = if begun {
            "it was stopped by its deadline; what it has made, such as a machine, may remain"
        } else {
            "its deadline passed before a worker could start it"
        };
        event.data.error = Some(JobError {
            error_type: "deadline".to_owned(),
            title: "the job's time is over".to_owned(),
            detail: Some(detail.to_owned()),
            retryable: true,
            attempt: Some(command.data.attempt),
            worker: Some(self.worker.to_string()),
        });
        event
    }

    /// No worker could start the job in the time that it was given for that.
    pub(crate) fn start_deadline(&self, command: &Event) -> Event {
        let mut event = self.follow(command, EventType::Deadline, JobState::Failed);
        event.data.error = Some(JobError {
            worker: Some(self.worker.to_string()),
            ..JobError::start_deadline()
        });
        event
    }

    /// The message of an outcome, as it is published: with all that is said beside it, it fits.
    pub(crate) fn conclude(&self, command: &Event, outcome: Outcome, beside: Beside) -> Event {
        let asks = matches!(outcome, Outcome::Spawn(_));
        let attempt_until = beside.attempt_until;
        let mut event = match outcome {
            Outcome::Done(output) => {
                let mut event = self.follow(command, EventType::Succeeded, JobState::Succeeded);
                event.data.output = Some(output);
                event
            }
            Outcome::Continue { after, checkpoint } => {
                let mut event = self.continued(command, after, checkpoint);
                event.data.attempt_until = attempt_until;
                event
            }
            Outcome::Spawn(spawn) => {
                let mut event = self.spawned(command, spawn);
                event.data.attempt_until = attempt_until;
                event
            }
            Outcome::Retry { after, error } => {
                self.retry(command, after.unwrap_or(DEFAULT_WAIT), error)
            }
            Outcome::Fail(error) => self.failed(command, error),
            Outcome::Cancelled => self.cancelled(command, None),
        };
        if let Some(progress) = beside.progress {
            event.data.progress = Some(progress);
        }
        let compensation = beside.compensation.or(event.data.compensation);
        event.data.compensation = compensation;
        let later = if asks { LATER } else { 0 };
        if event.to_body().len() + later > MAX_BODY {
            event = self.too_large(command);
            event.data.compensation = compensation;
        }
        event
    }

    fn continued(&self, command: &Event, after: Duration, checkpoint: Value) -> Event {
        let mut event = self.follow(command, EventType::Continued, JobState::Running);
        event.data.seq = command.data.seq.saturating_add(1);
        event.data.checkpoint = Some(checkpoint);
        event.data.not_before = self.not_before(after);
        event
    }

    /// The job waits for the children that it has asked for.
    fn spawned(&self, command: &Event, spawn: Spawn) -> Event {
        let names: Vec<String> = spawn.children.into_iter().map(|c| c.name).collect();
        let waits = Waits {
            children: names.clone(),
            join: spawn.join,
            on_failure: spawn.on_failure,
            until: spawn.until,
            shielded: spawn.shielded,
            looks: 0,
            decided: false,
        };
        let mut pause = waits.pause();
        if let Some(at) = waits.until {
            pause = pause.min(until(self.clock.now(), at));
        }
        let mut event = self.waiting(command, waits, pause, Some(spawn.checkpoint));
        for name in names {
            if !event.data.children.contains(&name) {
                event.data.children.push(name);
            }
        }
        event
    }

    /// The job waits, for the first time or still.
    pub(crate) fn waiting(
        &self,
        command: &Event,
        waits: Waits,
        pause: Duration,
        checkpoint: Option<Value>,
    ) -> Event {
        let mut event = self.follow(command, EventType::Continued, JobState::Waiting);
        event.data.seq = command.data.seq.saturating_add(1);
        event.data.checkpoint = checkpoint;
        event.data.waits = Some(waits);
        event.data.not_before = self.not_before(pause);
        event
    }

    /// Who says it.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    fn retry(&self, command: &Event, after: Duration, error: JobError) -> Event {
        if command.data.attempt >= command.data.job.max_attempts {
            return self.failed(command, error);
        }
        let mut event = self.follow(command, EventType::Retry, JobState::Retrying);
        event.data.attempt = command.data.attempt.saturating_add(1);
        event.data.seq = 0;
        // What the failed attempt had started from is still true.
        event.data.checkpoint.clone_from(&command.data.checkpoint);
        event.data.waits.clone_from(&command.data.waits);
        event.data.not_before = self.not_before(after);
        event.data.error = Some(self.signed(command, error));
        event
    }

    fn failed(&self, command: &Event, error: JobError) -> Event {
        let mut event = self.follow(command, EventType::Failed, JobState::Failed);
        // It is parked with all that is needed to run it again.
        event.data.checkpoint.clone_from(&command.data.checkpoint);
        event.data.error = Some(self.signed(command, error));
        event
    }

    fn too_large(&self, command: &Event) -> Event {
        let mut event = self.failed(
            command,
            JobError {
                error_type: "outcome-too-large".to_owned(),
                title: "the job's outcome is too large to be told".to_owned(),
                detail: Some("what it has made, such as a machine, may remain".to_owned()),
                retryable: false,
                attempt: None,
                worker: None,
            },
        );
        if event.to_body().len() > MAX_BODY {
            event.data.checkpoint = None;
            event.data.progress = None;
            event.data.children = Vec::new();
        }
        event
    }

    fn signed(&self, command: &Event, mut error: JobError) -> JobError {
        shorten(&mut error.title, MAX_TITLE);
        if let Some(detail) = &mut error.detail {
            shorten(detail, MAX_DETAIL);
        }
        error.attempt = Some(command.data.attempt);
        error.worker = Some(self.worker.to_string());
        error
    }

    fn not_before(&self, after: Duration) -> Option<Timestamp> {
        let at = clock::add(self.clock.now(), after);
        // To the millisecond, like every other time.
        (!after.is_zero()).then(|| clock::from_unix_ms(at.as_millisecond()))
    }
}

fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|&i| text.is_char_boundary(i));
        text.truncate(end.unwrap_or(0));
    }
}

/// How long it is from `now` until `at`; zero when that has passed.
pub(crate) fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(now.duration_until(at)).unwrap_or(Duration::ZERO)
}
