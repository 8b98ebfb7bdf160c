//! What the view keeps of one job, and how a client is shown it.
//!
//! A record is a product of small joins, each with its own order (see [`crate::merge`]).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vmctl_api_types::{
    CallbackState, CallbackStatus, InLine, Job, JobEvent, JobId, JobLinks, JobState, Owner,
    Progress,
};

use crate::{
    event::{EventType, JobSpec},
    fact::FactBody,
};

/// What the view keeps of one job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The message that decides the state.
    pub winner: Option<Winner>,
    /// The job as submitted.
    pub spec: Option<Submission>,
    /// Whether somebody asked to cancel it.
    pub cancel: Option<Cancel>,
    /// When it was first started in an epoch.
    pub started: Option<Started>,
    /// The newest epoch whose submission the broker confirmed to a server.
    pub confirmed: Option<u32>,
    /// The newest progress.
    pub tick: Option<Tick>,
    /// When it is forgotten, if that is earlier than its winner says: the store had no room. No part of
    /// the merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortened: Option<Timestamp>,
}

/// The message that decides the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Winner {
    /// Its id.
    pub id: Uuid,
    /// Its place in the log; `None` when a server wrote it ahead of the log.
    pub offset: Option<u64>,
    /// Whether that is the place of a [`crate::kept`] that repeats it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub kept: bool,
    /// Where the log said it first, if that is somewhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// What it says.
    pub event_type: EventType,
    /// The state.
    pub state: JobState,
    /// The run.
    pub epoch: u32,
    /// The try inside the run.
    pub attempt: u32,
    /// Orders states inside one attempt.
    pub rank: u8,
    /// Orders the messages of one attempt.
    pub seq: u32,
    /// When it was said.
    pub time: Timestamp,
    /// When the record is forgotten.
    pub expires: Timestamp,
    /// What a client is shown of it.
    pub body: FactBody,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Winner {
    /// Returns where the log said it first, as far as that is known.
    pub fn first_said(&self) -> Option<u64> {
        self.first.or(self.offset)
    }

    /// Says whether the job has failed for good, by its worker or by the broker's giving its command up:
    /// what lies in the queue of dead messages. Past its deadline or cancelled is another end.
    pub fn is_dead(&self) -> bool {
        self.state.is_terminal() && self.event_type == EventType::Failed
    }
}

/// The job as submitted, and which message said so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The run.
    pub epoch: u32,
    /// Whether the message was the submission itself.
    pub original: bool,
    /// The message's id.
    pub id: Uuid,
    /// The message's time.
    pub at: Timestamp,
    /// The job.
    pub spec: JobSpec,
}

/// A wish to cancel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct Cancel {
    /// The run that is meant.
    pub epoch: u32,
    /// When it was asked first.
    #[cfg_attr(feature = "schemas", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// The message that asked.
    pub id: Uuid,
    /// Why.
    pub reason: Option<String>,
}

/// The first start of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct Started {
    /// The run.
    pub epoch: u32,
    /// When.
    #[cfg_attr(feature = "schemas", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// Progress that came beside the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// The job.
    pub job: JobId,
    /// The run.
    pub epoch: u32,
    /// The try inside the run.
    pub attempt: u32,
    /// The command that the worker was on.
    pub seq: u32,
    /// Counts inside that command, from 1.
    pub number: u32,
    /// How far the job is.
    pub progress: Progress,
}

impl Tick {
    /// Returns the one number that orders the ticks of an attempt.
    pub fn order(&self) -> u64 {
        u64::from(self.seq) << 32 | u64::from(self.number)
    }
}

impl Record {
    /// Returns the state, if a message has decided one.
    pub fn state(&self) -> Option<JobState> {
        self.winner.as_ref().map(|w| w.state)
    }

    /// Says whether the job has ended.
    pub fn is_terminal(&self) -> bool {
        self.state().is_some_and(JobState::is_terminal)
    }

    /// Returns the project that owns the job; `None` when nothing readable said so.
    pub fn project(&self) -> Option<&str> {
        self.spec.as_ref().map(|s| s.spec.auth.project_id.as_str())
    }

    /// Returns the wish to cancel this very run.
    pub fn cancel_requested(&self) -> Option<&Cancel> {
        let epoch = self.winner.as_ref()?.epoch;
        self.cancel.as_ref().filter(|c| c.epoch == epoch)
    }

    /// Says whether the broker is known to have the job's command, or a worker had it.
    pub fn is_accepted(&self) -> bool {
        let Some(winner) = &self.winner else {
            return false;
        };
        self.confirmed == Some(winner.epoch)
            || winner.state.is_terminal()
            || self
                .started
                .as_ref()
                .is_some_and(|s| s.epoch == winner.epoch)
            || !winner.event_type.is_submission()
    }

    /// Returns when the job ended. RabbitMQ 3 does not say in the log when it gave a command up; such an end is
    /// not before the start.
    pub fn finished_at(&self) -> Option<Timestamp> {
        let winner = self.winner.as_ref().filter(|w| w.state.is_terminal())?;
        let started = self.started.as_ref();
        let started = started.filter(|started| started.epoch == winner.epoch);
        Some(started.map_or(winner.time, |started| started.at.max(winner.time)))
    }

