//! Synchronous kinds: requests that an upstream answers at once, and that are never a job.
//!
//! The registry file says `mode = "sync"`, where the upstream is, how long it may take, and with
//! which methods it may be asked. The server authenticates, checks the input and passes it on.

use std::{fmt, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use url::Url;
use vmctl_api_types::{FieldError, Kind, KindInfo, KindMode, RetryInfo};

use super::{duration, violation};

/// The longest time that an upstream may be given: a client waits for the answer.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// Most addresses of one upstream.
pub const MAX_UPSTREAMS: usize = 16;

/// What stands for the address of the workers' own API, which the server is told.
const WORKERS: &str = "$workers";

/// Methods that may be allowed.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// One synchronous kind.
pub struct SyncSpec {
    /// Its name.
    pub kind: Kind,
    /// One line for people.
    pub summary: String,
    /// Role needed to ask.
    pub required_role: String,
    /// Where it is answered; tried in turn.
    pub upstreams: Vec<Upstream>,
    /// How long the whole answer may take.
    pub timeout: Duration,
    /// The methods that are allowed, in upper case.
    pub methods: Vec<String>,
    input_schema: Value,
    output_schema: Value,
    validator: jsonschema::Validator,
}

/// An address, in which `{name}` in the path stands for a member of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// This path at the workers' own API.
    Workers(String),
    /// A whole URL.
    Url(String),
}

/// A registry file with `mode = "sync"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SyncFile {
    kind: Kind,
    summary: String,
    required_role: String,
    #[serde(rename = "mode")]
    _mode: KindMode,
    upstream: OneOrMany,
    timeout: Option<String>,
    methods: Option<Vec<String>>,
    #[serde(default = "super::anything")]
    pub(super) input_schema: Value,
    #[serde(default = "super::anything")]
    output_schema: Value,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl fmt::Debug for SyncSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSpec")
            .field("kind", &self.kind)
            .field("upstreams", &self.upstreams)
            .finish_non_exhaustive()
    }
}

impl SyncSpec {
    /// Checks what a file says. The error is for the author of the file.
    pub(super) fn read(file: SyncFile) -> Result<Self, String> {
        let timeout = duration("timeout", file.timeout.as_deref().unwrap_or("10s"))?;
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return Err("timeout must be more than 0 s and at most 60 s".to_owned());
        }
        let upstreams = match file.upstream {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        };
        if upstreams.is_empty() || upstreams.len() > MAX_UPSTREAMS {
            return Err(format!("upstream must be 1 to {MAX_UPSTREAMS} addresses"));
        }
        let upstreams = upstreams
            .iter()
            .map(|text| Upstream::read(text))
            .collect::<Result<Vec<_>, _>>()?;
        let methods = file.methods.unwrap_or_else(|| vec!["GET".to_owned()]);
        if methods.is_empty() || methods.iter().any(|m| !METHODS.contains(&m.as_str())) {
            return Err(format!("methods must be some of {}", METHODS.join(", ")));
        }
        let validator = jsonschema::draft202012::new(&file.input_schema)
            .map_err(|e| format!("input_schema is no JSON Schema: {e}"))?;
        jsonschema::draft202012::new(&file.output_schema)
            .map_err(|e| format!("output_schema is no JSON Schema: {e}"))?;
        Ok(Self {
            kind: file.kind,
            summary: file.summary,
            required_role: file.required_role,
            upstreams,
            timeout,
            methods,
            input_schema: file.input_schema,
            output_schema: file.output_schema,
            validator,
        })
    }

    /// Checks an input: the body, or the query as an object of strings. Returns every field that is
    /// wrong, at most 100.
    pub fn check_input(&self, input: &Value) -> Vec<FieldError> {
        self.validator
            .iter_errors(input)
            .take(100)
            .map(|error| violation::tell(&error))
            .collect()
    }

    /// Describes the kind to clients. Where it is answered is not theirs to know.
    pub fn info(&self) -> KindInfo {
        KindInfo {
            kind: self.kind.clone(),
            summary: self.summary.clone(),
            mode: KindMode::Sync,
            methods: self.methods.clone(),
            input_schema: self.input_schema.clone(),
            output_schema: self.output_schema.clone(),
            required_role: self.required_role.clone(),
            max_attempts: 1,
            deadline_seconds: self.timeout.as_secs().max(1),
            start_by_seconds: None,
            attempt_timeout_seconds: None,
            stall_after_seconds: None,
            retry: RetryInfo {
                max_attempts: 1,
                max_attempts_limit: 1,
                ..RetryInfo::default()
            },
            queue: None,
        }
    }
}

