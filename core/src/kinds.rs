//! The kind registry: what may be asked for, as data.
//!
//! A kind is one TOML file; ours are built in, a team adds its own by a directory of such files. A
//! kind says which input is allowed, who may ask, how long it may take and how it is retried. It
//! does not say how the work is done: that is the worker's, in any language.

mod check;
mod sync;
mod violation;

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use vmctl_api_types::{FieldError, Kind, KindInfo, KindMode, Profile, Region};

use crate::{
    flow::{self, Step},
    retry::{RetryPolicy, RetryTable},
    unique::{Scope, Template, Unique},
};

pub use check::{CheckedFile, check_directory};
pub use sync::{SyncSpec, Upstream};

/// Longest deadline that a kind or a caller may set.
pub const MAX_DEADLINE: Duration = Duration::from_secs(8 * 24 * 3600);

/// Most attempts that a kind may give.
pub const MAX_ATTEMPTS: u32 = 100;

const BUILT_IN: [(&str, &str); 8] = [
    (
        "ansible.run.toml",
        include_str!("../data/kinds/ansible.run.toml"),
    ),
    (
        "callback.deliver.toml",
        include_str!("../data/kinds/callback.deliver.toml"),
    ),
    ("flow.run.toml", include_str!("../data/kinds/flow.run.toml")),
    (
        "vm.create.toml",
        include_str!("../data/kinds/vm.create.toml"),
    ),
    (
        "vm.delete.toml",
        include_str!("../data/kinds/vm.delete.toml"),
    ),
    ("vm.list.toml", include_str!("../data/kinds/vm.list.toml")),
    ("vm.show.toml", include_str!("../data/kinds/vm.show.toml")),
    (
        "vm.provision.toml",
        include_str!("../data/kinds/vm.provision.toml"),
    ),
];

/// A registry file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The directory or file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{file} does not parse")]
    Parse {
        /// Which.
        file: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value breaks a rule.
    #[error("{file}: {reason}")]
    Invalid {
        /// Which.
        file: String,
        /// The rule.
        reason: String,
    },
}

/// All kinds, profiles and regions.
#[derive(Debug)]
pub struct Registry {
    kinds: BTreeMap<Kind, KindSpec>,
    synchronous: BTreeMap<Kind, SyncSpec>,
    profiles: Vec<Profile>,
    regions: Vec<Region>,
}

/// One kind.
pub struct KindSpec {
    /// Its name.
    pub kind: Kind,
    /// One line for people.
    pub summary: String,
    /// Role needed to submit it.
    pub required_role: String,
    /// From submission, or from `run_at`, to the end, unless the caller says otherwise.
    pub deadline: Duration,
    /// Whether only the suite itself asks for it. Clients are not told of it and cannot submit it.
    pub internal: bool,
    /// From the same instant until a worker must have started it; `None` = any time.
    pub start_by: Option<Duration>,
    /// How long one attempt may take over all its slices; `None` = until the deadline.
    pub attempt_timeout: Option<Duration>,
    /// How long a handler may report nothing; `None` = as long as a slice may take.
    pub stall_after: Option<Duration>,
    /// The longest slice, for a handler that cannot divide its work; `None` = as the worker is set.
    pub slice_limit: Option<Duration>,
    /// What is done when an attempt has failed.
    pub retry: RetryPolicy,
    /// The key that each of its jobs holds.
    unique: Option<(Template, Scope)>,
    /// The key of what other jobs made that is free once one of its jobs has succeeded.
    frees: Option<Template>,
    /// The steps of a flow; `None` for a kind that has a worker of its own.
    pub steps: Option<Vec<Step>>,
    input_schema: Value,
    output_schema: Value,
    validator: jsonschema::Validator,
}

