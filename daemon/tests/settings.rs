//! Settings as an operator meets them: layers, errors, secrets, and what is printed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Command};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;
use vmctl_daemon::settings::{Section, Setting, SettingsError, Values, declared, effective};
use vmctl_daemon::{Listen, SecretUrl, reference};

const CANARY: &str = "canary-4711";

vmctl_daemon::settings! {
    /// Where the broker is.
    struct Amqp {
        /// Addresses of the broker
        "amqp.url" = "amqp://127.0.0.1:5672/%2f" => url: Vec<SecretUrl>,
        /// Channels to publish on
        "amqp.channels" = "32" => channels: u16,
    }
}

vmctl_daemon::settings! {
    /// What a test needs to know.
    struct Settings {
        /// Address that the API listens on
        "listen" = "127.0.0.1:8080" => listen: Listen,
        /// Secret of the ids
        ///
        /// The same everywhere.
        "id_secret" => id_secret: SecretString,
        /// Project of those who name none
        "connect_project" => connect_project: Option<String>,
        /// Life of an ended job
        "job_ttl" = "24h" => job_ttl: Duration,
        ..amqp: Amqp,
    }
}

/// A directory, an environment and a command line that a test owns.
struct Edge {
    dir: TempDir,
    file: Option<PathBuf>,
    env: HashMap<String, String>,
    flags: Vec<String>,
}

impl Edge {
    /// With the one required setting.
    fn new() -> Self {
        Self::empty().env("VMCTL_ID_SECRET", CANARY)
    }

