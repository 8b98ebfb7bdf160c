//! Where the token is.
//!
//! The ladder: `VMCTL_TOKEN`, else the store that the last login chose (keyring, or a file by
//! consent). A store that cannot be used is an error of its own, never "not logged in", and no
//! request leaves without the token that it was meant to carry.

pub mod file;
pub mod keyring;

use std::{env, fmt, path::PathBuf, str::FromStr};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    config::{CONTEXT, Config},
    endpoint::Endpoint,
    error::CliError,
    exit::Exit,
    paths::Paths,
};

/// The variable that carries a token for automation.
pub const TOKEN_VARIABLE: &str = "VMCTL_TOKEN";

/// A place for a token, as the configuration remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// The system's keyring.
    Keyring,
    /// A file of mode 0600.
    File,
}

impl StoreKind {
    /// Returns the word used in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }
}

impl FromStr for StoreKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "keyring" => Ok(Self::Keyring),
            "file" => Ok(Self::File),
            _ => Err("a store is keyring or file".to_owned()),
        }
    }
}

/// A store that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No keyring on this machine or in this session.
    #[error("there is no keyring in this session ({0})")]
    Absent(String),
    /// The keyring is locked, and nobody unlocked it.
    #[error("the keyring is locked")]
    Locked,
    /// The keyring runs but has no collection to put secrets in: it was never unlocked or set up.
    #[error(
        "the keyring is reachable but has no usable collection: it was never set up or unlocked"
    )]
    NoCollection,
    /// The keyring does not answer.
    #[error("the keyring did not answer within {} s", keyring::DEADLINE.as_secs())]
    NeverAnswers,
    /// Another failure of the keyring.
    #[error("the keyring failed: {0}")]
    Keyring(String),
    /// The file lets others read it.
    #[error("{0} can be read by others (mode {1:o})")]
    Open(PathBuf, u32),
    /// The file cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, String),
}

impl StoreError {
    /// Turns the failure into what a person reads: cause, and the ways out.
    pub fn explain(&self) -> CliError {
        let error = CliError::new(Exit::CredentialStore, "the credential store cannot be used")
            .why(self.to_string());
        let error = match self {
            Self::Locked => error.next("unlock the keyring and try again"),
            Self::Open(path, _) => {
                return error.next(format!(
                    "chmod 600 {}",
                    crate::text::shell_word(&path.to_string_lossy())
                ));
            }
            Self::File(..) => return error.next("set VMCTL_TOKEN instead"),
            _ => error,
        };
        error
            .next("vmctl login --store file   keeps the token in a file that only you can read")
            .next("or set VMCTL_TOKEN")
    }
}

/// What a store holds for the context: one JSON text.
#[derive(Clone, Serialize, Deserialize)]
pub struct Payload {
    /// Version of this shape.
    pub v: u32,
    /// The token.
    pub token: String,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// The server it is for; it is never sent to another one.
    pub endpoint: String,
}

impl Payload {
    /// Makes the payload of a login.
    pub fn new(token: &SecretString, expires_at: Option<Timestamp>, endpoint: &Endpoint) -> Self {
        Self {
            v: 1,
            token: token.expose_secret().to_owned(),
            expires_at,
            endpoint: endpoint.to_string(),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("expires_at", &self.expires_at)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Where a token came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The variable `VMCTL_TOKEN`.
    Environment,
    /// The keyring.
    Keyring,
    /// The credentials file.
    File(PathBuf),
}

impl Source {
    /// Returns what to do when the server refuses the token.
    pub fn remedy(&self) -> String {
        match self {
            Self::Environment => "set VMCTL_TOKEN to a valid token".to_owned(),
            Self::Keyring | Self::File(_) => "vmctl login".to_owned(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str(TOKEN_VARIABLE),
            Self::Keyring => f.write_str("keyring"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A token that is ready for use.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The token.
    pub token: SecretString,
    /// Where it came from.
    pub source: Source,
    /// When it expires, where that is known.
    pub expires_at: Option<Timestamp>,
}

/// Returns the token of the environment, if there is one.
pub fn from_environment() -> Option<SecretString> {
    let token = env::var(TOKEN_VARIABLE).ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| SecretString::from(token.to_owned()))
}

/// Finds the token; waits for the keyring at most [`keyring::DEADLINE`].
pub fn load(app: &App) -> Result<Credential, CliError> {
    if let Some(token) = from_environment() {
        return Ok(Credential {
            token,
            source: Source::Environment,
            expires_at: None,
        });
    }
    load_saved(app)
}

/// Finds the token of the saved login, whatever the environment holds.
pub fn load_saved(app: &App) -> Result<Credential, CliError> {
    let paths = app.paths()?;
    let config = app.config()?;
    let Some(store) = config.context.store else {
        return Err(not_logged_in());
    };
    let (payload, source) = match store {
        StoreKind::Keyring => (from_keyring()?, Source::Keyring),
        StoreKind::File => {
            let payload =
                file::get(&paths.credentials_file, CONTEXT).map_err(|error| error.explain())?;
            (payload, Source::File(paths.credentials_file.clone()))
        }
    };
    let Some(payload) = payload else {
        return Err(not_logged_in().why(format!(
            "{} holds no token, although a login was saved there",
            store.as_str()
        )));
    };
    for_this_server(app, &payload)?;
    Ok(Credential {
        token: SecretString::from(payload.token),
        source,
        expires_at: payload.expires_at,
    })
}

/// Reads the keyring. An empty one is only believed after it has shown that it can hold a secret:
/// a keyring that was never unlocked also says "no entry".
fn from_keyring() -> Result<Option<Payload>, CliError> {
    let keyring = keyring::Keyring::new();
    let found = keyring.get(CONTEXT).map_err(|error| error.explain())?;
    if found.is_none() {
        keyring.probe().map_err(|error| error.explain())?;
    }
    Ok(found)
}

fn for_this_server(app: &App, payload: &Payload) -> Result<(), CliError> {
    let endpoint = app.endpoint()?;
    let same = payload
        .endpoint
        .parse::<Endpoint>()
        .is_ok_and(|saved| saved.same_origin(&endpoint));
    if same {
        return Ok(());
    }
    Err(CliError::new(
        Exit::NotAuthenticated,
        format!("not logged in to {endpoint}"),
    )
    .why(format!(
        "the saved token is for {} and is sent nowhere else",
        payload.endpoint
    ))
    .next(format!("vmctl login --endpoint {endpoint}"))
    .next("or set VMCTL_TOKEN"))
}

/// Says that there is no login.
pub fn not_logged_in() -> CliError {
    CliError::new(Exit::NotAuthenticated, "not logged in")
        .next("vmctl login")
        .next("or set VMCTL_TOKEN")
}

/// Puts a token where the login decided.
pub fn store(kind: StoreKind, paths: &Paths, payload: &Payload) -> Result<(), StoreError> {
    match kind {
        StoreKind::Keyring => keyring::Keyring::new().set(CONTEXT, payload),
        StoreKind::File => file::set(&paths.credentials_file, CONTEXT, payload),
    }
}

/// Removes the token from every store. A store that was not in use may be out of order; the one
/// that was must work.
pub fn wipe(paths: &Paths, config: &Config) -> Result<(), StoreError> {
    let used = config.context.store;
    let file = file::delete(&paths.credentials_file, CONTEXT);
    let keyring = keyring::Keyring::new().delete(CONTEXT);
    if used == Some(StoreKind::Keyring) {
        keyring?;
    }
    file
}
