//! Puts the three layers together, and remembers where each value came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use super::value::{Form, Value};
use super::{Setting, SettingsError};
use crate::private::mode_for_others;

/// Where a value comes from. Displayed as the place to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default(&'static str),
    /// A key of the settings file.
    File {
        /// The key, with its section.
        key: String,
        /// The file.
        path: PathBuf,
    },
    /// An environment variable.
    Env(String),
    /// A flag, without its dashes.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(key) => write!(f, "the default of `{key}`"),
            Self::File { key, path } => write!(f, "`{key}` in {}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// The text of a setting, and where it comes from.
#[derive(Clone)]
struct Found {
    text: String,
    source: Source,
}

/// What was loaded: a checked text for each declared setting that has one.
///
/// It holds secrets, hence no `Debug`.
pub struct Values {
    settings: Vec<Setting>,
    found: BTreeMap<&'static str, Found>,
}

impl Values {
    /// Loads the settings: each layer replaces what the layer beneath says.
    ///
    /// `env` gives the environment, so that a test can own it. Values are checked, but a required
    /// one may still be absent: [`get`](Self::get) says so.
    pub fn load(
        settings: Vec<Setting>,
        file: Option<&Path>,
        env: &dyn Fn(&str) -> Option<OsString>,
        flags: &ArgMatches,
    ) -> Result<Self, SettingsError> {
        let mut file = file.map(FileLayer::read).transpose()?;
        let mut found = BTreeMap::new();
        for setting in &settings {
            let mut value = setting.default.map(|text| Found {
                text: text.to_owned(),
                source: Source::Default(setting.key),
            });
            if let Some(file) = &mut file {
                value = file.take(setting)?.or(value);
            }
            value = from_env(setting, env)?.or(value);
            value = from_flags(setting, flags)?.or(value);
            let Some(value) = value else { continue };
            (setting.check)(&value.text).map_err(|reason| SettingsError::Invalid {
                source_of: value.source.clone(),
                reason,
            })?;
            found.insert(setting.key, value);
        }
        if let Some(file) = file {
            file.finish()?;
        }
        Ok(Self { settings, found })
    }

    /// The value of a declared setting.
    pub fn get<T: Value>(&self, key: &str) -> Result<T, SettingsError> {
        let setting = self
            .settings
            .iter()
            .find(|setting| setting.key == key)
            .ok_or_else(|| SettingsError::Undeclared { key: key.into() })?;
        match self.found.get(key) {
            Some(found) => T::parse(&found.text).map_err(|reason| SettingsError::Invalid {
                source_of: found.source.clone(),
                reason,
            }),
            None => T::absent().ok_or_else(|| missing(setting)),
        }
    }

    /// The declared settings, in the order of declaration.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The text of a setting and where it comes from.
    pub(super) fn found(&self, setting: &Setting) -> Option<(&str, &Source)> {
        let found = self.found.get(setting.key)?;
        Some((&found.text, &found.source))
    }
}

fn missing(setting: &Setting) -> SettingsError {
    let how = if setting.secret {
        format!(
            "or the file named by {}, or `{}` in the settings file",
            setting.env_file(),
            setting.key
        )
    } else {
        format!(
            "or --{}, or `{}` in the settings file",
            setting.flag(),
            setting.key
        )
    };
    SettingsError::Missing {
        env: setting.env(),
        doc: setting.brief(),
        how,
    }
}

/// The flag of a setting; for a secret, the flag of its file.
pub(crate) fn flag(setting: &Setting) -> Arg {
    let mut help = setting.brief().to_owned();
    if setting.secret {
        help = format!("File that holds it: {help}");
    }
    // Writing to a string cannot fail.
    let _ = write!(help, " [env: {}]", setting.env());
    if let Some(default) = setting.default {
        let _ = write!(help, " [default: {default}]");
    }
    let value_name = if setting.secret { "FILE" } else { "VALUE" };
    Arg::new(setting.key)
        .long(setting.flag())
        .value_name(value_name)
        .help(help)
}

fn from_flags(setting: &Setting, flags: &ArgMatches) -> Result<Option<Found>, SettingsError> {
    if flags.value_source(setting.key) != Some(ValueSource::CommandLine) {
        return Ok(None);
    }
    let Some(text) = flags.get_one::<String>(setting.key) else {
        return Ok(None);
    };
    let source = Source::Flag(setting.flag());
    if setting.secret {
        return secret_file(Path::new(text), source).map(Some);
    }
    Ok(Some(Found {
        text: text.clone(),
        source,
    }))
}

fn from_env(
    setting: &Setting,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<Found>, SettingsError> {
    let direct = variable(setting.env(), env)?;
    let by_file = if setting.secret {
        variable(setting.env_file(), env)?
    } else {
        None
    };
    one_of(direct, by_file)
}

/// One variable; an empty one counts as absent.
fn variable(
    name: String,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<Found>, SettingsError> {
    let Some(text) = env(&name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let source = Source::Env(name);
    match text.into_string() {
        Ok(text) => Ok(Some(Found { text, source })),
        Err(_) => Err(SettingsError::Invalid {
            source_of: source,
            reason: "not UTF-8".into(),
        }),
    }
}

/// The value given directly, or the content of the file that is named instead.
fn one_of(direct: Option<Found>, by_file: Option<Found>) -> Result<Option<Found>, SettingsError> {
    match (direct, by_file) {
        (Some(direct), Some(by_file)) => Err(SettingsError::Both {
            first: direct.source,
            second: by_file.source,
        }),
        (None, Some(by_file)) => secret_file(Path::new(&by_file.text), by_file.source).map(Some),
        (direct, None) => Ok(direct),
    }
}

/// The content of a secret's file, without the newline that editors add.
fn secret_file(path: &Path, named_by: Source) -> Result<Found, SettingsError> {
    let unread = |source| SettingsError::SecretFile {
        path: path.into(),
        named_by: named_by.clone(),
        source,
    };
    if let Some(mode) = mode_for_others(path).map_err(unread)? {
        return Err(SettingsError::SecretOpen {
            path: path.into(),
            named_by,
            mode,
        });
    }
    let mut text = fs::read_to_string(path).map_err(unread)?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.is_empty() {
        return Err(SettingsError::Invalid {
            source_of: named_by,
            reason: format!("{} is empty", path.display()),
        });
    }
    Ok(Found {
        text,
        source: named_by,
    })
}

/// The settings file, with its sections flattened to dotted keys.
struct FileLayer {
    path: PathBuf,
    keys: BTreeMap<String, toml::Value>,
}

impl FileLayer {
    fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(path).map_err(|source| SettingsError::Read {
            path: path.into(),
            source,
        })?;
        // The parser's own display quotes the line, which could hold a secret.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let start = error
                .span()
                .map_or(0, |span| text.floor_char_boundary(span.start));
            SettingsError::Syntax {
                path: path.into(),
                line: text[..start].matches('\n').count() + 1,
                message: error.message().to_owned(),
            }
        })?;
        let mut keys = BTreeMap::new();
        flatten("", table, &mut keys);
        Ok(Self {
            path: path.into(),
            keys,
        })
    }

    /// Takes the value of a setting out.
    fn take(&mut self, setting: &Setting) -> Result<Option<Found>, SettingsError> {
        let direct = self.take_key(setting.key, setting.form)?;
        let by_file = if setting.secret {
            self.take_key(&setting.key_file(), Form::Text)?
        } else {
            None
        };
        one_of(direct, by_file)
    }

    fn take_key(&mut self, key: &str, form: Form) -> Result<Option<Found>, SettingsError> {
        let Some(value) = self.keys.remove(key) else {
            return Ok(None);
        };
        let text = text_of(&value, form).ok_or_else(|| SettingsError::WrongType {
            key: key.to_owned(),
            path: self.path.clone(),
            found: kind_of(&value),
            expected: form.describe(),
        })?;
        Ok(Some(Found {
            text,
            source: Source::File {
                key: key.to_owned(),
                path: self.path.clone(),
            },
        }))
    }

    /// Whatever was not taken is a key that nobody declared.
    fn finish(mut self) -> Result<(), SettingsError> {
        match self.keys.pop_first() {
            Some((key, _)) => Err(SettingsError::UnknownKey {
                key,
                path: self.path,
            }),
            None => Ok(()),
        }
    }
}

fn flatten(prefix: &str, table: toml::Table, into: &mut BTreeMap<String, toml::Value>) {
    for (key, value) in table {
        let key = if prefix.is_empty() {
            key
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, into),
            value => {
                into.insert(key, value);
            }
        }
    }
}

fn text_of(value: &toml::Value, form: Form) -> Option<String> {
    match (value, form) {
        (toml::Value::String(text), Form::Text | Form::List) => Some(text.clone()),
        (toml::Value::Integer(number), Form::Bare) => Some(number.to_string()),
        (toml::Value::Boolean(truth), Form::Bare) => Some(truth.to_string()),
        (toml::Value::Array(elements), Form::List) => elements
            .iter()
            .map(|element| element.as_str().filter(|text| !text.contains(',')))
            .collect::<Option<Vec<_>>>()
            .map(|elements| elements.join(",")),
        _ => None,
    }
}

fn kind_of(value: &toml::Value) -> &'static str {
    match value {
        toml::Value::String(_) => "a string",
        toml::Value::Integer(_) => "a whole number",
        toml::Value::Float(_) => "a number with a fraction",
        toml::Value::Boolean(_) => "a boolean",
        toml::Value::Datetime(_) => "a date",
        toml::Value::Array(_) => "a list",
        toml::Value::Table(_) => "a section",
    }
}
