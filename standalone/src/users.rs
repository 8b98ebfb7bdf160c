//! Who may log in: users given on the command line, in a file, or one that is made up.
//!
//! | form | where | password |
//! |---|---|---|
//! | `NAME:PASSWORD[:PROJECT]` | command line, for demos | as it is, without a colon |
//! | `name:project:hash` | a line of a file | Argon2id, as `vmctl-standalone print-hash` prints it |

use std::{fs, io, path::Path, sync::Arc};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};
use vmctl_core::memory::identity::{PasswordCheck, PlainPassword, User};

/// The project of users who name none.
pub const PROJECT: &str = "demo";
/// The role of every user.
const ROLE: &str = "member";
/// The role of users who run the service.
pub const ADMIN: &str = "admin";
/// 20 characters of 62: 119 bits.
const PASSWORD_LENGTH: usize = 20;
/// The recommended length of a salt.
const SALT_LENGTH: usize = 16;

/// Why a user cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// The text on the command line has another form. It is not repeated: it holds a password.
    #[error("a user is NAME:PASSWORD or NAME:PASSWORD:PROJECT, none of them empty")]
    Argument,
    /// The file cannot be read.
    #[error("cannot read the users file {file}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of the file has another form.
    #[error("{file}, line {line}: {reason}")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file names nobody.
    #[error("the users file {file} names no user")]
    Empty {
        /// The file.
        file: String,
    },
    /// A password could not be hashed.
    #[error("cannot hash the password: {0}")]
    Hash(argon2::password_hash::Error),
}

/// Makes a user whose password is known as it is.
pub fn plain(name: &str, password: &str, project: &str) -> User {
    user(name, project, Arc::new(PlainPassword(password.into())))
}

/// Reads `NAME:PASSWORD[:PROJECT]`.
pub fn from_argument(text: &str) -> Result<User, UserError> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(UserError::Argument);
    }
    match parts[..] {
        [name, password] => Ok(plain(name, password, PROJECT)),
        [name, password, project] => Ok(plain(name, password, project)),
        _ => Err(UserError::Argument),
    }
}

/// Reads a file with a line for each user. Empty lines and lines that begin with `#` are skipped.
pub fn from_file(path: &Path) -> Result<Vec<User>, UserError> {
    let file = || path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| UserError::Read {
        file: file(),
        source,
    })?;
    let mut users: Vec<User> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refuse = |reason| UserError::Line {
            file: file(),
            line: index + 1,
            reason,
        };
        let user = from_line(line).map_err(refuse)?;
        if users.iter().any(|other| other.name == user.name) {
            return Err(refuse("the name is used twice"));
        }
        users.push(user);
    }
    if users.is_empty() {
        return Err(UserError::Empty { file: file() });
    }
    Ok(users)
}

/// Makes up a user; returns the password too, so that it can be told once.
pub fn random() -> (User, String) {
    let password = Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH);
    (plain("demo", &password, PROJECT), password)
}

/// Hashes a password for the users file.
pub fn hash(password: &SecretString) -> Result<String, UserError> {
    let salt: [u8; SALT_LENGTH] = rand::random();
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
        .map_err(UserError::Hash)?;
    Ok(hash.to_string())
}

fn from_line(line: &str) -> Result<User, &'static str> {
    let mut parts = line.splitn(3, ':');
    let (Some(name), Some(project), Some(hash)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("a line is name:project:hash");
    };
    if name.is_empty() || project.is_empty() {
        return Err("the name or the project is empty");
    }
    let hash = PasswordHash::new(hash).map_err(|_| "the hash cannot be read")?;
    if hash.algorithm.as_str() != "argon2id" || hash.hash.is_none() {
        return Err("the hash is not Argon2id");
    }
    Ok(user(name, project, Arc::new(HashedPassword(hash))))
}

fn user(name: &str, project: &str, password: Arc<dyn PasswordCheck>) -> User {
    User {
        name: name.to_owned(),
        project: project.to_owned(),
        roles: vec![ROLE.to_owned()],
        password,
    }
}

/// A password of which only the hash is known.
struct HashedPassword(PasswordHash);

impl PasswordCheck for HashedPassword {
    fn is_right(&self, password: &SecretString) -> bool {
        Argon2::default()
            .verify_password(password.expose_secret().as_bytes(), &self.0)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn an_argument_has_two_or_three_parts() {
        let joe = from_argument("joe:1234").unwrap();
        assert_eq!((joe.name.as_str(), joe.project.as_str()), ("joe", "demo"));
        assert_eq!(joe.roles, ["member"]);
        assert!(joe.password.is_right(&"1234".into()));
        assert!(!joe.password.is_right(&"12345".into()));
        assert_eq!(from_argument("ann:x:other").unwrap().project, "other");
        for wrong in ["", "joe", "joe:", ":1234", "joe:1234:", "a:b:c:d"] {
            let error = from_argument(wrong).unwrap_err().to_string();
            assert!(!error.contains("1234"), "{error}");
        }
    }

    #[test]
    fn a_hash_that_was_printed_lets_its_password_in() {
        let hash = hash(&"1234".into()).unwrap();
        let file = file(&format!("# users\n\njoe:demo:{hash}\n"));
        let users = from_file(file.path()).unwrap();
        assert_eq!(users.len(), 1);
        assert!(users[0].password.is_right(&"1234".into()));
        assert!(!users[0].password.is_right(&"4321".into()));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let hash = hash(&"1234".into()).unwrap();
        let twice = format!("joe:demo:{hash}\njoe:demo:{hash}\n");
        for (text, said) in [
            ("# me\njoe:1234\n", "line 2: a line is name:project:hash"),
            ("joe:demo:1234\n", "line 1: the hash cannot be read"),
            (
                ":demo:$argon2id$x",
                "line 1: the name or the project is empty",
            ),
            (
                "joe:demo:$argon2id$v=19$m=8,t=1,p=1",
                "line 1: the hash is not Argon2id",
            ),
            (&twice, "line 2: the name is used twice"),
            ("# nobody\n", "names no user"),
        ] {
            let error = from_file(file(text).path()).unwrap_err().to_string();
            assert!(error.ends_with(said), "{error} / {said}");
        }
    }

    #[test]
    fn a_made_up_password_is_new_each_time() {
        let (user, password) = random();
        assert!(user.password.is_right(&password.as_str().into()));
        assert_ne!(password, random().1);
    }
}
