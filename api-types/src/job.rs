//! The job as a client sees it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Callback, CallbackStatus, JobId, Kind};

/// Where a job stands. It only moves forward; the last three are final.
///
/// ```text
/// queued --> running <--> retrying
///    |        |   ^
///    |        v   |
///    |       waiting (for its children)
///    +--------+--> succeeded | failed | cancelled
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Accepted; no worker has started it.
    Queued,
    /// A worker is on it, or its next slice waits for one.
    Running,
    /// Waits for the jobs that it asked for.
    Waiting,
    /// An attempt failed; the next one is scheduled.
    Retrying,
    /// Ended with an output.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Retrying,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Says whether the state is final.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Returns the word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no job state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a state is one of queued, running, waiting, retrying, succeeded, failed, cancelled")]
pub struct ParseStateError;

impl FromStr for JobState {
    type Err = ParseStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(ParseStateError)
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Job {
    /// Identifies the job.
    pub id: JobId,
    /// What it does.
    pub kind: Kind,
    /// Where it stands.
    pub state: JobState,
    /// Whether `state` is final.
    pub terminal: bool,
    /// The Keystone project that owns it.
    pub project_id: String,
    /// Who asked for it.
    pub owner: Owner,
    /// What was asked, as the kind's input schema describes it.
    pub input: Value,
    /// What came out, once it succeeded.
    pub output: Option<Value>,
    /// Why it failed or was retried last.
    pub error: Option<JobError>,
    /// The newest progress that a worker reported.
    pub progress: Option<Progress>,
    /// The try inside this run, from 1.
    pub attempt: u32,
    /// How many tries it gets.
    pub max_attempts: u32,
    /// The run, from 0; a user's retry opens the next one.
    pub epoch: u32,
    /// Free pairs given by the caller.
    pub labels: BTreeMap<String, String>,
    /// When the command was accepted.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When a worker first started it in this run.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub started_at: Option<Timestamp>,
    /// When it reached its final state.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub finished_at: Option<Timestamp>,
    /// When it is due, if it was scheduled: `queued` until then.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub run_at: Option<Timestamp>,
    /// When it fails, with error type `start-deadline`, unless a worker has started it before.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub start_by: Option<Timestamp>,
    /// Seconds that one attempt may take.
    #[serde(default)]
    pub attempt_timeout_seconds: Option<u64>,
    /// Seconds without a sign of life after which an attempt is stopped and tried again.
    #[serde(default)]
    pub stall_after_seconds: Option<u64>,
    /// When the next attempt is due, while `retrying`.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub next_attempt_at: Option<Timestamp>,
    /// When it ends at the latest.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub deadline: Timestamp,
    /// When this record is forgotten.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
    /// When somebody asked to cancel it.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub cancel_requested_at: Option<Timestamp>,
    /// The HTTP request that submitted it.
    pub request_id: Option<String>,
    /// How its callback stands. Absent without one, and in lists and streams once the job has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<CallbackStatus>,
    /// The job that asked for this one; absent when a client did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<JobId>,
    /// The job at the root of the tree that this one belongs to; absent for the root itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_id: Option<JobId>,
    /// What the parent calls this job, such as the name of a flow's step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// How many jobs this one has asked for; absent when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children: Option<u32>,
    /// Whether the steps of a flow that failed are undone; absent while nothing has to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Compensation>,
    /// Where it waits for its turn; absent when it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_line: Option<InLine>,
    /// Where to go from here.
    pub links: JobLinks,
}

/// Where a job waits for its turn, which it asked for with `"on_conflict": "queue"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InLine {
    /// The unique keys at which it waits.
    pub keys: Vec<String>,
    /// How many other jobs must end before. Only in the answer about one job, and absent there while that is
    /// not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u32>,
}

/// How far a flow that failed is with undoing its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Compensation {
    /// Steps are being undone.
    Running,
    /// All that was done is undone.
    Done,
    /// A step cannot be undone, for a long time already. It is still tried while the job lives; a
    /// person should look.
    Stuck,
}

impl Compensation {
    /// Returns the word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stuck => "stuck",
        }
    }
}

/// Who asked for a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Owner {
    /// Keystone's user id.
    pub user_id: String,
    /// Keystone's user name.
    pub user_name: String,
}

/// Paths of one job's resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobLinks {
    /// The job itself.
    #[serde(rename = "self")]
    pub this: String,
    /// Its history.
    pub events: String,
    /// Where a `POST` asks to cancel it.
    pub cancel: String,
}

/// Why a job failed, in the words of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobError {
    /// A stable word: `deadline`, `start-deadline`, `attempt-timeout`, `stalled`, `panic`,
    /// `outcome-unknown`, `delivery-limit`, `malformed`, or one of the kind's own.
    #[serde(rename = "type")]
    pub error_type: String,
    /// One line for people.
    pub title: String,
    /// More, when there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether the same request might succeed later.
    pub retryable: bool,
    /// The attempt that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The worker that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

