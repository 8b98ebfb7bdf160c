//! The single settings, as the variables and the files name them, and how one set is laid over
//! another.

use serde::Deserialize;

use super::Sources;

/// Settings by the names of `clouds.yaml`'s `auth` section; the last three stand beside it there.
///
/// It holds secrets as plain text on their way from the parser, so it is never printed.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) auth_url: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) username: Option<String>,
    pub(super) user_domain_id: Option<String>,
    pub(super) user_domain_name: Option<String>,
    pub(super) password: Option<String>,
    pub(super) passcode: Option<String>,
    #[serde(alias = "tenant_id")]
    pub(super) project_id: Option<String>,
    #[serde(alias = "tenant_name")]
    pub(super) project_name: Option<String>,
    pub(super) project_domain_id: Option<String>,
    pub(super) project_domain_name: Option<String>,
    pub(super) domain_id: Option<String>,
    pub(super) domain_name: Option<String>,
    pub(super) system_scope: Option<String>,
    pub(super) token: Option<String>,
    pub(super) application_credential_id: Option<String>,
    pub(super) application_credential_name: Option<String>,
    pub(super) application_credential_secret: Option<String>,
    #[serde(skip)]
    pub(super) auth_type: Option<String>,
    #[serde(skip)]
    pub(super) cacert: Option<String>,
    #[serde(skip)]
    pub(super) region_name: Option<String>,
}

impl Settings {
    pub(super) fn from_variables(sources: &Sources<'_>) -> Self {
        let get = |name: &str| sources.get(name);
        Self {
            auth_url: get("OS_AUTH_URL"),
            user_id: get("OS_USER_ID"),
            username: get("OS_USERNAME"),
            user_domain_id: get("OS_USER_DOMAIN_ID"),
            user_domain_name: get("OS_USER_DOMAIN_NAME"),
            password: get("OS_PASSWORD"),
            passcode: get("OS_PASSCODE"),
            project_id: get("OS_PROJECT_ID").or_else(|| get("OS_TENANT_ID")),
            project_name: get("OS_PROJECT_NAME").or_else(|| get("OS_TENANT_NAME")),
            project_domain_id: get("OS_PROJECT_DOMAIN_ID"),
            project_domain_name: get("OS_PROJECT_DOMAIN_NAME"),
            domain_id: get("OS_DOMAIN_ID"),
            domain_name: get("OS_DOMAIN_NAME"),
            system_scope: get("OS_SYSTEM_SCOPE"),
            token: get("OS_TOKEN"),
            application_credential_id: get("OS_APPLICATION_CREDENTIAL_ID"),
            application_credential_name: get("OS_APPLICATION_CREDENTIAL_NAME"),
            application_credential_secret: get("OS_APPLICATION_CREDENTIAL_SECRET"),
            auth_type: get("OS_AUTH_TYPE"),
            cacert: get("OS_CACERT"),
            region_name: get("OS_REGION_NAME"),
        }
    }

    /// These settings, and those of `base` for the groups that these say nothing about.
    ///
    /// Settings that answer one question form a group: who, in which domain, for what. A setting of
    /// one source never completes a group of the other.
    pub(super) fn over(self, base: Self) -> Self {
        let [user_id, username] =
            group([self.user_id, self.username], [base.user_id, base.username]);
        let [user_domain_id, user_domain_name] = group(
            [self.user_domain_id, self.user_domain_name],
            [base.user_domain_id, base.user_domain_name],
        );
        let [project_domain_id, project_domain_name] = group(
            [self.project_domain_id, self.project_domain_name],
            [base.project_domain_id, base.project_domain_name],
        );
        let [
            project_id,
            project_name,
            domain_id,
            domain_name,
            system_scope,
        ] = group(
            [
                self.project_id,
                self.project_name,
                self.domain_id,
                self.domain_name,
                self.system_scope,
            ],
            [
                base.project_id,
                base.project_name,
                base.domain_id,
                base.domain_name,
                base.system_scope,
            ],
        );
        let [application_credential_id, application_credential_name] = group(
            [
                self.application_credential_id,
                self.application_credential_name,
            ],
            [
                base.application_credential_id,
                base.application_credential_name,
            ],
        );
        Self {
            auth_url: self.auth_url.or(base.auth_url),
            user_id,
            username,
            user_domain_id,
            user_domain_name,
            password: self.password.or(base.password),
            passcode: self.passcode.or(base.passcode),
            project_id,
            project_name,
            project_domain_id,
            project_domain_name,
            domain_id,
            domain_name,
            system_scope,
            token: self.token.or(base.token),
            application_credential_id,
            application_credential_name,
            application_credential_secret: self
                .application_credential_secret
                .or(base.application_credential_secret),
            auth_type: self.auth_type.or(base.auth_type),
            cacert: self.cacert.or(base.cacert),
            region_name: self.region_name.or(base.region_name),
        }
    }
}

fn group<const N: usize>(
    over: [Option<String>; N],
    base: [Option<String>; N],
) -> [Option<String>; N] {
    if over.iter().any(Option::is_some) {
        over
    } else {
        base
    }
}