    /// Says whether a worker may have entered the job in its current epoch. A view that was rebuilt
    /// from a log that has dropped the `started` knows it by what came after.
    pub fn may_have_begun(&self) -> bool {
        let Some(winner) = &self.winner else {
            return false;
        };
        let started = self.started.as_ref();
        let untouched = (winner.state, winner.attempt, winner.seq) == (JobState::Queued, 1, 0);
        !untouched || started.is_some_and(|s| s.epoch == winner.epoch)
    }

    /// Returns when something is to be done about a live job that nobody speaks of: it is to be
    /// started, or to end.
    pub fn next_limit(&self) -> Option<Timestamp> {
        let spec = &self.spec.as_ref()?.spec;
        let start_by = spec.start_by.filter(|_| !self.may_have_begun());
        Some(start_by.map_or(spec.deadline, |at| at.min(spec.deadline)))
    }

    /// Returns the validator of RFC 9110, section 8.8.3, without quotes: the winner's id and the
    /// number of the newest tick. One that is forgotten earlier is shown otherwise than before.
    pub fn etag(&self) -> Option<String> {
        let winner = self.winner.as_ref()?;
        let cancel = u8::from(self.cancel_requested().is_some());
        let tick = self.live_tick().map_or(0, Tick::order);
        let shortened = self.shortened.map(|at| format!(".{}", at.as_millisecond()));
        let shortened = shortened.unwrap_or_default();
        Some(format!("{}.{tick}.{cancel}{shortened}", winner.id))
    }

    /// Returns the tick, if it belongs to what the winner says.
    pub fn live_tick(&self) -> Option<&Tick> {
        let winner = self.winner.as_ref()?;
        self.tick.as_ref().filter(|tick| {
            !winner.state.is_terminal()
                && (tick.epoch, tick.attempt) == (winner.epoch, winner.attempt)
                && tick.seq >= winner.seq
        })
    }

    /// Returns the newest progress of the current run.
    pub fn progress(&self) -> Option<&Progress> {
        self.live_tick()
            .map(|tick| &tick.progress)
            .or_else(|| self.winner.as_ref()?.body.progress.as_ref())
    }

    /// Says whether somebody is told of the job's end.
    pub fn has_callback(&self) -> bool {
        self.spec
            .as_ref()
            .is_some_and(|s| s.spec.callback.is_some())
    }

    /// Returns the callback of a job that has not ended: there is nothing to tell yet. That of an
    /// ended job stands in the record of the job that delivers it.
    pub fn callback_to_come(&self) -> Option<CallbackStatus> {
        let callback = self.spec.as_ref()?.spec.callback.as_ref()?;
        (!self.is_terminal()).then(|| CallbackStatus {
            state: CallbackState::Pending,
            url: callback.url.clone(),
            attempts: 0,
            last_status: None,
            next_attempt_at: None,
        })
    }

    /// Returns the job as a client sees it; `None` while nothing readable has described it.
    pub fn to_job(&self) -> Option<Job> {
        let winner = self.winner.as_ref()?;
        let spec = &self.spec.as_ref()?.spec;
        let path = format!("/v1/jobs/{}", spec.id);
        Some(Job {
            id: spec.id,
            kind: spec.kind.clone(),
            state: winner.state,
            terminal: winner.state.is_terminal(),
            project_id: spec.auth.project_id.clone(),
            owner: Owner {
                user_id: spec.auth.user_id.clone(),
                user_name: spec.auth.user_name.clone(),
            },
            input: spec.input.clone(),
            output: winner.body.output.clone(),
            error: winner.body.error.clone(),
            progress: self.progress().cloned(),
            attempt: winner.attempt,
            max_attempts: spec.max_attempts,
            epoch: winner.epoch,
            labels: spec.labels.clone(),
            created_at: spec.created_at,
            started_at: self
                .started
                .as_ref()
                .filter(|s| s.epoch == winner.epoch)
                .map(|s| s.at),
            finished_at: self.finished_at(),
            run_at: spec.run_at,
            start_by: spec.start_by,
            attempt_timeout_seconds: spec.attempt_timeout,
            stall_after_seconds: spec.stall_after,
            next_attempt_at: winner
                .body
                .not_before
                .filter(|_| winner.state == JobState::Retrying),
            deadline: spec.deadline,
            expires_at: self.shortened.unwrap_or(winner.expires),
            cancel_requested_at: self.cancel_requested().map(|c| c.at),
            request_id: spec.auth.request_id.clone(),
            callback: self.callback_to_come(),
            parent_id: spec.parent_id,
            root_id: spec.root_id,
            step: spec.step.clone(),
            children: u32::try_from(winner.body.children.len())
                .ok()
                .filter(|n| *n > 0),
            compensation: winner.body.compensation,
            in_line: winner.body.in_line.then(|| InLine {
                keys: spec
                    .unique
                    .iter()
                    .map(|unique| unique.key.clone())
                    .collect(),
                ahead: None,
            }),
            links: JobLinks {
                events: format!("{path}/events"),
                cancel: format!("{path}/cancel"),
                this: path,
            },
        })
    }
}

/// One message in a job's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Its place in the log.
    pub offset: u64,
    /// The message as a client sees it.
    pub event: JobEvent,
}

/// How many of a job's first messages are kept.
pub const HISTORY_HEAD: usize = 20;
/// How many of a job's last messages are kept.
pub const HISTORY_TAIL: usize = 60;
/// How many terminal messages between the first and the last are kept besides.
pub const HISTORY_TERMINAL: usize = 16;
