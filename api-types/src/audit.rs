//! Who asked the server to change something, and what came of it.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{JobId, Kind};

/// One request that would change something. It holds no input, no token and no other secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Audit {
    /// What was asked: `submit`, `cancel`, `retry`, `login`, `sync`, or the words of the route.
    pub what: String,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// The HTTP status of the answer; none when nobody was there to take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The problem type of the answer, when it was refused: `/problems/forbidden`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Who asked; none when that could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<AuditWho>,
    /// Method and route, with names in braces: `POST /v1/jobs/{id}/cancel`.
    pub route: String,
    /// The job, as far as there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// Its kind, or the synchronous kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub from: Option<IpAddr>,
    /// The request in the server's log.
    pub request_id: String,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// It was done, or will be.
    Accepted,
    /// Nothing was changed.
    Refused,
    /// It may or may not have been done: the broker or the upstream did not say, or the client left.
    Unknown,
}

impl AuditOutcome {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditWho {
    /// User id.
    pub user_id: String,
    /// User name.
    pub user_name: String,
    /// The project of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// Roles there.
    pub roles: Vec<String>,
    /// How the token was had, in Keystone's words: `password`, `application_credential`, `totp`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
}

/// An audited request as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Identifies the entry.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
    pub id: Uuid,
    /// When the answer was known, by the server's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub time: Timestamp,
    /// The server: `/server/<name>`.
    pub source: String,
    /// The rest.
    pub data: Audit,
}

/// `GET /v1/admin/audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditList {
    /// Entries, newest first.
    pub items: Vec<AuditEntry>,
    /// Older entries were not seen by this server: they are in the log only.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<Timestamp>,
}
