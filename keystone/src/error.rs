//! What can go wrong, by what a caller does about it.

use std::time::Duration;

use crate::token::MalformedToken;

/// Why a call to Keystone gave no answer to use.
///
/// The messages are safe to log: they hold no credential and no part of an answer's body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Keystone was not reached, or the connection ended before the answer was complete: name
    /// resolution, TCP, TLS, a deadline. Says nothing about the credentials.
    #[error("could not reach Keystone")]
    Transport(#[source] reqwest::Error),

    /// Keystone, or what stands before it, says that it cannot serve now (429 or 5xx).
    #[error("Keystone is unavailable (status {status})")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// How long to wait before the next try, if the answer says so.
        retry_after: Option<Duration>,
    },

    /// Keystone does not accept the credential that made the call (401). For
    /// [`Client::validate`](crate::Client::validate) that is the validating token, never the one
    /// that is validated.
    #[error("Keystone refused the credentials")]
    Refused,

    /// The credential is good but may not do this (403).
    #[error("Keystone does not allow this to the authenticated user")]
    Forbidden,

    /// What the call names does not exist, or the caller may not know of it (404).
    #[error("not found in Keystone")]
    NotFound,

    /// A thing of that name exists already (409).
    #[error("already exists in Keystone")]
    Conflict,

    /// The request itself is at fault: Keystone answered 400, or the client would not send it.
    #[error("invalid request: {0}")]
    Invalid(&'static str),

    /// The token cannot be one, so nothing was sent.
    #[error(transparent)]
    MalformedToken(#[from] MalformedToken),

    /// The answer is not what the Identity v3 API promises: another program answers at this
    /// address, or the answer is broken or too large.
    #[error("unexpected answer (status {status}): {what}")]
    Protocol {
        /// The HTTP status.
        status: u16,
        /// What is wrong with the answer.
        what: &'static str,
    },
}

impl Error {
    /// Whether the same call may succeed later with nothing changed: the service is at fault, not
    /// the request or the credential.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transport(_) | Self::Unavailable { .. })
    }
}

/// Why a client cannot be made from its settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The address of Keystone cannot be used.
    #[error("unusable Keystone address: {0}")]
    Url(&'static str),

    /// The certificates, the proxy or the system's trust store cannot be used.
    #[error("cannot set up the HTTP client")]
    Http(#[source] reqwest::Error),
}
