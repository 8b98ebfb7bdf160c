//! The port `Identity` on Keystone v3.
//!
//! The server validates callers' tokens with a credential of its own. What must hold:
//!
//! - **Never blame the caller for our trouble.** Only Keystone's "no such token" makes a token
//!   invalid. Keystone down, slow or broken, and our own credential refused, are `Unavailable`.
//! - **A storm reaches Keystone as a trickle.** Answers are cached by the SHA-256 of the token, valid
//!   ones for at most 60 s and invalid ones for 5 s; callers with one token wait for one call; at
//!   most 32 calls run at once.
//! - **Every call is bounded**, with its re-authentication and its one repetition, by 5 s.

mod cache;
mod service;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::{sync::Semaphore, time::timeout};
use url::Url;
use vmctl_core::{
    clock::Clock,
    identity::{AuthContext, Identity, IdentityError, Login, Project, Token},
};
use vmctl_keystone::{
    Authenticated, Client, ConfigError, DomainRef, Error, Login as KeystoneLogin, Outcome,
    ProjectRef, Scope, Token as KeystoneToken, TokenInfo, UserRef,
};

pub use vmctl_keystone::Options;

use self::{
    cache::{Cached, TokenCache},
    service::ServiceToken,
};

/// The longest that a caller waits, in all.
const DEADLINE: Duration = Duration::from_secs(5);

/// Most calls to Keystone at once.
const MAX_CALLS: usize = 32;

/// Where Keystone is, and who asks it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Keystone's address, ending in `/v3`.
    pub url: Url,
    /// The server's own user.
    pub username: String,
    /// Its password.
    pub password: SecretString,
    /// The project that its token is scoped to.
    pub project: String,
    /// The user's domain, by name.
    pub user_domain: String,
    /// The project's domain, by name.
    pub project_domain: String,
    /// The project that `/v1/connect` scopes to when the caller names none; the user's default
    /// project when absent.
    pub connect_project: Option<String>,
    /// Bounds of a call, and the way to Keystone.
    pub options: Options,
}

/// Keystone as an identity backend.
pub struct KeystoneIdentity {
    client: Client,
    service: ServiceToken,
    cache: TokenCache,
    calls: Semaphore,
    connect_project: Option<String>,
    default_domain: String,
}

impl std::fmt::Debug for KeystoneIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeystoneIdentity")
            .field("url", &self.client.url().as_str())
            .finish_non_exhaustive()
    }
}

impl KeystoneIdentity {
    /// Makes a backend; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When the address cannot be used or the HTTP client cannot be set up.
    ///
    /// # Panics
    ///
    /// If the process has installed no rustls provider.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let client = Client::new(&config.url, &config.options)?;
        let login = KeystoneLogin::password(
            user_ref(config.username, config.user_domain.clone()),
            config.password,
            project_scope(config.project, config.project_domain),
        );
        Ok(Self {
            service: ServiceToken::new(client.clone(), login, Arc::clone(&clock)),
            cache: TokenCache::new(clock),
            calls: Semaphore::new(MAX_CALLS),
            connect_project: config.connect_project,
            default_domain: config.user_domain,
            client,
        })
    }

    /// Says whether Keystone accepts our own credential right now.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Unavailable`].
    pub async fn check(&self) -> Result<(), IdentityError> {
        self.bounded(async { self.service.get().await.map(|_| ()).map_err(ours) })
            .await
    }

    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, IdentityError>>,
    ) -> Result<T, IdentityError> {
        let bounded = async {
            let _permit = self
                .calls
                .acquire()
                .await
                .map_err(|e| IdentityError::Unavailable(Box::new(e)))?;
            call.await
        };
        timeout(DEADLINE, bounded)
            .await
            .unwrap_or_else(|e| Err(IdentityError::Unavailable(Box::new(e))))
    }

    async fn ask(&self, token: &Token) -> Result<Cached, IdentityError> {
        let subject = keystone_token(token)?;
        let mut service = self.service.get().await.map_err(ours)?;
        let mut reauthenticated = false;
        let mut repeated = false;
        loop {
            match self.client.validate(&service, &subject).await {
                Ok(Some(info)) => return Ok(Cached::Valid(Arc::new(context(info)))),
                Ok(None) => return Ok(Cached::Invalid),
                // Our own token: revoked, expired early, or its user was disabled meanwhile.
                Err(Error::Refused) if !reauthenticated => {
                    reauthenticated = true;
                    service = self.service.renew(&service).await.map_err(ours)?;
                }
                // A validation changes nothing, so a lost answer may be asked for once more.
                Err(Error::Transport(_)) if !repeated => repeated = true,
                Err(error) => return Err(ours(error)),
            }
        }
    }
}