    fn empty() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            file: None,
            env: HashMap::new(),
            flags: Vec::new(),
        }
    }

    fn file(mut self, text: &str) -> Self {
        let path = self.dir.path().join("settings.toml");
        fs::write(&path, text).unwrap();
        self.file = Some(path);
        self
    }

    /// A file with a secret; its path.
    fn secret(&self, text: &str) -> String {
        let path = self.dir.path().join("secret");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn flag(mut self, flag: &str, value: &str) -> Self {
        self.flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    fn values(&self) -> Result<Values, SettingsError> {
        let settings = declared::<Settings>();
        let command =
            Command::new("test").args(settings.iter().map(|s| Arg::new(s.key).long(s.flag())));
        let flags =
            command.get_matches_from(std::iter::once(&"test".to_owned()).chain(&self.flags));
        let env = |name: &str| self.env.get(name).map(OsString::from);
        Values::load(settings, self.file.as_deref(), &env, &flags)
    }

    fn read(&self) -> Result<Settings, SettingsError> {
        Settings::read(&self.values()?)
    }

    /// The error as a person reads it, the path of the directory left out.
    fn refused(&self) -> String {
        let error = anyhow::Error::from(self.read().unwrap_err());
        let text = format!("{error:#}");
        assert!(!text.contains(CANARY), "a secret is in: {text}");
        text.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

#[test]
fn defaults_then_file_then_environment_then_flags() {
    let ttl = |edge: Edge| edge.read().unwrap().job_ttl.as_secs();
    let file = "job_ttl = '2h'";
    assert_eq!(ttl(Edge::new()), 86_400);
    assert_eq!(ttl(Edge::new().file(file)), 7_200);
    assert_eq!(ttl(Edge::new().file(file).env("VMCTL_JOB_TTL", "3m")), 180);
    let all = Edge::new().file(file).env("VMCTL_JOB_TTL", "3m");
    assert_eq!(ttl(all.flag("--job-ttl", "4s")), 4);
    // An empty variable, as compose files leave them, is none.
    assert_eq!(ttl(Edge::new().file(file).env("VMCTL_JOB_TTL", "")), 7_200);
}

#[test]
fn every_form_can_be_written_in_the_file() {
    let settings = Edge::empty()
        .file(
            "listen = 'off'\nid_secret = 's'\n[amqp]\nurl = ['amqp://a/', 'amqps://b/']\nchannels = 4\n",
        )
        .read()
        .unwrap();
    assert_eq!(settings.listen, Listen::Off);
    assert_eq!(settings.connect_project, None);
    assert_eq!(settings.amqp.channels, 4);
    let urls: Vec<_> = settings.amqp.url.iter().map(SecretUrl::expose).collect();
    assert_eq!(urls, ["amqp://a/", "amqps://b/"]);
}

#[test]
fn errors_name_the_place() {
    for (edge, said) in [
        (
            Edge::empty(),
            "VMCTL_ID_SECRET is not set: Secret of the ids (or the file named by \
             VMCTL_ID_SECRET_FILE, or `id_secret` in the settings file)",
        ),
        (
            Edge::new().file("listn = 'off'"),
            "unknown key `listn` in settings.toml",
        ),
        (
            Edge::new().file("[amqp]\nurls = 'amqp://a/'"),
            "unknown key `amqp.urls` in settings.toml",
        ),
        (
            Edge::new().file("amqp = 'amqp://a/'"),
            "unknown key `amqp` in settings.toml",
        ),
        (
            Edge::new().file("[amqp]\nchannels = 'many'"),
            "`amqp.channels` in settings.toml is a string, expected a number or a boolean",
        ),
        (
            Edge::new().file("[amqp]\nchannels = -1"),
            "`amqp.channels` in settings.toml: \"-1\" is not a whole number from 0 to 65535",
        ),
        (
            Edge::new().file("job_ttl = '24'"),
            "`job_ttl` in settings.toml: \"24\" is not a duration, such as 90s, 5m or 24h",
        ),
        (
            Edge::new().env("VMCTL_JOB_TTL", "soon"),
            "VMCTL_JOB_TTL: \"soon\" is not a duration, such as 90s, 5m or 24h",
        ),
        (
            Edge::new().flag("--listen", "8080"),
            "--listen: \"8080\" is not an address and a port, such as 127.0.0.1:8080 or \
             [::]:8080, or off",
        ),
        (
            Edge::new().env("VMCTL_AMQP_URL", CANARY),
            "VMCTL_AMQP_URL: not a URL, such as amqp://127.0.0.1:5672/%2f",
        ),
    ] {
        assert_eq!(edge.refused(), said);
    }
}

#[test]
fn a_syntax_error_names_the_line_and_quotes_nothing_of_it() {
    let said = Edge::new()
        .file(&format!("listen = 'off'\nid_secret = {CANARY}\"\n"))
        .refused();
    assert!(said.starts_with("settings.toml, line 2: "), "{said}");
}

#[test]
fn an_absent_file_is_an_error() {
    let mut edge = Edge::new();
    edge.file = Some(edge.dir.path().join("absent.toml"));
    let said = edge.refused();
    assert!(
        said.starts_with("cannot read the settings file absent.toml: No such file"),
        "{said}"
    );
}

#[test]
fn a_secret_comes_from_a_file_without_its_last_newline() {
    for (content, secret) in [
        ("s3cret", "s3cret"),
        ("s3cret\n", "s3cret"),
        ("s\n\n", "s\n"),
    ] {
        let keeper = Edge::empty();
        let path = keeper.secret(content);
        let by_env = Edge::empty().env("VMCTL_ID_SECRET_FILE", &path);
        let by_key = Edge::empty().file(&format!("id_secret_file = '{path}'"));
        let by_flag = Edge::empty().flag("--id-secret-file", &path);
        for edge in [by_env, by_key, by_flag] {
            let read = edge.read().unwrap();
            assert_eq!(read.id_secret.expose_secret(), secret);
        }
    }
}

#[test]
fn a_secret_and_its_file_are_not_both_set() {
    let edge = Edge::new().env("VMCTL_ID_SECRET_FILE", "secret");
    assert_eq!(
        edge.refused(),
        "VMCTL_ID_SECRET and VMCTL_ID_SECRET_FILE are both set: choose one"
    );
    let edge = Edge::empty().file("id_secret = 'a'\nid_secret_file = 'b'");
    assert_eq!(
        edge.refused(),
        "`id_secret` in settings.toml and `id_secret_file` in settings.toml are both set: choose one"
    );
    // Another layer replaces, as for every setting.
    let edge = Edge::empty().file("id_secret_file = 'absent'");
    assert!(edge.refused().contains("named by `id_secret_file`"));
    let edge = Edge::empty();
    let path = edge.secret("from the environment");
    let edge = edge
        .file("id_secret = 'from the file'")
        .env("VMCTL_ID_SECRET_FILE", &path);
    assert_eq!(
        edge.read().unwrap().id_secret.expose_secret(),
        "from the environment"
    );
}

#[test]
fn a_secret_file_that_others_can_read_is_an_error() {
    let edge = Edge::empty();
    let path = edge.secret(CANARY);
    for mode in [0o640, 0o604, 0o644] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let edge = Edge::empty().env("VMCTL_ID_SECRET_FILE", &path);
        let told = format!("can be read by others than its owner: its mode is {mode:04o}");
        assert!(edge.refused().ends_with(&told), "{}", edge.refused());
    }
}

#[test]
fn a_secret_file_that_is_absent_or_empty_is_an_error() {
    let edge = Edge::empty();
    let path = edge.secret("\n");
    let said = edge.env("VMCTL_ID_SECRET_FILE", &path).refused();
    assert_eq!(said, "VMCTL_ID_SECRET_FILE: secret is empty");
    let edge = Edge::empty().env("VMCTL_ID_SECRET_FILE", "/absent/file");
    assert!(
        edge.refused()
            .starts_with("cannot read /absent/file, named by VMCTL_ID_SECRET_FILE: No such file")
    );
}

#[test]
fn what_is_printed_has_no_secret_and_can_be_read_again() {
    let edge = Edge::new()
        .file("[amqp]\nchannels = 4")
        .env("VMCTL_AMQP_URL", "amqp://joe:canary-4711@one/,amqp://two/")
        .flag("--job-ttl", "90s");
    let printed = effective(&edge.values().unwrap());
    let printed = printed.replace(&format!("{}/", edge.dir.path().display()), "");
    assert_eq!(
        printed,
        "listen = \"127.0.0.1:8080\"\n\
         # id_secret: set, not shown # VMCTL_ID_SECRET\n\
         # connect_project: not set\n\
         job_ttl = \"90s\" # --job-ttl\n\
         \n\
         [amqp]\n\
         # url: [\"amqp://***@one/\", \"amqp://two/\"], redacted # VMCTL_AMQP_URL\n\
         channels = 4 # `amqp.channels` in settings.toml\n"
    );
    assert!(!format!("{:?}", edge.read().unwrap()).contains(CANARY));
    let again = Edge::new().file(&printed).read().unwrap();
    assert_eq!(again.job_ttl, Duration::from_secs(90));
    assert_eq!(again.amqp.channels, 4);
}

#[test]
fn a_required_setting_that_is_absent_is_printed_as_such() {
    let printed = effective(&Edge::empty().values().unwrap());
    assert!(
        printed.contains("# id_secret: REQUIRED, not set\n"),
        "{printed}"
    );
}

#[test]
fn no_secret_has_a_flag() {
    for setting in declared::<Settings>() {
        assert_eq!(setting.flag().ends_with("-file"), setting.secret);
    }
}

#[test]
fn the_reference_has_a_line_for_each_setting() {
    let settings: Vec<Setting> = declared::<Settings>();
    let table = reference::table(&settings);
    assert_eq!(table.lines().count(), 2 + settings.len());
    assert!(table.contains("| `VMCTL_LISTEN` | `listen` | `127.0.0.1:8080` |"));
    assert!(table.contains("| `VMCTL_ID_SECRET` or `…_FILE` | `id_secret` | required |"));
}
