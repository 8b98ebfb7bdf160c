//! The credentials file: used only with consent, mode 0600, refused if others can read it.

use std::{collections::BTreeMap, fmt, io, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Payload, StoreError};
use crate::private_file;

/// The whole file.
#[derive(Default, Serialize, Deserialize)]
struct Credentials {
    version: u32,
    /// By context. Entries of later versions are kept as they are.
    contexts: BTreeMap<String, Value>,
}

/// Reads a context's entry.
pub fn get(path: &Path, context: &str) -> Result<Option<Payload>, StoreError> {
    let Some(entry) = read(path)?.contexts.remove(context) else {
        return Ok(None);
    };
    serde_json::from_value(entry)
        .map(Some)
        .map_err(|_| failed(path, &"the entry of this context cannot be understood"))
}

/// Writes a context's entry.
pub fn set(path: &Path, context: &str, payload: &Payload) -> Result<(), StoreError> {
    let mut credentials = read(path)?;
    let entry = serde_json::to_value(payload).map_err(|error| failed(path, &error))?;
    credentials.contexts.insert(context.to_owned(), entry);
    write(path, &credentials)
}

/// Removes a context's entry, and the file with the last one.
pub fn delete(path: &Path, context: &str) -> Result<(), StoreError> {
    let mut credentials = read(path)?;
    if credentials.contexts.remove(context).is_none() {
        return Ok(());
    }
    if credentials.contexts.is_empty() {
        return private_file::remove(path)
            .map(drop)
            .map_err(|error| failed(path, &error));
    }
    write(path, &credentials)
}

/// Says whether the file could be written.
pub fn probe(path: &Path) -> Result<(), StoreError> {
    private_file::probe(path).map_err(|error| failed(path, &error))?;
    read(path).map(drop)
}

fn read(path: &Path) -> Result<Credentials, StoreError> {
    match private_file::open_to_others(path) {
        Ok(None) => {}
        Ok(Some(mode)) => return Err(StoreError::Open(path.to_owned(), mode)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Credentials::default()),
        Err(error) => return Err(failed(path, &error)),
    }
    let text = private_file::read(path).map_err(|error| failed(path, &error))?;
    // Serde's message may quote what it could not read; a token must not end up in an error.
    serde_json::from_str(&text.unwrap_or_else(|| r#"{"version":1,"contexts":{}}"#.to_owned()))
        .map_err(|error| {
            failed(
                path,
                &format_args!("line {}: not a credentials file", error.line()),
            )
        })
}

fn write(path: &Path, credentials: &Credentials) -> Result<(), StoreError> {
    let credentials = Credentials {
        version: 1,
        contexts: credentials.contexts.clone(),
    };
    let text = serde_json::to_string_pretty(&credentials).map_err(|error| failed(path, &error))?;
    private_file::write(path, &text).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, why: &dyn fmt::Display) -> StoreError {
    StoreError::File(path.to_owned(), why.to_string())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn payload() -> Payload {
        Payload {
            v: 1,
            token: "gAAAAAB-secret".into(),
            expires_at: None,
            endpoint: "https://h".into(),
        }
    }

    #[test]
    fn an_entry_is_written_read_and_removed_with_the_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("vmctl/credentials.json");
        assert!(get(&path, "default").unwrap().is_none());
        probe(&path).unwrap();
        set(&path, "default", &payload()).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            get(&path, "default").unwrap().unwrap().token,
            "gAAAAAB-secret"
        );
        assert!(get(&path, "other").unwrap().is_none());
        delete(&path, "default").unwrap();
        delete(&path, "default").unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("credentials.json");
        set(&path, "default", &payload()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(
            get(&path, "default").unwrap_err(),
            StoreError::Open(path.clone(), 0o644)
        );
        assert!(probe(&path).is_err());
    }

    #[test]
    fn an_error_never_quotes_the_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("credentials.json");
        private_file::write(&path, r#"{"version":1,"contexts":"gAAAAAB-secret"}"#).unwrap();
        let error = get(&path, "default").unwrap_err().to_string();
        assert!(!error.contains("gAAAA"), "{error}");
        private_file::write(&path, r#"{"version":1,"contexts":{"default":{"token":"gAAAAAB-secret","v":"gAAAAAB-secret"}}}"#).unwrap();
        let error = get(&path, "default").unwrap_err().to_string();
        assert!(!error.contains("gAAAA"), "{error}");
        assert!(!format!("{:?}", payload()).contains("gAAAA"));
    }
}
