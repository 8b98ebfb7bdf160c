//! Client of the OpenStack Identity v3 API (Keystone), and the loader of what describes a cloud:
//! `OS_*` variables, `clouds.yaml` and `secure.yaml`.
//!
//! The crate knows the protocol and has no policy: it does not retry, cache, prompt or store.
//! What always holds:
//!
//! - A failure to reach Keystone is never reported as bad credentials. Only Keystone's own answer
//!   makes [`Error::Refused`]; a proxy's page with status 401 is [`Error::Protocol`].
//! - Secrets are in types that do not print. No message holds a token, a password or a part of an
//!   answer.
//! - Every call is bounded: time to connect, time in all, size of the answer.
//! - Nothing is sent for a token that cannot be one ([`Token::parse`]).
//!
//! TLS uses the process's rustls provider: install one
//! (`rustls::crypto::ring::default_provider().install_default()`) before [`Client::new`], which
//! panics without it.

mod answer;
mod application_credential;
mod client;
pub mod cloud;
mod error;
mod login;
mod response;
mod token;

pub use application_credential::{ApplicationCredential, NewApplicationCredential};
pub use client::{Client, Options};
pub use error::{ConfigError, Error};
pub use login::{DomainRef, Login, Method, ProjectRef, Scope, UserRef};
pub use response::{
    Authenticated, Domain, MfaRequired, Outcome, Project, Role, TokenInfo, TokenScope, User,
};
pub use token::{MalformedToken, Token};
