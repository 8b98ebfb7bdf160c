//! The directory in which a standalone keeps what must outlive it.
//!
//! | file | holds | mode |
//! |---|---|---|
//! | `lock` | nothing; locked by the process that uses the directory | 0600 |
//! | `format` | the version of this layout; written last, so a directory without it is new | 0600 |
//! | `journal.redb` | queues and log | 0600 |
//! | `id-secret` | what job ids are derived with from idempotency keys | 0600 |
//! | `users` | who may log in, if nobody is named on the command line | 0600 |
//! | `machines/` | the simulated machines | 0700 |
//!
//! What was there and is missing is an error: to go on without it would be to forget in silence.

mod redb;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret as _, SecretString};
use vmctl_core::memory::bus::journal::JournalError;

pub use self::redb::{Open, RedbJournal};
use crate::{Error, User, users};

/// The version of the layout.
const FORMAT: u32 = 1;
/// Longer than any secret needs to be.
const SECRET_LENGTH: usize = 43;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or the directory cannot be read or written.
    #[error("cannot use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else has it.
    #[error("another process uses {path}")]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The journal cannot be used.
    #[error("cannot use the journal {path}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: JournalError,
    },
    /// Something of an earlier start is not there any more.
    #[error(
        "{path} is missing or empty, and the directory has been in use: bring it back from a copy, \
         or start with another directory"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A later version wrote it.
    #[error("{path} says format {found:?}, and this version knows none after {FORMAT}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

/// A directory that belongs to one standalone at a time.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    is_new: bool,
    /// Locked as long as this lives.
    _lock: File,
}

impl DataDir {
    /// Opens the directory, or makes it. Nobody else can from then on, as long as the value lives.
    ///
    /// # Errors
    ///
    /// [`DataError`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        make(path)?;
        let mode = at(path, fs::metadata(path))?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(
                directory = %path.display(),
                "others on this machine may look into the data directory; chmod 700 closes it"
            );
        }
        let lock = lock(path)?;
        let is_new = is_new(&path.join("format"))?;
        Ok(Self {
            path: path.to_owned(),
            is_new,
            _lock: lock,
        })
    }

    /// Opens the journal. Blocks, and reads all of it.
    ///
    /// # Errors
    ///
    /// [`DataError`].
    pub fn journal(&self) -> Result<RedbJournal, DataError> {
        let path = self.path.join("journal.redb");
        match fs::metadata(&path) {
            Ok(found) if found.len() > 0 => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return at(&path, Err(error));
            }
            _ if self.is_new => {
                at(&path, private().create(true).open(&path))?;
            }
            _ => return Err(DataError::Missing { path }),
        }
        RedbJournal::open(&path).map_err(|source| DataError::Journal { path, source })
    }

    /// Returns where the machines are.
    ///
    /// # Errors
    ///
    /// [`DataError`].
    pub fn machines(&self) -> Result<PathBuf, DataError> {
        let path = self.path.join("machines");
        if self.is_new {
            make(&path)?;
        } else if !path.is_dir() {
            return Err(DataError::Missing { path });
        }
        Ok(path)
    }

    /// Returns the directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that everything is there. From now on, what is missing is an error. `is_empty` says whether
    /// the journal is: one that is not belongs to a directory that was complete once.
    ///
    /// # Errors
    ///
    /// [`DataError`].
    pub fn set_complete(&self, is_empty: bool) -> Result<(), DataError> {
        if !self.is_new {
            return Ok(());
        }
        let path = self.path.join("format");
        if !is_empty {
            return Err(DataError::Missing { path });
        }
        write(&path, &format!("{FORMAT}\n"))
    }

    /// Reads what ids are derived with, or makes it up. For the one who has the journal.
    ///
    /// # Errors
    ///
    /// [`DataError`].
    pub fn secret(&self) -> Result<SecretString, DataError> {
        let path = self.path.join("id-secret");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(text.trim().into()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => at(&path, Err(error)),
            _ if self.is_new => {
                let secret = random_secret();
                write(&path, &format!("{}\n", secret.expose_secret()))?;
                Ok(secret)
            }
            _ => Err(DataError::Missing { path }),
        }
    }
}

/// Says whether the directory of this file is new.
fn is_new(format: &Path) -> Result<bool, DataError> {
    let path = format.to_owned();
    match fs::read_to_string(format) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(DataError::Io { path, source }),
        Ok(text) if text.trim().is_empty() => Err(DataError::Missing { path }),
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found <= FORMAT => Ok(false),
            _ => Err(DataError::Newer {
                path,
                found: text.trim().to_owned(),
            }),
        },
    }
}

/// Reads those who may log in, from the file in the directory. A directory that has none gets one
/// user, whose password is returned too: it is told once, and only its hash is kept.
///
/// # Errors
///
/// [`Error::Data`], [`Error::Users`].
pub fn users(data: &DataDir) -> Result<(Vec<User>, Option<String>), Error> {
    let path = data.path.join("users");
    if path.exists() {
        return Ok((users::from_file(&path)?, None));
    }
    let (user, password) = users::random();
    let hash = users::hash(&password.as_str().into())?;
    let about = "# name:project:hash; vmctl-standalone print-hash makes one";
    let line = format!("{about}\n{}:{}:{hash}\n", user.name, user.project);
    write(&path, &line)?;
    Ok((vec![user], Some(password)))
}

/// Takes the directory for this process. The lock ends with the process, however that ends.
fn lock(directory: &Path) -> Result<File, DataError> {
    let path = directory.join("lock");
    let file = at(&path, private().create(true).open(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataError::Busy {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(error)) => at(&path, Err(error)),
    }
}

/// Makes the directory, if it is not there.
fn make(directory: &Path) -> Result<(), DataError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    at(directory, builder.create(directory))
}

/// Makes a secret up.
pub(crate) fn random_secret() -> SecretString {
    let secret = Alphanumeric.sample_string(&mut rand::rng(), SECRET_LENGTH);
    secret.into()
}

/// Writes a small file that only its owner can read, whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), DataError> {
    let part = path.with_extension("part");
    let write = || {
        let mut file = private().create(true).truncate(true).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    at(path, write())
}

/// Opens for writing; what it makes is its owner's.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn at<T>(path: &Path, outcome: io::Result<T>) -> Result<T, DataError> {
    let path = path.to_owned();
    outcome.map_err(|source| DataError::Io { path, source })
}
