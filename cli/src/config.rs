//! `config.toml`: where the server is and who logged in there. Never a secret.
//!
//! The file belongs to the user: keys that this version does not know are reported once and kept.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use toml::{Table, Value};

use crate::{
    credentials::StoreKind, endpoint::Endpoint, error::CliError, exit::Exit, private_file,
};

/// The name of the only context for now; also the user of the keyring's entry.
pub const CONTEXT: &str = "default";

const KNOWN_ROOT: &[&str] = &["version", "contexts"];
const KNOWN_CONTEXT: &[&str] = &[
    "endpoint",
    "ca_file",
    "auth_url",
    "username",
    "user_domain",
    "project",
    "project_domain",
    "store",
    "expires_at",
];

/// What a login left behind, without its secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The server.
    pub endpoint: Option<Endpoint>,
    /// File with certificates that are trusted for it, and for its Keystone.
    pub ca_file: Option<String>,
    /// Keystone's address as it was when the user logged in; another one is refused.
    pub auth_url: Option<String>,
    /// Who.
    pub username: Option<String>,
    /// Keystone domain of the user.
    pub user_domain: Option<String>,
    /// In which project.
    pub project: Option<String>,
    /// Keystone domain of the project.
    pub project_domain: Option<String>,
    /// Where the token is.
    pub store: Option<StoreKind>,
    /// When the token expires.
    pub expires_at: Option<Timestamp>,
}

/// The file, as it was read.
#[derive(Debug, Clone)]
pub struct Config {
    path: PathBuf,
    document: Table,
    /// The context `default`.
    pub context: Context,
    /// Keys that this version does not know.
    pub unknown: Vec<String>,
}

impl Config {
    /// Reads the file; one that is not there is empty.
    pub fn load(path: &Path) -> Result<Self, CliError> {
        let broken = |why: String| {
            CliError::new(Exit::Config, format!("{} cannot be used", path.display()))
                .why(why)
                .next("correct the file, or remove it and log in again")
        };
        let text = private_file::read(path)
            .map_err(|error| broken(error.to_string()))?
            .unwrap_or_default();
        let document: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.lines().count().max(1));
            broken(format!("line {line}: {}", error.message()))
        })?;
        let (context, unknown) = read_context(&document).map_err(broken)?;
        Ok(Self {
            path: path.to_owned(),
            document,
            context,
            unknown,
        })
    }

    /// Writes the context back, and with it everything else that the file held.
    pub fn save(&mut self, context: Context) -> Result<(), CliError> {
        let mut table = match self.contexts().and_then(|all| all.get(CONTEXT)) {
            Some(Value::Table(table)) => table.clone(),
            _ => Table::new(),
        };
        let texts = [
            (
                "endpoint",
                context.endpoint.as_ref().map(ToString::to_string),
            ),
            ("ca_file", context.ca_file.clone()),
            ("auth_url", context.auth_url.clone()),
            ("username", context.username.clone()),
            ("user_domain", context.user_domain.clone()),
            ("project", context.project.clone()),
            ("project_domain", context.project_domain.clone()),
            (
                "store",
                context.store.map(|store| store.as_str().to_owned()),
            ),
            ("expires_at", context.expires_at.map(|at| at.to_string())),
        ];
        for (key, text) in texts {
            match text {
                Some(text) => table.insert(key.to_owned(), Value::String(text)),
                None => table.remove(key),
            };
        }
        let mut contexts = self.contexts().cloned().unwrap_or_default();
        contexts.insert(CONTEXT.to_owned(), Value::Table(table));
        let mut document = self.document.clone();
        document.insert("version".to_owned(), Value::Integer(1));
        document.insert("contexts".to_owned(), Value::Table(contexts));
        private_file::write(&self.path, &document.to_string()).map_err(|error| {
            CliError::new(
                Exit::Config,
                format!("{} cannot be written", self.path.display()),
            )
            .why(error.to_string())
        })?;
        self.document = document;
        self.context = context;
        Ok(())
    }

    fn contexts(&self) -> Option<&Table> {
        self.document.get("contexts")?.as_table()
    }
}

