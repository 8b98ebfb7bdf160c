//! Passwords of the users of broker and Redis: a file for each, named after its user.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use vmctl_core::clock::{SystemClock, new_uuid};

/// A directory of passwords.
#[derive(Debug)]
pub struct Passwords(PathBuf);

impl Passwords {
    /// Takes them from here.
    pub fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// Reads the password of a user; one newline at its end is left out.
    pub fn get(&self, user: &str) -> anyhow::Result<SecretString> {
        let path = self.0.join(user);
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("the password of {user}: {}", path.display()))?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        ensure!(
            !password.is_empty() && !password.contains(['\n', ' ']),
            "{} is empty, or holds a space or more than one line",
            path.display()
        );
        Ok(password.to_owned().into())
    }

    /// Returns the hash of a user's password as the broker keeps it: base64 of four bytes of salt, and the
    /// SHA-256 of salt and password. It differs each time.
    pub fn hash(&self, user: &str) -> anyhow::Result<String> {
        let password = self.get(user)?;
        // The last bytes of such an id are random ones. A salt is no secret.
        let drawn = new_uuid(&SystemClock);
        let salt = &drawn.as_bytes()[12..];
        Ok(salted(salt, password.expose_secret()))
    }

    /// Returns the SHA-256 of a user's password, in hexadecimal digits, as Redis keeps it.
    pub fn digest(&self, user: &str) -> anyhow::Result<String> {
        let digest = Sha256::digest(self.get(user)?.expose_secret());
        let digits = digest.iter().map(|byte| format!("{byte:02x}"));
        Ok(digits.collect::<Vec<_>>().concat())
    }
}

fn salted(salt: &[u8], password: &str) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update(password);
    STANDARD.encode([salt, &digest.finalize()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_brokers() {
        // The example of RabbitMQ's page on passwords.
        let salt = [0x90, 0x8d, 0xc6, 0x0a];
        assert_eq!(
            salted(&salt, "test12"),
            "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
        );
    }

    #[test]
    fn a_password_is_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let passwords = Passwords::new(directory.path());
        for (text, good) in [
            ("a", true),
            ("a\n", true),
            ("", false),
            ("a\nb", false),
            ("a b", false),
        ] {
            fs::write(directory.path().join("joe"), text).unwrap();
            assert_eq!(passwords.get("joe").is_ok(), good, "{text:?}");
        }
        let error = passwords.get("ann").unwrap_err();
        assert!(error.to_string().contains("the password of ann"), "{error}");
    }
}
