//! What the user has said about their cloud: `OS_*` variables, and an entry of `clouds.yaml` with
//! the secrets of `secure.yaml` laid over it.
//!
//! Variables win over the file, group by group: `OS_USER_ID` replaces the file's `username` too. An
//! address is the exception: if both give one and they differ, that is an error, because the
//! credentials of one cloud must not be sent to another.
//!
//! A `clouds.yaml` is read only for a cloud that is named. The one in the working directory may be a
//! stranger's; [`Cloud::files`] says what was read, so that a caller can show it.

mod fields;
mod files;

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use url::Url;

use crate::login::{DomainRef, Login, Method, ProjectRef, Scope, UserRef};
use crate::token::Token;
use fields::Settings;

/// Where to look. The process's own environment is not read by this crate.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The value of an environment variable; one that is empty counts as not set.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The working directory, if its `clouds.yaml` may be used.
    pub working_directory: Option<&'a Path>,
    /// The system's directory, `/etc/openstack`.
    pub system_directory: &'a Path,
}

/// A cloud and a credential, as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct Cloud {
    /// The name in `clouds.yaml`, if one was used.
    pub name: Option<String>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// Keystone's address.
    pub auth_url: Option<String>,
    /// How to log in, if it is said: `password`, `v3applicationcredential`, ….
    pub auth_type: Option<String>,
    /// Who logs in.
    pub user: Option<UserRef>,
    /// Their password.
    pub password: Option<SecretString>,
    /// Their one-time code.
    pub passcode: Option<SecretString>,
    /// What the token is to be good for.
    pub scope: Scope,
    /// A token to log in with.
    pub token: Option<SecretString>,
    /// An application credential's id.
    pub application_credential_id: Option<String>,
    /// An application credential's name.
    pub application_credential_name: Option<String>,
    /// An application credential's secret.
    pub application_credential_secret: Option<SecretString>,
    /// A file of certificates to trust.
    pub ca_file: Option<PathBuf>,
    /// The region.
    pub region: Option<String>,
}

/// Why the description of a cloud cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudError {
    /// A cloud is named, but there is no file that could describe it.
    #[error("no clouds.yaml found for cloud {0:?}")]
    NoFile(String),
    /// The file does not have that cloud.
    #[error("no cloud {name:?} in {}", file.display())]
    Unknown {
        /// The cloud.
        name: String,
        /// The file that was read.
        file: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file is not of the documented form. The parser's own words are left out: they may quote
    /// a password.
    #[error("{} is not a valid clouds file (line {line})", file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// Where; 0 if that is not known.
        line: u64,
    },
    /// `OS_AUTH_URL` and the file name different Keystones.
    #[error("OS_AUTH_URL differs from the auth_url of cloud {0:?}; unset one of them")]
    ConflictingAddress(String),
    /// Something that is needed is not given.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A setting has a value that cannot be used.
    #[error("{0} cannot be used: {1}")]
    Unusable(&'static str, String),
}

impl Cloud {
    /// Gathers what the variables and, for a named cloud, the files say.
    ///
    /// `name` is a cloud named on the command line; without it `OS_CLOUD` counts. If neither is
    /// given, only the variables are used.
    pub fn load(name: Option<&str>, sources: &Sources<'_>) -> Result<Self, CloudError> {
        let variables = Settings::from_variables(sources);
        let Some(name) = name.map(str::to_owned).or_else(|| sources.get("OS_CLOUD")) else {
            return Ok(variables.into_cloud());
        };
        let (entry, files) = files::entry(&name, sources)?;
        if differs(variables.auth_url.as_deref(), entry.auth_url.as_deref()) {
            return Err(CloudError::ConflictingAddress(name));
        }
        let cloud = variables.over(entry).into_cloud();
        Ok(Self {
            name: Some(name),
            files,
            ..cloud
        })
    }

    /// Keystone's address.
    pub fn url(&self) -> Result<Url, CloudError> {
        let text = self
            .auth_url
            .as_deref()
            .ok_or(CloudError::Missing("OS_AUTH_URL"))?;
        Url::parse(text).map_err(|error| CloudError::Unusable("auth_url", error.to_string()))
    }

    /// The login that is described. What is missing is named by its variable.
    pub fn login(&self) -> Result<Login, CloudError> {
        let methods = match self.kind()? {
            Kind::Password => self.password_methods()?,
            Kind::Totp => vec![self.totp()?],
            Kind::Token => vec![self.token_method()?],
            Kind::ApplicationCredential => vec![self.application_credential()?],
        };
        Ok(Login {
            methods,
            scope: self.scope.clone(),
            receipt: None,
        })
    }

