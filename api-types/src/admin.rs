//! What those who run the service ask: jobs that failed for good, and running them again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobError, JobId, Kind, Problem};

/// A job that has failed for good: its worker said so, or the broker gave its command up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadJob {
    /// The job.
    pub id: JobId,
    /// What it was to do; absent when nothing that can be read has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The project that it belongs to; absent as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// The run that failed.
    pub epoch: u32,
    /// The try that failed last.
    pub attempt: u32,
    /// When it failed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub died_at: Timestamp,
    /// Until when it is known, and can be replayed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// Whether it can be replayed; not when its command cannot be read, or its kind is not known any more.
    pub replayable: bool,
}

/// One page of dead jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadList {
    /// The jobs.
    pub items: Vec<DeadJob>,
    /// Where the next page starts; absent or null at the end.
    #[serde(default)]
    pub next_cursor: Option<String>,
    /// Whether jobs may be missing, because the view is being rebuilt.
    #[serde(default)]
    pub incomplete: bool,
}

/// Which dead jobs to run again: these, or those for which everything given holds. Something must be
/// given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// These jobs, at most 100; nothing else may be given with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<JobId>,
    /// Jobs of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Jobs whose error is of this type, as in `error.type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Jobs of this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// At most so many, 1 to 100; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What became of each job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReplayResult {
    /// The jobs, in the order asked, or newest first.
    pub items: Vec<Replayed>,
    /// Whether more jobs may match than were looked at: ask again.
    #[serde(default)]
    pub more: bool,
}

/// What became of one job: `epoch` when it runs again, else `problem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Replayed {
    /// The job.
    pub id: JobId,
    /// The run that was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Why it does not run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// A queue of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub state: QueueState,
    /// Messages that wait to be delivered; absent unless it is there. Of a stream this is whatever the
    /// broker says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<u64>,
    /// Who takes from it; absent unless it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<u32>,
    /// Messages that it holds at most; absent when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
}

/// Whether a queue is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum QueueState {
    /// It is there.
    Present,
    /// The broker does not have it.
    Missing,
    /// The broker did not say, in time or at all.
    Unknown,
}

impl QueueState {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

/// Every queue that the server knows, in the order of the topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueList {
    /// The queues.
    pub items: Vec<QueueInfo>,
}