impl JobError {
    /// Says that no worker has started the job by the instant that it was given for that.
    pub fn start_deadline() -> Self {
        Self {
            error_type: "start-deadline".to_owned(),
            title: "no worker started the job in time".to_owned(),
            detail: Some(
                "nothing was done; ask again, with more time to start or with more workers"
                    .to_owned(),
            ),
            retryable: true,
            attempt: Some(1),
            worker: None,
        }
    }
}

/// How far a running job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// The name of the step that runs: `boot`.
    pub step: String,
    /// The number of the step, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_number: Option<u32>,
    /// How many steps there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the worker said so.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// `POST /v1/jobs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(examples(json!({
        "kind": "vm.create",
        "input": {
            "app_env": "DEV", "app_trigram": "vmc", "vm_desc": "A first machine",
            "vm_hostname": "lxdemo1", "vm_profile": "Micro", "vm_region": "GreaterParis"
        },
        "labels": {"team": "demo"},
        "deadline": "PT2H"
    })))
)]
pub struct SubmitRequest {
    /// What to do.
    pub kind: Kind,
    /// With what; the kind's input schema says what is allowed.
    pub input: Value,
    /// Free pairs, at most 32, keys of at most 63 and values of at most 255 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How long the job may take in all, as an ISO 8601 duration (`PT2H`) or `90s`, `2h`, or an
    /// instant of RFC 3339. The kind's default when absent; at most 8 days. A duration counts from
    /// `run_at`, if that is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Whom to tell of the job's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    /// When it may start: an instant, or a duration from now; at most 7 days. What has passed is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<String>,
    /// When a worker must have started it, else it fails with `start-deadline`: as `deadline`, and
    /// not after that. The kind's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by: Option<String>,
    /// How long one attempt may take: a duration of whole seconds. Where the kind has a limit, at
    /// most that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<String>,
    /// How often it is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryRequest>,
    /// A name that no other live job of the project may have meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<UniqueRequest>,
}

impl SubmitRequest {
    /// Makes a request with nothing that may be left out.
    pub fn new(kind: Kind, input: Value) -> Self {
        Self {
            kind,
            input,
            labels: BTreeMap::new(),
            deadline: None,
            callback: None,
            run_at: None,
            start_by: None,
            attempt_timeout: None,
            retry: None,
            unique: None,
        }
    }
}

/// How often a job is tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetryRequest {
    /// How many attempts it gets: 1 to the kind's `max_attempts_limit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
}

/// A name that one live job of a project may have at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UniqueRequest {
    /// The name: 1 to 255 characters, no control characters. Kinds use the same name space: a job of
    /// `vm.create` holds `vm:<host name in small letters>`.
    pub key: String,
    /// How long the job has it: `active`, until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What to do when another job has it: `reject` (the default), 409 with the job's id; `return`, that
    /// job; or `queue`, the job is accepted and runs when those before it have ended, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_conflict: Option<String>,
}

/// `POST /v1/jobs/{id}/cancel`; the whole body may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(examples(json!({"reason": "not needed any more"})))
)]
pub struct CancelRequest {
    /// Why, for the history; at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /v1/jobs`, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobList {
    /// One page.
    pub items: Vec<Job>,
    /// Where the next page starts; absent on the last one.
    pub next_cursor: Option<String>,
    /// True while the view is being rebuilt, when jobs may be missing from the list.
    pub incomplete: bool,
}

/// One fact of a job's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobEvent {
    /// Identifies the event, the same after a rebuild of the view.
    pub id: String,
    /// What happened: `submitted`, `started`, `continued`, `retry`, `cancel_requested`,
    /// `succeeded`, `failed`, `cancelled`, `deadline`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub time: Timestamp,
    /// The state that it announced.
    pub state: JobState,
    /// The run.
    pub epoch: u32,
    /// The try inside the run.
    pub attempt: u32,
    /// Orders messages inside one attempt.
    pub seq: u32,
    /// Progress, if it carried any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Output, if it carried any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Error, if it carried any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// The worker that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

/// `GET /v1/jobs/{id}/events`, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobEventList {
    /// One page.
    pub items: Vec<JobEvent>,
    /// The id to give as `after` for the next page; absent on the last one.
    pub next_after: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_one_word_each() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(
                serde_json::to_value(state).unwrap(),
                Value::from(state.as_str())
            );
        }
        assert_eq!("INPROGRESS".parse::<JobState>(), Err(ParseStateError));
        assert_eq!(
            JobState::ALL
                .into_iter()
                .filter(|s| s.is_terminal())
                .count(),
            3
        );
    }
}