impl fmt::Debug for KindSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KindSpec")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Loads what is built in.
    ///
    /// # Errors
    ///
    /// None in a build whose tests pass.
    pub fn built_in() -> Result<Self, RegistryError> {
        let mut registry = Self::catalog()?;
        for (file, text) in BUILT_IN {
            registry.add(file, text)?;
        }
        registry.check_flows()?;
        Ok(registry)
    }

    /// Loads what is built in and the `*.toml` files of a directory. A file may replace a built-in
    /// kind; two files of one kind are an error.
    ///
    /// # Errors
    ///
    /// The first file that cannot be used.
    pub fn with_directory(directory: &Path) -> Result<Self, RegistryError> {
        let mut registry = Self::built_in()?;
        for file in registry.load(directory)? {
            file.outcome?;
        }
        registry.check_flows()?;
        Ok(registry)
    }

    /// Takes a kind out, and every flow that asks for it: where nobody runs it, its jobs would only wait for
    /// their deadlines.
    pub fn leave_out(&mut self, kind: &str) {
        let mut gone = vec![kind.to_owned()];
        while let Some(kind) = gone.pop() {
            self.kinds.retain(|name, _| name.as_str() != kind);
            let flows = self.kinds.values().filter(|flow| flow.asks_for(&kind));
            gone.extend(flows.map(|flow| flow.kind.to_string()));
        }
    }

    /// Flows name other kinds, so they can be checked only when all are there.
    fn check_flows(&self) -> Result<(), RegistryError> {
        match flow::check_all(self).into_iter().next() {
            None => Ok(()),
            Some((kind, reason)) => Err(RegistryError::Invalid {
                file: kind.to_string(),
                reason,
            }),
        }
    }

    fn catalog() -> Result<Self, RegistryError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Catalog {
            profile: Vec<Profile>,
            region: Vec<Region>,
        }
        let Catalog { profile, region } =
            parse("catalog.toml", include_str!("../data/catalog.toml"))?;
        Ok(Self {
            kinds: BTreeMap::new(),
            synchronous: BTreeMap::new(),
            profiles: profile,
            regions: region,
        })
    }

    /// Adds what a file describes; returns the kind, and whether there was one of that name.
    fn add(&mut self, file: &str, text: &str) -> Result<(Kind, bool), RegistryError> {
        let invalid = |reason| RegistryError::Invalid {
            file: file.to_owned(),
            reason,
        };
        let Mode { mode } = parse(file, text)?;
        if mode == KindMode::Sync {
            let mut parsed: sync::SyncFile = parse(file, text)?;
            self.fill(&mut parsed.input_schema);
            let spec = SyncSpec::read(parsed).map_err(invalid)?;
            let kind = spec.kind.clone();
            let job = self.kinds.remove(&kind).is_some();
            let other = self.synchronous.insert(kind.clone(), spec).is_some();
            Ok((kind, job || other))
        } else {
            let spec = self.read(parse(file, text)?).map_err(invalid)?;
            let kind = spec.kind.clone();
            let sync = self.synchronous.remove(&kind).is_some();
            let other = self.kinds.insert(kind.clone(), spec).is_some();
            Ok((kind, sync || other))
        }
    }

    fn read(&self, file: KindFile) -> Result<KindSpec, String> {
        let deadline = duration("deadline", file.deadline.as_deref().unwrap_or("24h"))?;
        if deadline.is_zero() || deadline > MAX_DEADLINE {
            return Err("deadline must be more than 0 s and at most 8 d".to_owned());
        }
        let start_by = limit("start_by", file.start_by.as_deref(), deadline)?;
        let attempt_timeout = limit("attempt_timeout", file.attempt_timeout.as_deref(), deadline)?;
        let stall_after = limit("stall_after", file.stall_after.as_deref(), deadline)?;
        let slice_limit = limit("slice_limit", file.slice_limit.as_deref(), deadline)?;
        let retry = file.retry.read()?;
        let mut input_schema = file.input_schema;
        self.fill(&mut input_schema);
        let validator = jsonschema::draft202012::new(&input_schema)
            .map_err(|e| format!("input_schema is no JSON Schema: {e}"))?;
        jsonschema::draft202012::new(&file.output_schema)
            .map_err(|e| format!("output_schema is no JSON Schema: {e}"))?;
        Ok(KindSpec {
            kind: file.kind,
            summary: file.summary,
            required_role: file.required_role,
            deadline,
            internal: file.internal,
            start_by,
            attempt_timeout,
            stall_after,
            slice_limit,
            retry,
            unique: file
                .unique
                .map(|unique| template("unique.key", &unique.key).map(|key| (key, unique.scope)))
                .transpose()?,
            frees: file
                .frees
                .map(|text| template("frees", &text))
                .transpose()?,
            steps: (!file.step.is_empty()).then_some(file.step),
            input_schema,
            output_schema: file.output_schema,
            validator,
        })
    }

    /// Replaces `enum = ["$profiles"]` and `enum = ["$regions"]` by the names there are.
    fn fill(&self, schema: &mut Value) {
        match schema {
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    match value.as_array().map(Vec::as_slice) {
                        Some([Value::String(name)]) if key == "enum" && name == "$profiles" => {
                            *value = self.profiles.iter().map(|p| p.name.as_str()).collect();
                        }
                        Some([Value::String(name)]) if key == "enum" && name == "$regions" => {
                            *value = self.regions.iter().map(|r| r.name.as_str()).collect();
                        }
                        _ => self.fill(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item)),
            _ => {}
        }
    }

    /// Finds a kind of job.
    pub fn get(&self, kind: &Kind) -> Option<&KindSpec> {
        self.kinds.get(kind)
    }

    /// Returns all kinds of job, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &KindSpec> {
        self.kinds.values()
    }

    /// Finds a synchronous kind.
    pub fn sync(&self, kind: &Kind) -> Option<&SyncSpec> {
        self.synchronous.get(kind)
    }

    /// Returns all synchronous kinds, by name.
    pub fn sync_kinds(&self) -> impl Iterator<Item = &SyncSpec> {
        self.synchronous.values()
    }

    /// Describes a kind of either mode to clients, who are not told of internal ones.
    pub fn info(&self, kind: &Kind) -> Option<KindInfo> {
        let job = self.get(kind).filter(|k| !k.internal).map(KindSpec::info);
        job.or_else(|| self.sync(kind).map(SyncSpec::info))
    }

    /// Describes all kinds of both modes to clients, by name; internal ones not.
    pub fn infos(&self) -> Vec<KindInfo> {
        let jobs = self.kinds().filter(|k| !k.internal).map(KindSpec::info);
        let mut all: Vec<_> = jobs.chain(self.sync_kinds().map(SyncSpec::info)).collect();
        all.sort_by(|a, b| a.kind.cmp(&b.kind));
        all
    }

    /// Returns all profiles, smallest first.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// Returns all regions.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }
}