#[async_trait]
impl Identity for KeystoneIdentity {
    async fn authenticate(&self, login: &Login) -> Result<(Token, AuthContext), IdentityError> {
        let domain = login
            .domain
            .clone()
            .unwrap_or_else(|| self.default_domain.clone());
        let project = login
            .project
            .clone()
            .or_else(|| self.connect_project.clone());
        let scope = project.map_or(Scope::UserDefault, |project| {
            project_scope(project, domain.clone())
        });
        let request = KeystoneLogin::password(
            user_ref(login.user.clone(), domain),
            login.password.clone(),
            scope,
        );
        self.bounded(async {
            match self.client.authenticate(&request).await {
                Ok(Outcome::Authenticated(authenticated)) => {
                    let Authenticated { token, info } = *authenticated;
                    let token = Token::parse(token.expose())
                        .map_err(|e| IdentityError::Unavailable(Box::new(e)))?;
                    Ok((token, context(info)))
                }
                // A password alone is not enough for this user; only a direct login can do more.
                Ok(Outcome::MfaRequired(_))
                | Err(Error::Refused | Error::Forbidden | Error::Invalid(_)) => {
                    Err(IdentityError::Refused)
                }
                Err(error) => Err(IdentityError::Unavailable(Box::new(error))),
            }
        })
        .await
    }

    async fn validate(&self, token: &Token) -> Result<AuthContext, IdentityError> {
        let answer = self
            .cache
            .get_or_ask(token.digest(), self.bounded(self.ask(token)))
            .await?;
        match answer {
            Cached::Valid(context) => Ok(AuthContext::clone(&context)),
            Cached::Invalid => Err(IdentityError::Invalid),
        }
    }

    async fn revoke(&self, token: &Token) -> Result<(), IdentityError> {
        let subject = keystone_token(token)?;
        let result = self
            .bounded(async {
                // Whoever holds a token may end it; one that is refused has ended already.
                match self.client.revoke(&subject, &subject).await {
                    Ok(()) | Err(Error::Refused) => Ok(()),
                    Err(error) => Err(IdentityError::Unavailable(Box::new(error))),
                }
            })
            .await;
        self.cache.forget(&token.digest()).await;
        result
    }
}

/// Trouble with Keystone or with our own credential: never the caller's.
fn ours(error: Error) -> IdentityError {
    if matches!(error, Error::Refused | Error::Forbidden) {
        tracing::error!(
            %error,
            "Keystone does not let this server validate tokens; check its user, password, project and role"
        );
    }
    IdentityError::Unavailable(Box::new(error))
}

fn keystone_token(token: &Token) -> Result<KeystoneToken, IdentityError> {
    // Both types have the same rule, so this fails only if they drift apart.
    KeystoneToken::parse(token.expose()).map_err(|_| IdentityError::Invalid)
}

fn user_ref(name: String, domain: String) -> UserRef {
    UserRef::Name {
        name,
        domain: DomainRef::Name(domain),
    }
}

fn project_scope(name: String, domain: String) -> Scope {
    Scope::Project(ProjectRef::Name {
        name,
        domain: DomainRef::Name(domain),
    })
}

fn context(info: TokenInfo) -> AuthContext {
    AuthContext {
        project: info.project().map(|project| Project {
            id: project.id.clone(),
            name: project.name.clone(),
            domain_id: project.domain.id.clone(),
        }),
        user_id: info.user.id,
        user_name: info.user.name,
        roles: info.roles.into_iter().map(|role| role.name).collect(),
        methods: info.methods,
        issued_at: Some(info.issued_at),
        expires_at: info.expires_at,
    }
}