impl Upstream {
    fn read(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(WORKERS) {
            if !path.starts_with('/') {
                return Err(format!("upstream {text:?}: a path follows {WORKERS}"));
            }
            return Ok(Self::Workers(path.to_owned()));
        }
        let url = Url::parse(text).map_err(|e| format!("upstream {text:?} is no URL: {e}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(format!("upstream {text:?} is no http or https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("upstream: a credential does not belong into the URL".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("upstream {text:?} must end with its path"));
        }
        let authority = text.split('/').nth(2).unwrap_or_default();
        if authority.contains(['{', '}']) {
            return Err(format!(
                "upstream {text:?}: a member can stand in the path only"
            ));
        }
        Ok(Self::Url(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Registry, RegistryError};
    use super::*;

    fn load(body: &str) -> Result<Registry, String> {
        let mut registry = Registry::built_in().unwrap();
        let added = registry.add("net.list.toml", body);
        added.map(|_| registry).map_err(|error| match error {
            RegistryError::Parse { source, .. } => source.message().to_owned(),
            RegistryError::Invalid { reason, .. } => reason,
            RegistryError::Io { source, .. } => source.to_string(),
        })
    }

    fn file(more: &str) -> String {
        format!(
            "kind = \"net.list\"\nsummary = \"Networks\"\nrequired_role = \"reader\"\nmode = \"sync\"\n{more}"
        )
    }

    #[test]
    fn a_synchronous_kind_is_no_kind_of_job() {
        let registry = load(&file("upstream = \"https://net.example/v1/{zone}\"")).unwrap();
        let kind = "net.list".parse().unwrap();
        assert!(registry.get(&kind).is_none());
        assert!(registry.kinds().all(|spec| spec.kind != kind));
        let spec = registry.sync(&kind).unwrap();
        assert_eq!(spec.methods, ["GET"]);
        assert_eq!(spec.timeout, Duration::from_secs(10));
        let info = spec.info();
        assert_eq!((info.mode, info.max_attempts), (KindMode::Sync, 1));
    }

    #[test]
    fn the_later_file_decides_the_mode_of_a_name() {
        let text = file("upstream = \"https://x.example/\"").replace("net.list", "vm.create");
        let registry = load(&text).unwrap();
        let kind = "vm.create".parse().unwrap();
        assert!(registry.get(&kind).is_none() && registry.sync(&kind).is_some());
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said() {
        for (more, word) in [
            ("", "upstream"),
            ("upstream = []", "1 to 16"),
            ("upstream = \"ftp://x/\"", "http"),
            ("upstream = \"https://joe:pw@x/\"", "credential"),
            ("upstream = \"https://x/?a=b\"", "end with its path"),
            ("upstream = \"https://{host}/\"", "in the path only"),
            ("upstream = \"$workers\"", "a path follows"),
            (
                "upstream = \"https://x/\"\ntimeout = \"2m\"",
                "at most 60 s",
            ),
            (
                "upstream = \"https://x/\"\nmethods = [\"CONNECT\"]",
                "methods",
            ),
            (
                "upstream = \"https://x/\"\nmax_attempts = 3",
                "unknown field",
            ),
        ] {
            let error = load(&file(more)).unwrap_err();
            assert!(error.contains(word), "{more}: {error}");
        }
    }
}
