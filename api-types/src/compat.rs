//! The compatibility view on `/v1/connect` and `/v1/vm`: field names and state words of the
//! original Flask service, unchanged on the wire.

use serde::{Deserialize, Serialize};

use crate::JobState;

/// `GET /v1/` as the original answers it, with discovery beside it (see [`crate::Discovery`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hello {
    /// Always `world`.
    pub hello: String,
}

/// `POST /v1/connect`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(examples(json!({"login": "joe", "password": "1234"})))
)]
pub struct ConnectRequest {
    /// User name.
    pub login: String,
    /// Password. Never stored, never logged.
    pub password: String,
    /// Project to scope the token to; the server's setting or the user's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Domain of the user and of the project; `Default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

impl std::fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("login", &self.login)
            .field("project", &self.project)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// `POST /v1/testtoken`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TestTokenRequest {
    /// The token to check. Never stored, never logged.
    pub token: String,
}

/// Answer of `/v1/connect` and `/v1/testtoken`, in the shape of Keystone v2.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessResponse {
    /// The only member.
    pub access: Access,
}

/// Token, user and an empty catalogue.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Access {
    /// The token.
    pub token: AccessToken,
    /// Whose it is.
    pub user: AccessUser,
    /// Always empty: the catalogue is Keystone's to serve.
    #[serde(rename = "serviceCatalog")]
    pub service_catalog: Vec<serde_json::Value>,
}

/// The token itself.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessToken {
    /// What goes into the header `X-TOKEN`.
    pub id: String,
    /// When it expires, RFC 3339.
    pub expires: String,
    /// When it was issued, RFC 3339.
    pub issued_at: Option<String>,
    /// The project it is scoped to.
    pub tenant: Option<AccessTenant>,
}

/// Keystone v2's word for a project.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessTenant {
    /// Project id.
    pub id: String,
    /// Project name.
    pub name: String,
}

/// Whose token it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessUser {
    /// User id.
    pub id: String,
    /// User name.
    pub name: String,
    /// Roles on the project.
    pub roles: Vec<AccessRole>,
}

/// One role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessRole {
    /// Role name.
    pub name: String,
}

/// `POST /v1/vm/`: what a VM is asked for. Also the input of kind `vm.create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(examples(json!({
        "app_env": "DEV", "app_trigram": "vmc", "vm_desc": "A first machine",
        "vm_hostname": "lxdemo1", "vm_profile": "Micro", "vm_region": "GreaterParis"
    })))
)]
pub struct VmRequest {
    /// Application environment: `DEV`, `HML` or `PRD`.
    pub app_env: String,
    /// Application trigram, 1 to 32 letters, digits, `_` or `-`.
    pub app_trigram: String,
    /// Description, at most 1024 characters.
    pub vm_desc: String,
    /// Host name: one RFC 1123 label of at most 63 characters that contains `lx`.
    pub vm_hostname: String,
    /// Profile, one of `GET /v1/profiles`.
    pub vm_profile: String,
    /// Region, one of `GET /v1/regions`.
    pub vm_region: String,
}

/// `DELETE /v1/vm/`. Also the input of kind `vm.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(examples(json!({"vm_hostname": "lxdemo1"})))
)]
pub struct VmDeleteRequest {
    /// Host name of the machine to delete.
    pub vm_hostname: String,
}

/// Answer of `POST` and `DELETE /v1/vm/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VmAccepted {
    /// Always `OK`.
    pub status: String,
    /// The job to follow.
    pub uuid: String,
}

/// Answer of `GET /v1/vm/{uuid}`: exactly these eight members, and `error` only when `FAILED`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VmView {
    /// As submitted.
    pub app_trigram: String,
    /// The job's id.
    pub uuid: String,
    /// As submitted.
    pub app_env: String,
    /// As submitted.
    pub vm_region: String,
    /// Where the job stands.
    pub state: CompatState,
    /// As submitted.
    pub vm_profile: String,
    /// As submitted.
    pub vm_desc: String,
    /// As submitted.
    pub vm_hostname: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<crate::JobError>,
}

/// The original's state words; `SUCCESSFULL` is spelled so on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum CompatState {
    /// Any state that is not final.
    InProgress,
    /// Succeeded.
    Successfull,
    /// Failed.
    Failed,
    /// Cancelled.
    Cancelled,
}

impl From<JobState> for CompatState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Queued | JobState::Running | JobState::Waiting | JobState::Retrying => {
                Self::InProgress
            }
            JobState::Succeeded => Self::Successfull,
            JobState::Failed => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_words_are_the_originals() {
        let words: Vec<_> = JobState::ALL
            .into_iter()
            .map(|s| serde_json::to_value(CompatState::from(s)).unwrap())
            .collect();
        assert_eq!(
            words,
            [
                "INPROGRESS",
                "INPROGRESS",
                "INPROGRESS",
                "INPROGRESS",
                "SUCCESSFULL",
                "FAILED",
                "CANCELLED"
            ]
        );
    }

    #[test]
    fn a_password_never_prints() {
        let request = ConnectRequest {
            login: "joe".into(),
            password: "hunter2".into(),
            project: None,
            domain: None,
        };
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
