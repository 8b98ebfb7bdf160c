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