impl KindSpec {
    /// Checks an input. Returns every field that is wrong, at most 100.
    pub fn check_input(&self, input: &Value) -> Vec<FieldError> {
        self.validator
            .iter_errors(input)
            .take(100)
            .map(|error| violation::tell(&error))
            .collect()
    }

    /// Returns the key that a job with this input holds; `None` when the kind wants none, or the input
    /// has not what it is made of.
    pub fn unique(&self, input: &Value) -> Option<Unique> {
        let (template, scope) = self.unique.as_ref()?;
        Some(Unique {
            key: template.fill(input)?,
            scope: *scope,
            queue: false,
        })
    }

    /// Returns the key that a job with this input frees when it succeeds.
    pub fn frees(&self, input: &Value) -> Option<String> {
        self.frees.as_ref()?.fill(input)
    }

    /// Says whether a step of its flow, or what undoes one, is a job of this kind.
    fn asks_for(&self, kind: &str) -> bool {
        self.step_kinds().any(|step| step.as_str() == kind)
    }

    /// Returns the kinds of the steps of its flow, and of what undoes them.
    pub fn step_kinds(&self) -> impl Iterator<Item = &Kind> {
        let steps = self.steps.iter().flatten();
        steps.flat_map(|step| {
            let undo = step.undo.as_ref().map(|undo| &undo.kind);
            std::iter::once(&step.kind).chain(undo)
        })
    }

    /// Returns the schema that inputs are checked against.
    pub fn input_schema(&self) -> &Value {
        &self.input_schema
    }

    /// Describes the kind to clients.
    pub fn info(&self) -> KindInfo {
        KindInfo {
            kind: self.kind.clone(),
            summary: self.summary.clone(),
            mode: KindMode::Async,
            methods: Vec::new(),
            input_schema: self.input_schema.clone(),
            output_schema: self.output_schema.clone(),
            required_role: self.required_role.clone(),
            max_attempts: self.retry.max_attempts,
            deadline_seconds: self.deadline.as_secs(),
            start_by_seconds: self.start_by.map(|limit| limit.as_secs()),
            attempt_timeout_seconds: self.attempt_timeout.map(|limit| limit.as_secs()),
            stall_after_seconds: self.stall_after.map(|limit| limit.as_secs()),
            retry: self.retry.info(),
            queue: None,
        }
    }
}

