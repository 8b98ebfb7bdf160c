//! What is shown when, decided without a socket.
#![cfg(feature = "testing")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use metrics_exporter_prometheus::PrometheusBuilder;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

use super::*;
use crate::testing::{Authority, Identity};

/// A directory with a pair that is shown.
struct Shown {
    directory: TempDir,
    authority: Authority,
    tls: Tls,
    watch: Watch,
}

impl Shown {
    fn new() -> (Self, Identity) {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("ours");
        let first = authority.issue(&["127.0.0.1"]);
        first.write(directory.path(), "own").unwrap();
        let (tls, watch) = Tls::open(&settings(directory.path())).unwrap().unwrap();
        let shown = Self {
            directory,
            authority,
            tls,
            watch,
        };
        (shown, first)
    }

    fn files(&self) -> Files {
        files(self.directory.path())
    }

    /// Looks once, and says whether this is shown.
    fn shows(&mut self, identity: &Identity, told: bool) -> bool {
        let read = self.files().read();
        self.watch.look(read.map_err(Into::into), told);
        let shown = self.tls.current.0.read().unwrap();
        let der = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
        shown.cert[0] == der
    }
}

fn files(directory: &Path) -> Files {
    Files {
        certificate: directory.join("own.pem"),
        key: directory.join("own.key"),
    }
}

fn settings(directory: &Path) -> TlsSettings {
    let Files { certificate, key } = files(directory);
    TlsSettings {
        cert_file: Some(certificate),
        key_file: Some(key),
        min_version: Parsed(MinVersion::V12),
    }
}

#[test]
fn another_pair_is_shown_and_a_bad_one_is_not() {
    let (mut shown, first) = Shown::new();
    assert!(shown.shows(&first, false));
    let path = shown.directory.path().to_owned();
    let second = shown.authority.issue(&["127.0.0.1"]);
    second.write(&path, "own").unwrap();
    assert!(shown.shows(&second, false));
    let expired = shown.authority.issue_expired(&["127.0.0.1"]);
    expired.write(&path, "own").unwrap();
    assert!(shown.shows(&second, false));
    // A key that is not the certificate's.
    fs::write(path.join("own.pem"), &first.certificate).unwrap();
    assert!(shown.shows(&second, true));
    for (file, text) in [("own.pem", "no PEM"), ("own.key", "no PEM")] {
        second.write(&path, "own").unwrap();
        fs::write(path.join(file), text).unwrap();
        assert!(shown.shows(&second, false), "{file}");
    }
    fs::remove_file(path.join("own.key")).unwrap();
    assert!(shown.shows(&second, false));
    first.write(&path, "own").unwrap();
    assert!(shown.shows(&first, false));
}

#[test]
fn a_link_that_points_elsewhere_is_another_pair() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let pairs = ["one", "two"].map(|name| {
        let identity = authority.issue(&["127.0.0.1"]);
        let place = directory.path().join(name);
        fs::create_dir(&place).unwrap();
        identity.write(&place, "own").unwrap();
        // As secrets are mounted: everybody on the mount may read them.
        fs::set_permissions(place.join("own.key"), Permissions::from_mode(0o644)).unwrap();
        identity
    });
    let data = directory.path().join("data");
    symlink("one", &data).unwrap();
    for file in ["own.pem", "own.key"] {
        symlink(Path::new("data").join(file), directory.path().join(file)).unwrap();
    }
    let (tls, watch) = Tls::open(&settings(directory.path())).unwrap().unwrap();
    let mut shown = Shown {
        directory,
        authority,
        tls,
        watch,
    };
    assert!(shown.shows(&pairs[0], false));
    let next = data.with_extension("next");
    symlink("two", &next).unwrap();
    fs::rename(next, data).unwrap();
    assert!(shown.shows(&pairs[1], false));
}

#[test]
fn a_start_needs_both_files_and_a_key_of_ones_own() {
    let (shown, first) = Shown::new();
    let path = shown.directory.path();
    let refused = |settings: &TlsSettings| {
        let opened = Tls::open(settings);
        format!("{:#}", opened.err().expect("it is refused"))
    };
    let whole = settings(path);
    let no_key = TlsSettings {
        key_file: None,
        ..whole.clone()
    };
    assert!(refused(&no_key).contains("VMCTL_TLS_CERT_FILE needs VMCTL_TLS_KEY_FILE"));
    let no_certificate = TlsSettings {
        cert_file: None,
        ..whole.clone()
    };
    assert!(refused(&no_certificate).contains("VMCTL_TLS_KEY_FILE needs VMCTL_TLS_CERT_FILE"));
    let nothing = TlsSettings {
        key_file: None,
        ..no_certificate
    };
    assert!(Tls::open(&nothing).unwrap().is_none());
    for mode in [0o640, 0o604] {
        fs::set_permissions(path.join("own.key"), Permissions::from_mode(mode)).unwrap();
        let why = refused(&whole);
        assert!(why.contains("can be read by others"), "{why}");
    }
    first.write(path, "own").unwrap();
    fs::write(path.join("own.pem"), "").unwrap();
    let why = refused(&whole);
    assert!(why.contains("holds no certificate"), "{why}");
    let other = shown.authority.issue(&["127.0.0.1"]);
    fs::write(path.join("own.pem"), &other.certificate).unwrap();
    let why = refused(&whole);
    assert!(why.contains("is not that of the certificate"), "{why}");
    assert!(!why.contains(&first.key), "{why}");
}

#[test]
fn the_end_of_the_certificate_is_a_metric() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let text = metrics::with_local_recorder(&recorder, || {
        let (shown, _) = Shown::new();
        let expired = shown.authority.issue_expired(&["127.0.0.1"]);
        expired.write(shown.directory.path(), "own").unwrap();
        // One that has ended is shown at a start: whoever looks can see what is wrong.
        Tls::open(&settings(shown.directory.path())).unwrap();
        recorder.handle().render()
    });
    let line = text
        .lines()
        .find(|line| line.starts_with(EXPIRY))
        .expect("it is there");
    let (_, at) = line.rsplit_once(' ').unwrap();
    assert_eq!(at, "1609372800", "2020-12-31");
}
