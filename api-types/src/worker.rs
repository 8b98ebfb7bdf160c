//! What workers say of themselves, and what a server has heard of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, Kind};

/// What a worker says of itself: every ten seconds, and when it changes what it consumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Presence {
    /// Its name, different in every process; at most 128 bytes.
    pub name: String,
    /// The program, at most 64 bytes.
    pub app: String,
    /// The program's version, at most 64 bytes.
    pub version: String,
    /// The language that it is written in, at most 64 bytes.
    pub language: String,
    /// When the process began to work.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub started_at: Timestamp,
    /// Whether it takes work.
    pub state: WorkerState,
    /// What it serves; at most 64 are told.
    pub kinds: Vec<ServedKind>,
    /// Jobs whose handler runs in it, the oldest first; at most 20 are told.
    #[serde(default)]
    pub jobs: Vec<JobInHand>,
}

/// Whether a worker takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// It takes work, of the kinds that it consumes.
    Working,
    /// It takes nothing new and lets end what runs.
    Draining,
    /// This is its last word.
    Ended,
}

impl WorkerState {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Draining => "draining",
            Self::Ended => "ended",
        }
    }
}

/// One kind that a worker serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServedKind {
    /// The kind.
    pub kind: Kind,
    /// How many slices of it the worker runs at once.
    pub slots: u32,
    /// How many of them it has in hand.
    pub in_hand: u32,
    /// Whether the broker gives it commands now: its consumer is there.
    pub consuming: bool,
}

/// One job that runs in a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobInHand {
    /// The job.
    pub id: JobId,
    /// What it does.
    pub kind: Kind,
    /// The project that it belongs to, at most 64 bytes.
    pub project_id: String,
    /// The try inside the run, from 1.
    pub attempt: u32,
    /// When this slice of it began.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// When its handler last gave a sign of life.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub heard_at: Timestamp,
}

/// A worker as a server has heard of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerInfo {
    /// What it said last. Of the jobs, those that the caller may see.
    #[serde(flatten)]
    pub presence: Presence,
    /// When it said so, by the server's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub heard_at: Timestamp,
}

/// `GET /v1/admin/workers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerList {
    /// The workers that were heard of in the last 30 seconds, by name.
    pub items: Vec<WorkerInfo>,
    /// Since when this server hears workers; absent while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<Timestamp>,
    /// Whether every worker that speaks is here: not in the first 30 seconds after `since`, and not while
    /// there are more than a server remembers.
    pub complete: bool,
}
