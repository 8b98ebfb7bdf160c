//! What a project may use, and what it uses.

use serde::{Deserialize, Serialize};

/// `GET /v1/quota`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Quota {
    /// The project.
    pub project_id: String,
    /// Submissions in a time; `None` when they are not limited.
    pub submit: Option<SubmitQuota>,
    /// Jobs that have not ended.
    pub active_jobs: ActiveJobs,
    /// Whether the view is being rebuilt, so that `active_jobs.used` may be too low.
    pub incomplete: bool,
}

/// How many submissions a project has in how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubmitQuota {
    /// How many may come at once.
    pub quota: u32,
    /// After how many seconds so many may come again.
    pub window_seconds: u64,
    /// How many may come now.
    pub remaining: u64,
}

/// How many jobs of a project may be active at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActiveJobs {
    /// How many may be; `None` when they are not limited.
    pub quota: Option<u64>,
    /// How many are.
    pub used: u64,
}
