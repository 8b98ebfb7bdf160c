//! What can be wrong with settings. Each message names the place to look at.

use std::io;
use std::path::PathBuf;

use super::load::Source;

/// Why the settings cannot be used.
///
/// No message holds the value of a secret, nor a line of the file: it could be one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The settings file is not TOML.
    #[error("{}, line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// The settings file has a key that the component does not have.
    #[error("unknown key `{key}` in {}", path.display())]
    UnknownKey {
        /// The key, with its section.
        key: String,
        /// The file.
        path: PathBuf,
    },
    /// The value in the settings file has a type that the setting does not take.
    #[error("`{key}` in {} is {found}, expected {expected}", path.display())]
    WrongType {
        /// The key, with its section.
        key: String,
        /// The file.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// A secret and the file of that secret are both given in the same place.
    #[error("{first} and {second} are both set: choose one")]
    Both {
        /// The one.
        first: Source,
        /// The other.
        second: Source,
    },
    /// Others than its owner can read the file that holds a secret.
    #[error("{}, named by {named_by}, can be read by others than its owner: its mode is {mode:04o}", path.display())]
    SecretOpen {
        /// The file.
        path: PathBuf,
        /// What names it.
        named_by: Source,
        /// Its mode.
        mode: u32,
    },
    /// The file that should hold a secret cannot be read.
    #[error("cannot read {}, named by {named_by}", path.display())]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// What names it.
        named_by: Source,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A required setting is absent.
    #[error("{env} is not set: {doc} ({how})")]
    Missing {
        /// Its environment variable.
        env: String,
        /// What it means.
        doc: &'static str,
        /// The other ways to set it.
        how: String,
    },
    /// A value is not one of the setting's.
    #[error("{source_of}: {reason}")]
    Invalid {
        /// Where the value comes from.
        source_of: Source,
        /// What is wrong with it.
        reason: String,
    },
    /// A component reads a setting that nobody declared.
    #[error("the setting `{key}` is read but not declared")]
    Undeclared {
        /// The key.
        key: String,
    },
}
