//! Being told of a job's end by a request to an address of the caller's.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobError, JobId, JobState};

/// Whom to tell of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Callback {
    /// Where the request goes: `https`, no user name or password, a public address.
    pub url: String,
    /// What is told. One word exists: `terminal`.
    #[serde(default = "terminal")]
    pub events: Vec<CallbackEvent>,
    /// Which of the operator's secrets signs it.
    #[serde(default = "default_secret")]
    pub secret_ref: String,
    /// Whether the request carries output and error too, as far as they fit into 20 KB.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
}

fn terminal() -> Vec<CallbackEvent> {
    vec![CallbackEvent::Terminal]
}

fn default_secret() -> String {
    "default".to_owned()
}

/// What a callback tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum CallbackEvent {
    /// The job has ended.
    Terminal,
}

/// Where a callback stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum CallbackState {
    /// There is nothing to tell yet.
    Pending,
    /// It is being told, or will be tried again.
    Delivering,
    /// The receiver has taken it.
    Delivered,
    /// It was given up.
    Failed,
}

impl CallbackState {
    /// Returns the word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivering => "delivering",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// The callback of a job, as the job shows it: that of its current run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CallbackStatus {
    /// Where it stands.
    pub state: CallbackState,
    /// Where the request goes.
    pub url: String,
    /// How often it was tried; 0 while there is nothing to tell.
    pub attempts: u32,
    /// The HTTP status of the newest answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub next_attempt_at: Option<Timestamp>,
}

/// One callback of one run of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CallbackDelivery {
    /// Identifies it: the id of the job that delivers it, and the `webhook-id` of its requests.
    pub id: JobId,
    /// The run of the job whose end it tells, from 0.
    pub epoch: u32,
    /// Where it stands.
    #[serde(flatten)]
    pub status: CallbackStatus,
    /// The state of the job that delivers it; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_state: Option<JobState>,
    /// Why the newest attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// When it was delivered or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub finished_at: Option<Timestamp>,
}

/// `GET /v1/jobs/{id}/callbacks`: one for each run, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CallbackList {
    /// All of them that are still kept, at most 16.
    pub items: Vec<CallbackDelivery>,
}
