//! Kinds, profiles and regions: what may be asked for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Kind;

/// One kind of job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KindInfo {
    /// Its name.
    pub kind: Kind,
    /// One line for people.
    pub summary: String,
    /// JSON Schema (2020-12) of the input.
    pub input_schema: Value,
    /// JSON Schema (2020-12) of the output.
    pub output_schema: Value,
    /// Role needed to submit it.
    pub required_role: String,
    /// How many attempts it gets.
    pub max_attempts: u32,
    /// Seconds from submission after which it ends, unless the request says otherwise.
    pub deadline_seconds: u64,
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