    /// How to log in: what is said, else what is given.
    fn kind(&self) -> Result<Kind, CloudError> {
        let Some(said) = self.auth_type.as_deref() else {
            return Ok(self.inferred_kind());
        };
        match said.strip_prefix("v3").unwrap_or(said) {
            "password" | "multifactor" => Ok(Kind::Password),
            "totp" => Ok(Kind::Totp),
            "token" => Ok(Kind::Token),
            "applicationcredential" => Ok(Kind::ApplicationCredential),
            _ => Err(CloudError::Unusable(
                "auth_type",
                format!("{said:?} is not known"),
            )),
        }
    }

    fn inferred_kind(&self) -> Kind {
        if self.application_credential_secret.is_some() {
            Kind::ApplicationCredential
        } else if self.token.is_some() {
            Kind::Token
        } else {
            Kind::Password
        }
    }

    fn password_methods(&self) -> Result<Vec<Method>, CloudError> {
        let user = self.user()?;
        let password = self
            .password
            .clone()
            .ok_or(CloudError::Missing("OS_PASSWORD"))?;
        let mut methods = vec![Method::Password { user, password }];
        if self.passcode.is_some() {
            methods.push(self.totp()?);
        }
        Ok(methods)
    }

    fn totp(&self) -> Result<Method, CloudError> {
        let passcode = self
            .passcode
            .clone()
            .ok_or(CloudError::Missing("OS_PASSCODE"))?;
        Ok(Method::Totp {
            user: self.user()?,
            passcode,
        })
    }

    fn token_method(&self) -> Result<Method, CloudError> {
        let secret = self.token.as_ref().ok_or(CloudError::Missing("OS_TOKEN"))?;
        Token::parse(secrecy::ExposeSecret::expose_secret(secret))
            .map(Method::Token)
            .map_err(|error| CloudError::Unusable("OS_TOKEN", error.to_string()))
    }

    fn application_credential(&self) -> Result<Method, CloudError> {
        let secret = self
            .application_credential_secret
            .clone()
            .ok_or(CloudError::Missing("OS_APPLICATION_CREDENTIAL_SECRET"))?;
        if let Some(id) = self.application_credential_id.clone() {
            return Ok(Method::ApplicationCredential { id, secret });
        }
        let name = self
            .application_credential_name
            .clone()
            .ok_or(CloudError::Missing("OS_APPLICATION_CREDENTIAL_ID"))?;
        Ok(Method::NamedApplicationCredential {
            user: self.user()?,
            name,
            secret,
        })
    }

    fn user(&self) -> Result<UserRef, CloudError> {
        self.user.clone().ok_or(CloudError::Missing("OS_USERNAME"))
    }
}

enum Kind {
    Password,
    Totp,
    Token,
    ApplicationCredential,
}

impl Sources<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }
}

fn differs(one: Option<&str>, other: Option<&str>) -> bool {
    let same = |one: &str, other: &str| one.trim_end_matches('/') == other.trim_end_matches('/');
    matches!((one, other), (Some(one), Some(other)) if !same(one, other))
}

/// A domain by id or by name; `Default`, the domain that every Keystone has, if neither is said.
fn domain(id: Option<String>, name: Option<String>) -> DomainRef {
    match (id, name) {
        (Some(id), _) => DomainRef::Id(id),
        (None, Some(name)) => DomainRef::Name(name),
        (None, None) => DomainRef::Name("Default".into()),
    }
}

impl Settings {
    fn into_cloud(self) -> Cloud {
        Cloud {
            name: None,
            files: Vec::new(),
            user: self.user(),
            scope: self.scope(),
            auth_url: self.auth_url,
            auth_type: self.auth_type,
            password: self.password.map(SecretString::from),
            passcode: self.passcode.map(SecretString::from),
            token: self.token.map(SecretString::from),
            application_credential_id: self.application_credential_id,
            application_credential_name: self.application_credential_name,
            application_credential_secret: self
                .application_credential_secret
                .map(SecretString::from),
            ca_file: self.cacert.map(PathBuf::from),
            region: self.region_name,
        }
    }

    fn user(&self) -> Option<UserRef> {
        let by_id = self.user_id.clone().map(UserRef::Id);
        by_id.or_else(|| {
            let name = self.username.clone()?;
            let domain = domain(self.user_domain_id.clone(), self.user_domain_name.clone());
            Some(UserRef::Name { name, domain })
        })
    }

    fn scope(&self) -> Scope {
        if let Some(id) = self.project_id.clone() {
            Scope::Project(ProjectRef::Id(id))
        } else if let Some(name) = self.project_name.clone() {
            let domain = domain(
                self.project_domain_id.clone(),
                self.project_domain_name.clone(),
            );
            Scope::Project(ProjectRef::Name { name, domain })
        } else if self.domain_id.is_some() || self.domain_name.is_some() {
            Scope::Domain(domain(self.domain_id.clone(), self.domain_name.clone()))
        } else if self.system_scope.is_some() {
            Scope::System
        } else {
            Scope::UserDefault
        }
    }
}
