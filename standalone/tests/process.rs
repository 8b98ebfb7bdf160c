//! `vmctl-standalone` as its user meets it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use vmctl_daemon::reference;
use vmctl_daemon::testing::{Authority, Daemon, Https, get};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vmctl-standalone");
const IN_TIME: Duration = Duration::from_secs(10);

fn start(args: &[&str]) -> Daemon {
    let args = [&["--listen", "127.0.0.1:0"], args].concat();
    Daemon::start(Path::new(PROGRAM), &args, &[])
}

#[test]
fn serves_everything_on_one_address_and_stops_in_time() {
    let mut standalone = start(&["--user", "joe:canary-4711"]);
    let address = standalone.address();
    standalone.line_at_any_time("ready");
    standalone.probe(address, "/health/ready", 200);
    standalone.probe(address, "/health/live", 200);
    let discovery = standalone.probe(address, "/v1", 200);
    assert!(discovery.contains("connect"), "{discovery}");
    let metrics = standalone.probe(address, "/metrics", 200);
    assert!(metrics.contains("# TYPE"), "{metrics}");
    standalone.signal("TERM");
    let (code, said) = standalone.end(IN_TIME);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("from this machine only"), "{said}");
    assert!(said.contains("everything is in memory"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    assert_eq!(get(address, "/health/live"), None);
}

#[test]
fn speaks_https_with_a_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let shown = authority.issue(&["127.0.0.1"]);
    shown.write(directory.path(), "own").unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (certificate, key) = (file("own.pem"), file("own.key"));
    let args = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
    let mut standalone = start(&args);
    let address = standalone.address();
    standalone.line_at_any_time(&format!("listening on https://{address}"));
    standalone.line_at_any_time("ready");
    let mut https = Https::connect(address, &authority.pem()).unwrap();
    assert_eq!(https.get("/health/live").unwrap().0, 200);
    let (status, body) = get(address, "/v1").unwrap();
    assert_eq!(status, 400, "{body}");
}

#[test]
fn makes_a_user_up_when_none_is_given_and_tells_its_password() {
    let mut standalone = start(&[]);
    let line = standalone.line("user demo of project demo, password ");
    let password = line.rsplit_once(' ').unwrap().1;
    assert_eq!(password.len(), 20);
    standalone.signal("INT");
    assert_eq!(standalone.end(IN_TIME).0, Some(0));
}

#[test]
fn a_user_made_up_for_a_data_directory_is_told_once_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let args = ["--data-dir", data.to_str().unwrap()];
    let mut standalone = start(&args);
    let line = standalone.line("user demo of project demo, password ");
    let password = line.rsplit_once(' ').unwrap().1.to_owned();
    standalone.signal("TERM");
    let (code, said) = standalone.end(IN_TIME);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("everything is in memory"), "{said}");
    let users = fs::read_to_string(data.join("users")).unwrap();
    assert!(users.contains("demo:demo:$argon2id$"), "{users}");
    assert!(!users.contains(&password), "{users}");
    for file in ["users", "id-secret", "journal.redb", "format"] {
        let mode = fs::metadata(data.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let mode = fs::metadata(&data).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    let mut standalone = start(&args);
    standalone.line_at_any_time("ready");
    standalone.signal("TERM");
    let (code, said) = standalone.end(IN_TIME);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("password"), "{said}");
}

#[test]
fn a_data_directory_that_cannot_be_used_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let args = ["--user", "joe:1234", "--data-dir", data.to_str().unwrap()];
    let mut first = start(&args);
    first.line_at_any_time("ready");
    let mut second = start(&args);
    let (code, said) = second.end(IN_TIME);
    assert_eq!(code, Some(1), "{said}");
    let busy = format!("another process uses {}", data.display());
    assert!(said.contains(&busy), "{said}");
    first.signal("TERM");
    assert_eq!(first.end(IN_TIME).0, Some(0));

    let journal = data.join("journal.redb");
    let length = fs::metadata(&journal).unwrap().len();
    let file = fs::File::options().write(true).open(&journal).unwrap();
    file.set_len(length / 2).unwrap();
    let mut third = start(&args);
    let (code, said) = third.end(IN_TIME);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the journal is damaged"), "{said}");
}

#[test]
fn a_first_start_writes_nothing_into_a_directory_that_another_one_has() {
    let dir = tempfile::tempdir().unwrap();
    let lock = fs::File::create(dir.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let (code, said) = start(&["--data-dir", dir.path().to_str().unwrap()]).end(IN_TIME);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another process uses"), "{said}");
    assert!(!said.contains("password"), "{said}");
    let files = fs::read_dir(dir.path()).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["lock"]);
}

#[test]
fn what_is_gone_from_a_directory_in_use_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "--data-dir",
        dir.path().to_str().unwrap(),
        "--user",
        "joe:1234",
    ];
    let mut standalone = start(&args);
    standalone.line_at_any_time("ready");
    standalone.signal("TERM");
    assert_eq!(standalone.end(IN_TIME).0, Some(0));
    for name in ["machines", "id-secret"] {
        let (path, away) = (dir.path().join(name), dir.path().join("away"));
        fs::rename(&path, &away).unwrap();
        let (code, said) = start(&args).end(IN_TIME);
        assert_eq!(code, Some(1), "{said}");
        let missing = format!("{} is missing or empty", path.display());
        assert!(said.contains(&missing), "{said}");
        fs::rename(&away, &path).unwrap();
    }
    let (code, said) = start(&["--data-dir", ""]).end(IN_TIME);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--data-dir: the path is empty"), "{said}");
}

#[test]
fn a_user_that_cannot_be_read_is_refused_without_repeating_it() {
    let mut standalone = start(&["--user", "joe:canary:demo:x"]);
    let (code, said) = standalone.end(IN_TIME);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--user: a user is NAME:PASSWORD"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn a_printed_hash_goes_into_a_users_file() {
    let mut print = Command::new(PROGRAM)
        .arg("print-hash")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    print.stdin.take().unwrap().write_all(b"1234\n").unwrap();
    let hash = String::from_utf8(print.wait_with_output().unwrap().stdout).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    fs::write(&file, format!("joe:demo:{hash}")).unwrap();
    let mut standalone = start(&["--users-file", file.to_str().unwrap()]);
    standalone.line_at_any_time("ready");
    standalone.signal("TERM");
    let (code, said) = standalone.end(IN_TIME);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("password"), "{said}");
}

#[test]
fn the_page_of_settings_says_what_it_takes() {
    let output = Command::new(PROGRAM).arg("reference").output().unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let printed = String::from_utf8(output.stdout).unwrap();
    reference::check(&page, "vmctl-standalone", &printed).unwrap();
}
