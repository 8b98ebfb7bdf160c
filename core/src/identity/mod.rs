//! Who calls, as a port.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::bus::BoxError;

/// A token. Never printed, never serialised.
#[derive(Clone)]
pub struct Token(SecretString);

/// A text that cannot be a token: empty, longer than 8 KiB, or not visible ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is empty, longer than 8 KiB, or has characters that no token has")]
pub struct MalformedToken;

impl Token {
    /// Longest accepted token, in bytes.
    pub const MAX_LEN: usize = 8 * 1024;

    /// Reads a token from a header.
    ///
    /// # Errors
    ///
    /// [`MalformedToken`], before anybody is asked about it.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_LEN;
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned().into()))
        } else {
            Err(MalformedToken)
        }
    }

    /// Returns the text, to send it to the identity service.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the SHA-256 of the token: what caches use as a key.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.expose().as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A user name and a password.
#[derive(Debug, Clone)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: SecretString,
    /// Project to scope the token to; the user's default when absent.
    pub project: Option<String>,
    /// Domain name of user and project; the backend's default when absent.
    pub domain: Option<String>,
}

/// Who calls, on which scope, with which roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthContext {
    /// User id.
    pub user_id: String,
    /// User name.
    pub user_name: String,
    /// The project that the token is scoped to.
    pub project: Option<Project>,
    /// Roles on that scope.
    pub roles: Vec<String>,
    /// How the token was had, in Keystone's words: `password`, `application_credential`, …
    pub methods: Vec<String>,
    /// When the token was issued.
    pub issued_at: Option<Timestamp>,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its domain's id.
    pub domain_id: String,
}

impl AuthContext {
    /// Says whether the caller may do what needs `role`: `admin` may what `member` may, and
    /// `member` may what `reader` may, as Keystone's default roles imply.
    pub fn has_role(&self, role: &str) -> bool {
        let implied: &[&str] = match role {
            "reader" => &["reader", "member", "admin"],
            "member" => &["member", "admin"],
            _ => &[],
        };
        self.roles
            .iter()
            .any(|have| have == role || implied.contains(&have.as_str()))
    }
}

/// Why nobody could be identified.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// User name or password is wrong, or the account needs more than a password.
    #[error("user name or password refused")]
    Refused,
    /// The token is unknown, expired or revoked.
    #[error("the token is not valid")]
    Invalid,
    /// The identity service cannot be asked, or does not accept our own credential: not the
    /// caller's fault.
    #[error("the identity service is not available")]
    Unavailable(#[source] BoxError),
}

/// Says who calls.
#[async_trait]
pub trait Identity: Send + Sync {
    /// Exchanges a name and a password for a token.
    ///
    /// # Errors
    ///
    /// `Refused` says nothing about which part was wrong.
    async fn authenticate(&self, login: &Login) -> Result<(Token, AuthContext), IdentityError>;

    /// Says whose token it is. A valid answer may be up to 60 s old.
    ///
    /// # Errors
    ///
    /// `Invalid` only when the service said so; whatever prevents an answer is `Unavailable`.
    async fn validate(&self, token: &Token) -> Result<AuthContext, IdentityError>;

    /// Ends a token. Ending an unknown one does nothing.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    async fn revoke(&self, token: &Token) -> Result<(), IdentityError>;
}
