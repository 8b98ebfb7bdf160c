//! Kinds, profiles and regions: what may be asked for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Kind;

/// How a kind is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum KindMode {
    /// By a job: `POST /v1/jobs`.
    #[default]
    Async,
    /// At once: `/v1/sync/{name}`.
    Sync,
}

/// One kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KindInfo {
    /// Its name.
    pub kind: Kind,
    /// One line for people.
    pub summary: String,
    /// How it is answered.
    #[serde(default)]
    pub mode: KindMode,
    /// The methods that a synchronous kind allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// JSON Schema (2020-12) of the input.
    pub input_schema: Value,
    /// JSON Schema (2020-12) of the output.
    pub output_schema: Value,
    /// Role needed to submit it.
    pub required_role: String,
    /// How many attempts it gets.
    pub max_attempts: u32,
    /// Seconds from submission, or from `run_at`, after which it ends, unless the request says
    /// otherwise; for a synchronous kind, seconds until its answer.
    pub deadline_seconds: u64,
    /// Seconds from the same instant within which a worker must start it; absent: no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by_seconds: Option<u64>,
    /// Seconds that one attempt may take; absent: until the deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_timeout_seconds: Option<u64>,
    /// Seconds without a sign of life after which an attempt is stopped and tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_after_seconds: Option<u64>,
    /// What is done when an attempt has failed.
    #[serde(default)]
    pub retry: RetryInfo,
    /// What waits for its workers, as the server saw it in the last seconds; absent in lists, for a
    /// synchronous kind, and while the server has not seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<KindQueue>,
}

/// The work queue of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KindQueue {
    /// Commands that wait, of all projects; not those that a worker has, nor those for later.
    pub depth: u64,
    /// Workers that take from it.
    pub consumers: u32,
}

/// What is done when an attempt of a kind has failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetryInfo {
    /// How many attempts a job gets, unless the request says otherwise.
    pub max_attempts: u32,
    /// How many attempts a request may ask for at most.
    pub max_attempts_limit: u32,
    /// Least seconds to wait before attempt 2, 3, …; the last one repeats.
    pub backoff_seconds: Vec<f64>,
    /// The longest jitter, as a share of the wait that it is added to: 0 to 1.
    pub jitter: f64,
    /// What is done otherwise for some errors; the first one that matches decides.
    pub on: Vec<RetryRuleInfo>,
}

/// What is done when an attempt has failed with certain errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetryRuleInfo {
    /// The error type, or its beginning and `*`.
    pub error: String,
    /// The job fails at once.
    pub never: bool,
    /// The job fails after so many attempts, if it has not had all of its own before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Least seconds to wait before attempt 2, 3, …; empty: as for other errors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backoff_seconds: Vec<f64>,
}

/// `GET /v1/kinds`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KindList {
    /// All kinds, by name.
    pub items: Vec<KindInfo>,
}

/// A size of machine (OpenStack calls it a flavor).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Profile {
    /// Its name: `Micro`.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub ram_mib: u64,
    /// Disk in GiB.
    pub disk_gib: u64,
}

/// `GET /v1/profiles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProfileList {
    /// All profiles, smallest first.
    pub items: Vec<Profile>,
}

/// A place where machines can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Region {
    /// Its name: `GreaterParis`.
    pub name: String,
}

/// `GET /v1/regions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegionList {
    /// All regions; the first one is the client's default.
    pub items: Vec<Region>,
}
