//! Machines that exist, as a worker sees them at its provisioner.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::JobId;

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Machine {
    /// The job that made it: its identity.
    pub job_id: JobId,
    /// Host name.
    pub vm_hostname: String,
    /// How far it is.
    pub state: MachineState,
    /// The phase that it is in, while it is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Its profile.
    pub vm_profile: String,
    /// Its region.
    pub vm_region: String,
    /// Application environment.
    pub app_env: String,
    /// Application trigram.
    pub app_trigram: String,
    /// Description.
    pub vm_desc: String,
    /// Its addresses; none before it is ready.
    pub addresses: Vec<String>,
    /// When it began to exist.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

/// How far a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum MachineState {
    /// It exists in part; its job goes on, or has failed and left it.
    Building,
    /// It can be used.
    Ready,
}

impl MachineState {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Ready => "ready",
        }
    }
}

/// One page of a project's machines, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MachineList {
    /// The machines.
    pub items: Vec<Machine>,
    /// The `cursor` of the next page; `null` at the end.
    pub next_cursor: Option<String>,
}