/// What decides how the rest of a file is read.
#[derive(Debug, Deserialize)]
struct Mode {
    #[serde(default)]
    mode: KindMode,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KindFile {
    kind: Kind,
    summary: String,
    required_role: String,
    #[serde(default, rename = "mode")]
    _mode: KindMode,
    deadline: Option<String>,
    start_by: Option<String>,
    attempt_timeout: Option<String>,
    stall_after: Option<String>,
    slice_limit: Option<String>,
    #[serde(default)]
    retry: RetryTable,
    #[serde(default)]
    internal: bool,
    unique: Option<UniqueFile>,
    frees: Option<String>,
    /// The steps, for a flow.
    #[serde(default)]
    step: Vec<Step>,
    input_schema: Value,
    #[serde(default = "anything")]
    output_schema: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UniqueFile {
    key: String,
    scope: Scope,
}

fn template(name: &str, text: &str) -> Result<Template, String> {
    text.parse().map_err(|error| format!("{name}: {error}"))
}

fn anything() -> Value {
    Value::Bool(true)
}

fn parse<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, RegistryError> {
    toml::from_str(text).map_err(|source| RegistryError::Parse {
        file: file.to_owned(),
        source: Box::new(source),
    })
}

/// Reads an optional limit: whole seconds, at least one, at most what the kind's deadline allows.
fn limit(name: &str, text: Option<&str>, deadline: Duration) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let limit = duration(name, text)?;
    if limit < Duration::from_secs(1) || limit.subsec_nanos() != 0 || limit > deadline {
        return Err(format!(
            "{name} must be whole seconds, at least 1 s and at most the deadline"
        ));
    }
    Ok(Some(limit))
}

/// Reads the duration of a key.
pub(crate) fn duration(name: &str, text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| format!("{name}: {text:?} is not a duration such as 90s or 2h"))
}

