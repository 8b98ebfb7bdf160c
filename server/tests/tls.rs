//! `vmctl-server` with a certificate, as an operator meets it. Needs no service: probes are answered without.
#![cfg(feature = "backends")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use vmctl_daemon::testing::{Authority, Daemon, Https, Identity, eventually, get};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vmctl-server");
const IN_TIME: Duration = Duration::from_secs(10);

/// A server that shows what its directory holds.
struct Secure {
    daemon: Daemon,
    address: SocketAddr,
    authority: Authority,
    directory: TempDir,
}

impl Secure {
    fn start(more: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("ours");
        let first = authority.issue(&["127.0.0.1"]);
        first.write(directory.path(), "own").unwrap();
        let mut daemon = start(directory.path(), more);
        let address = daemon.address();
        Self {
            daemon,
            address,
            authority,
            directory,
        }
    }

    fn connect(&self) -> Https {
        Https::connect(self.address, &self.authority.pem()).unwrap()
    }

    fn issue(&self) -> Identity {
        let identity = self.authority.issue(&["127.0.0.1"]);
        identity.write(self.directory.path(), "own").unwrap();
        identity
    }

    fn shown(&self) -> Vec<u8> {
        self.connect().certificate().unwrap().to_vec()
    }
}

fn start(directory: &Path, more: &[(&str, &str)]) -> Daemon {
    let path = |file: &str| directory.join(file).display().to_string();
    let (certificate, key) = (path("own.pem"), path("own.key"));
    let mut env = vec![
        ("VMCTL_LISTEN", "127.0.0.1:0"),
        ("VMCTL_TLS_CERT_FILE", &certificate),
        ("VMCTL_TLS_KEY_FILE", &key),
        ("VMCTL_AMQP_URL", "amqp://127.0.0.1:9/%2f"),
        ("VMCTL_REDIS_URL", "redis://127.0.0.1:9/0"),
        ("VMCTL_KEYSTONE_URL", "http://127.0.0.1:9/v3"),
        ("VMCTL_KEYSTONE_USERNAME", "nobody"),
        ("VMCTL_KEYSTONE_PASSWORD", "secret"),
        ("VMCTL_KEYSTONE_PROJECT", "none"),
        ("VMCTL_ID_SECRET", "a secret of a test"),
    ];
    env.extend(more);
    Daemon::start(Path::new(PROGRAM), &[], &env)
}

fn health(address: SocketAddr, certificate: &str) -> Output {
    Command::new(PROGRAM)
        .args(["health", "live"])
        .env_clear()
        .env("VMCTL_LISTEN", address.to_string())
        .env("VMCTL_TLS_CERT_FILE", certificate)
        .output()
        .unwrap()
}

#[test]
fn another_certificate_is_shown_without_a_restart() {
    let mut secure = Secure::start(&[]);
    let mut open = secure.connect();
    assert_eq!(open.get("/health/live").unwrap().0, 200);
    let first = secure.shown();
    secure.issue();
    secure.daemon.line("is read again");
    let second = secure.shown();
    assert_ne!(first, second);
    // By the signal too, which need not wait for the next look.
    secure.issue();
    secure.daemon.signal("HUP");
    eventually("the third is shown", || {
        ![&first, &second].contains(&&secure.shown())
    });
    let third = secure.shown();
    fs::write(secure.directory.path().join("own.pem"), "no certificate").unwrap();
    secure.daemon.signal("HUP");
    let line = secure.daemon.line("the old one stays");
    assert!(line.contains("holds no certificate"), "{line}");
    assert_eq!(secure.shown(), third);
    // What was open all the time is still served.
    assert_eq!(open.get("/health/live").unwrap().0, 200);
    assert_eq!(open.certificate(), Some(&first[..]));
    let (_, metrics) = open.get("/metrics").unwrap();
    for expected in [
        "# HELP tls_certificate_expiry_timestamp_seconds ",
        "\ntls_certificate_expiry_timestamp_seconds ",
    ] {
        assert!(
            metrics.contains(expected),
            "{expected} is not in\n{metrics}"
        );
    }
    secure.daemon.signal("TERM");
    let (code, log) = secure.daemon.end(IN_TIME);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

#[test]
fn probes_and_plain_requests_get_an_answer() {
    let secure = Secure::start(&[]);
    let certificate = secure.directory.path().join("own.pem");
    // An address is no name of the certificate; a file that is about to change does not matter.
    fs::write(&certificate, "no certificate").unwrap();
    let asked = health(secure.address, &certificate.display().to_string());
    assert!(asked.status.success(), "{asked:?}");
    assert!(String::from_utf8_lossy(&asked.stdout).contains("\"ok\""));
    let not_asked = health(secure.address, "");
    assert!(!not_asked.status.success(), "{not_asked:?}");
    let (status, body) = get(secure.address, "/v1").unwrap();
    assert_eq!(status, 400);
    assert!(body.contains("speaks https only"), "{body}");
}

#[test]
fn the_oldest_version_is_a_setting() {
    use rustls::version::{TLS12, TLS13};
    let both = Secure::start(&[]);
    let newest = Secure::start(&[("VMCTL_TLS_MIN_VERSION", "1.3")]);
    for (server, version, spoken) in [
        (&both, &TLS12, true),
        (&both, &TLS13, true),
        (&newest, &TLS12, false),
        (&newest, &TLS13, true),
    ] {
        let connected = Https::connect_by(server.address, &server.authority.pem(), &[version]);
        let version = version.version;
        assert_eq!(connected.is_ok(), spoken, "{version:?}");
        let protocol = connected
            .ok()
            .and_then(|https| https.protocol().map(<[u8]>::to_vec));
        assert_eq!(protocol, spoken.then(|| b"http/1.1".to_vec()));
    }
}

#[test]
fn a_pair_that_cannot_be_used_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let identity = Authority::new("ours").issue(&["127.0.0.1"]);
    let refused = |more: &[(&str, &str)], why: &str| {
        let (code, log) = start(path, more).end(IN_TIME);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(why), "{why} is not in\n{log}");
    };
    refused(&[], "cannot read");
    identity.write(path, "own").unwrap();
    refused(&[("VMCTL_TLS_KEY_FILE", "")], "needs VMCTL_TLS_KEY_FILE");
    fs::set_permissions(path.join("own.key"), Permissions::from_mode(0o644)).unwrap();
    refused(&[], "its mode is 0644");
    // What systemd hands over looks like this.
    let directory = path.display().to_string();
    let mut started = start(path, &[("CREDENTIALS_DIRECTORY", &directory)]);
    started.line("serving");
}
