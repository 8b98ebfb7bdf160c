//! Users that are given when the process starts: for one machine, demos and tests.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rand::{TryRng as _, rngs::SysRng};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    clock::{self, Clock},
    identity::{AuthContext, Identity, IdentityError, Login, Project, Token},
};

/// How long a token lives.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// How many tokens are kept; the one that expires first makes room.
const MAX_TOKENS: usize = 10_000;

/// Checks a password.
pub trait PasswordCheck: Send + Sync {
    /// Says whether it is the user's. May take long: it runs on a thread of its own.
    fn is_right(&self, password: &SecretString) -> bool;
}

/// A password that is known as it is.
pub struct PlainPassword(pub SecretString);

impl PasswordCheck for PlainPassword {
    fn is_right(&self, password: &SecretString) -> bool {
        use sha2::{Digest, Sha256};
        // Equal digests: the time taken says nothing about how much of the text is right.
        let digest = |secret: &SecretString| Sha256::digest(secret.expose_secret().as_bytes());
        digest(&self.0) == digest(password)
    }
}

/// One user.
#[derive(Clone)]
pub struct User {
    /// What the user types; also the user id.
    pub name: String,
    /// The one project that the user's tokens are scoped to.
    pub project: String,
    /// Roles on it.
    pub roles: Vec<String>,
    /// Knows the password.
    pub password: Arc<dyn PasswordCheck>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("project", &self.project)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// Users and tokens in memory.
pub struct InMemoryIdentity {
    users: BTreeMap<String, User>,
    tokens: Mutex<HashMap<[u8; 32], AuthContext>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for InMemoryIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryIdentity")
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

impl InMemoryIdentity {
    /// Knows these users; of two with one name, the later.
    pub fn new(users: impl IntoIterator<Item = User>, clock: Arc<dyn Clock>) -> Self {
        Self {
            users: users.into_iter().map(|u| (u.name.clone(), u)).collect(),
            tokens: Mutex::default(),
            clock,
        }
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<[u8; 32], AuthContext>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issue(&self, user: &User) -> Result<(Token, AuthContext), IdentityError> {
        let mut bytes = [0_u8; 32];
        SysRng
            .try_fill_bytes(&mut bytes)
            .map_err(|e| IdentityError::Unavailable(Box::new(e)))?;
        let hex = |nibble: u8| char::from_digit(u32::from(nibble), 16);
        let text: String = bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(hex)
            .collect();
        // Hexadecimal digits are visible ASCII.
        let token = Token::parse(&text).map_err(|e| IdentityError::Unavailable(Box::new(e)))?;
        let now = self.clock.now();
        let context = AuthContext {
            user_id: user.name.clone(),
            user_name: user.name.clone(),
            project: Some(Project {
                id: user.project.clone(),
                name: user.project.clone(),
                domain_id: "default".to_owned(),
            }),
            roles: user.roles.clone(),
            methods: vec!["password".to_owned()],
            issued_at: Some(now),
            expires_at: clock::add(now, TOKEN_LIFE),
        };
        let mut tokens = self.tokens();
        tokens.retain(|_, context| context.expires_at > now);
        while tokens.len() >= MAX_TOKENS {
            let oldest = tokens.iter().min_by_key(|(_, c)| c.expires_at);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                break;
            };
            tokens.remove(&key);
        }
        tokens.insert(token.digest(), context.clone());
        Ok((token, context))
    }
}

#[async_trait]
impl Identity for InMemoryIdentity {
    async fn authenticate(&self, login: &Login) -> Result<(Token, AuthContext), IdentityError> {
        let user = self
            .users
            .get(&login.user)
            .filter(|user| login.project.as_ref().is_none_or(|p| *p == user.project))
            .ok_or(IdentityError::Refused)?;
        let (check, password) = (Arc::clone(&user.password), login.password.clone());
        let right = tokio::task::spawn_blocking(move || check.is_right(&password))
            .await
            .map_err(|e| IdentityError::Unavailable(Box::new(e)))?;
        if right {
            self.issue(user)
        } else {
            Err(IdentityError::Refused)
        }
    }

    async fn validate(&self, token: &Token) -> Result<AuthContext, IdentityError> {
        let now = self.clock.now();
        self.tokens()
            .get(&token.digest())
            .filter(|context| context.expires_at > now)
            .cloned()
            .ok_or(IdentityError::Invalid)
    }

    async fn revoke(&self, token: &Token) -> Result<(), IdentityError> {
        self.tokens().remove(&token.digest());
        Ok(())
    }
}