/// Reads `90s`, `5m`, `2h`, `1d` or an ISO 8601 duration such as `PT2H`, to the second and without
/// sign.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let span: jiff::SignedDuration = match text.strip_suffix('d') {
        Some(days) => {
            let days: i64 = days.parse().ok()?;
            jiff::SignedDuration::from_secs(days.checked_mul(86_400)?)
        }
        None if text.starts_with('P') => {
            let span: jiff::Span = text.parse().ok()?;
            span.to_duration(jiff::SpanRelativeTo::days_are_24_hours())
                .ok()?
        }
        None => text.parse().ok()?,
    };
    Duration::try_from(span).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn registry() -> Registry {
        Registry::built_in().unwrap()
    }

    fn vm() -> Value {
        json!({"app_env": "DEV", "app_trigram": "string", "vm_desc": "string",
               "vm_hostname": "lxstring", "vm_profile": "Micro", "vm_region": "GreaterParis"})
    }

    fn errors(kind: &str, input: &Value) -> Vec<(String, String)> {
        registry()
            .get(&kind.parse().unwrap())
            .unwrap()
            .check_input(input)
            .into_iter()
            .map(|e| (e.pointer, e.code))
            .collect()
    }

    #[test]
    fn a_good_input_passes() {
        assert_eq!(errors("vm.create", &vm()), []);
        assert_eq!(errors("vm.delete", &json!({"vm_hostname": "lx1"})), []);
    }

    #[test]
    fn every_wrong_field_is_named() {
        for (field, value, code) in [
            ("app_env", json!("TEST"), "enum"),
            ("app_env", json!(1), "enum"),
            ("app_trigram", json!(""), "pattern"),
            ("app_trigram", json!("a".repeat(33)), "pattern"),
            ("vm_desc", json!("a\u{0}b"), "pattern"),
            ("vm_desc", json!("é".repeat(1025)), "max-length"),
            ("vm_desc", json!(null), "type"),
            ("vm_hostname", json!("web01"), "pattern"),
            ("vm_hostname", json!("lx.web"), "pattern"),
            ("vm_hostname", json!("-lx"), "pattern"),
            ("vm_hostname", json!("lx\n"), "pattern"),
            ("vm_hostname", json!("lx".repeat(32)), "max-length"),
            ("vm_profile", json!("Huge"), "enum"),
            ("vm_region", json!("Mars"), "enum"),
        ] {
            let mut input = vm();
            input[field] = value;
            let found = errors("vm.create", &input);
            assert!(
                found.contains(&(format!("/{field}"), code.to_owned())),
                "{field}: {found:?}"
            );
        }
        let mut input = vm();
        input.as_object_mut().unwrap().remove("vm_region");
        input["colour"] = json!("red");
        let mut found = errors("vm.create", &input);
        found.sort();
        assert_eq!(
            found,
            [
                ("/colour".to_owned(), "unknown-field".to_owned()),
                ("/vm_region".to_owned(), "required".to_owned())
            ]
        );
        assert_eq!(
            errors("vm.create", &json!([])),
            [(String::new(), "type".to_owned())]
        );
    }

    #[test]
    fn a_machine_holds_its_name_and_its_deletion_frees_it() {
        let registry = registry();
        let kind = |name: &str| registry.get(&name.parse().unwrap()).unwrap();
        let held = kind("vm.create").unique(&json!({"vm_hostname": "lxWeb"}));
        let free = kind("vm.delete").frees(&json!({"vm_hostname": "LXweb"}));
        let held = held.unwrap();
        assert_eq!((held.key.as_str(), held.scope), ("vm:lxweb", Scope::Result));
        assert_eq!(free, Some("vm:lxweb".to_owned()));
        assert_eq!(kind("vm.delete").unique(&vm()), None);
        assert_eq!(kind("vm.create").frees(&vm()), None);
    }

    #[test]
    fn an_unknown_key_in_a_file_is_an_error() {
        let directory = std::env::temp_dir().join(format!("kinds-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(
            directory.join("a.toml"),
            "kind = \"a.b\"\nsummary = \"x\"\nrequired_role = \"member\"\nretrys = 3\n[input_schema]\n",
        )
        .unwrap();
        let error = Registry::with_directory(&directory).unwrap_err();
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(
            matches!(&error, RegistryError::Parse { source, .. } if source.to_string().contains("retrys"))
        );
    }

    #[test]
    fn a_kind_that_is_left_out_takes_its_flows_along() {
        let mut registry = registry();
        let has = |registry: &Registry, kind: &str| registry.get(&kind.parse().unwrap()).is_some();
        assert!(has(&registry, "vm.provision"));
        registry.leave_out("ansible.run");
        for gone in ["ansible.run", "vm.provision"] {
            assert!(!has(&registry, gone), "{gone}");
        }
        assert!(has(&registry, "vm.create") && has(&registry, "flow.run"));
    }

    #[test]
    fn durations_are_short_or_iso() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("2h", Some(7200)),
            ("1h 30m", Some(5400)),
            ("8d", Some(691_200)),
            ("PT2H", Some(7200)),
            ("P1D", Some(86_400)),
            ("-5s", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text).map(|d| d.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn limits_are_whole_seconds_within_the_deadline() {
        let kind = |line: &str| {
            let text = format!(
                "kind = \"a.b\"\nsummary = \"x\"\nrequired_role = \"member\"\ndeadline = \"1h\"\n{line}\n[input_schema]\n"
            );
            let mut registry = registry();
            registry.add("a.toml", &text).map(|_| registry)
        };
        let name = "a.b".parse().unwrap();
        let registry = kind("stall_after = \"90s\"").unwrap();
        let spec = registry.get(&name).unwrap();
        assert_eq!(spec.stall_after, Some(Duration::from_secs(90)));
        assert_eq!(spec.info().stall_after_seconds, Some(90));
        assert_eq!((spec.start_by, spec.attempt_timeout), (None, None));
        for key in ["start_by", "attempt_timeout", "stall_after", "slice_limit"] {
            for value in ["0s", "61m", "1500ms", "soon"] {
                let error = kind(&format!("{key} = \"{value}\"")).unwrap_err();
                assert!(error.to_string().contains(key), "{error}");
            }
        }
    }
}