fn read_context(document: &Table) -> Result<(Context, Vec<String>), String> {
    let mut unknown: Vec<String> = keys_beyond(document, KNOWN_ROOT, "");
    match document.get("version") {
        None | Some(Value::Integer(1)) => {}
        Some(other) => return Err(format!("version {other} is not one that this vmctl knows")),
    }
    let contexts = match document.get("contexts") {
        None => return Ok((Context::default(), unknown)),
        Some(Value::Table(contexts)) => contexts,
        Some(_) => return Err("contexts must be a table".to_owned()),
    };
    let table = match contexts.get(CONTEXT) {
        None => return Ok((Context::default(), unknown)),
        Some(Value::Table(table)) => table,
        Some(_) => return Err(format!("contexts.{CONTEXT} must be a table")),
    };
    unknown.extend(keys_beyond(table, KNOWN_CONTEXT, "contexts.default."));
    let text = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("contexts.{CONTEXT}.{key} must be a text")),
    };
    let parsed = |key: &str, why: String| format!("contexts.{CONTEXT}.{key}: {why}");
    let context = Context {
        endpoint: text("endpoint")?
            .map(|t| {
                t.parse::<Endpoint>()
                    .map_err(|e| parsed("endpoint", e.to_string()))
            })
            .transpose()?,
        ca_file: text("ca_file")?,
        auth_url: text("auth_url")?,
        username: text("username")?,
        user_domain: text("user_domain")?,
        project: text("project")?,
        project_domain: text("project_domain")?,
        store: text("store")?
            .map(|t| t.parse::<StoreKind>().map_err(|e| parsed("store", e)))
            .transpose()?,
        expires_at: text("expires_at")?
            .map(|t| {
                t.parse::<Timestamp>()
                    .map_err(|e| parsed("expires_at", e.to_string()))
            })
            .transpose()?,
    };
    Ok((context, unknown))
}

fn keys_beyond(table: &Table, known: &[&str], prefix: &str) -> Vec<String> {
    table
        .keys()
        .filter(|key| !known.contains(&key.as_str()))
        .map(|key| format!("{prefix}{key}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_login_is_written_and_read_back_and_foreign_keys_stay() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.toml");
        fs::write(&path, "theme = 'dark'\n[contexts.other]\nendpoint = 'https://o'\n[contexts.default]\nshoe = 42\n").unwrap();
        let mut config = Config::load(&path).unwrap();
        assert_eq!(config.unknown, ["theme", "contexts.default.shoe"]);
        let context = Context {
            endpoint: Some("https://vm.example.net".parse().unwrap()),
            ca_file: Some("/etc/ours.pem".into()),
            username: Some("joe".into()),
            store: Some(StoreKind::Keyring),
            expires_at: Some("2026-11-23T18:00:00Z".parse().unwrap()),
            ..Context::default()
        };
        config.save(context.clone()).unwrap();
        assert_eq!(Config::load(&path).unwrap().context, context);
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("theme = \"dark\"")
                && text.contains("shoe = 42")
                && text.contains("https://o")
        );
        config.save(Context::default()).unwrap();
        assert_eq!(Config::load(&path).unwrap().context, Context::default());
    }

    #[test]
    fn a_broken_file_names_its_line() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.toml");
        fs::write(&path, "version = 1\n\n[contexts.default\n").unwrap();
        let error = Config::load(&path).unwrap_err();
        assert_eq!(error.exit, Exit::Config);
        assert!(error.why[0].starts_with("line 3"), "{:?}", error.why);
        for (text, part) in [
            ("version = 7", "version 7"),
            ("contexts = 1", "must be a table"),
            (
                "[contexts.default]\nendpoint = 'nope'",
                "contexts.default.endpoint",
            ),
            (
                "[contexts.default]\nstore = 'cloud'",
                "contexts.default.store",
            ),
            ("[contexts.default]\nusername = 1", "must be a text"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Config::load(&path).unwrap_err();
            assert!(error.why[0].contains(part), "{text}: {:?}", error.why);
        }
    }
}
