//! A process from outside: it starts, answers its probes, and ends when it is told to.
//!
//! The process is this test binary run again, with [`CHILD`] saying what it does.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and its child talks to it"
)]

use std::env;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::{self, Child, Command, Stdio};
use std::time::{Duration, Instant};

use vmctl_daemon::{HealthServer, Listen, Process, Program, Status};

/// What the child does when it is told to stop.
const CHILD: &str = "VMCTL_DAEMON_TEST_CHILD";
/// The child's arguments, separated by spaces.
const ARGS: &str = "VMCTL_DAEMON_TEST_ARGS";
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

vmctl_daemon::settings! {
    /// What the child needs to know.
    struct Settings {
        /// Address of health and metrics
        "health.listen" = "127.0.0.1:0" => health_listen: Listen,
    }
}

async fn component(settings: Settings, process: Process, what: String) -> anyhow::Result<()> {
    let health = HealthServer::bind(settings.health_listen)?;
    process
        .health
        .check("bus", || Status::Degraded("blocked".into()));
    if let Some(server) = health {
        println!("listening {}", server.address());
        server.serve(process.health.router().merge(process.metrics.router()))?;
    }
    metrics::counter!("vmctl_test_total").increment(1);
    println!("child is up");
    match what.as_str() {
        "stop" => return Ok(()),
        "fail" => anyhow::bail!("the floor is gone"),
        _ => {}
    }
    process.health.set_started();
    process.shutdown.cancelled().await;
    println!("draining");
    if what == "stuck" {
        // Also the runtime is busy: neither signals nor the end may depend on it.
        tokio::task::spawn_blocking(|| std::thread::park_timeout(PATIENCE * 3));
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Not a test of its own: it is the child of the others, and returns at once elsewhere.
#[test]
fn child() {
    let Ok(what) = env::var(CHILD) else { return };
    let program = Program::new("child", "1.2.3", "A test");
    let settings = |settings, process| component(settings, process, what);
    // The arguments of the test harness are not the program's.
    let given = env::var(ARGS).unwrap_or_default();
    let args = std::iter::once("child").chain(given.split_whitespace());
    let code = vmctl_daemon::main_from(&program, args, settings);
    process::exit(code.into());
}

struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(what: &str, env: &[(&str, &str)]) -> Self {
        Self::start_with(what, env, Stdio::piped())
    }

    fn start_with(what: &str, env: &[(&str, &str)], stderr: Stdio) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, what)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for a line that holds a word; what follows the word. The test runner's own bound ends
    /// a child that says nothing: the line or the end of the output always comes.
    fn line(&mut self, word: &str) -> String {
        loop {
            let line = self.lines.next().expect("the child ended").unwrap();
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    /// The exit code, and what was logged.
    fn end(&mut self) -> (Option<i32>, String) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < PATIENCE, "the child does not end");
            pause();
        };
        let mut log = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut log).unwrap();
        }
        (status.code(), log)
    }
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let code = text.split(' ').nth(1).unwrap().parse().unwrap();
    (code, text.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Between two looks at a condition; the loop around it has a bound.
#[expect(
    clippy::disallowed_methods,
    reason = "a process outside can only be polled"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        pause();
    }
}

#[test]
fn a_first_signal_drains_and_exits_with_zero() {
    for signal in ["TERM", "INT"] {
        let mut child = Running::start("drain", &[("VMCTL_LOG_FORMAT", "json")]);
        child.line("listening");
        child.signal(signal);
        child.line("draining");
        let (code, log) = child.end();
        assert_eq!(code, Some(0), "{log}");
        for line in log.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect(line);
        }
        assert!(log.contains("stopping"), "{log}");
    }
}

#[test]
fn systemd_hears_when_the_process_has_started_and_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut message = [0; 64];
        let length = systemd.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let env = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("VMCTL_DRAIN_TIMEOUT", "300ms"),
    ];
    let child = Running::start("stuck", &env);
    assert_eq!(heard(), "READY=1\n");
    child.signal("TERM");
    assert_eq!(heard(), "STOPPING=1\n");
}

#[test]
fn the_journal_gets_priorities_and_nobody_else() {
    let mut journal = tempfile::tempfile().unwrap();
    let is = journal.metadata().unwrap();
    let stream = format!("{}:{}", is.dev(), is.ino());
    for (stream, start) in [(stream.as_str(), "<6>{"), ("1:1", "{")] {
        let stderr = journal.try_clone().unwrap();
        let mut child = Running::start_with("drain", &[("JOURNAL_STREAM", stream)], stderr.into());
        child.line("child is up");
        child.signal("TERM");
        assert_eq!(child.end().0, Some(0));
        let mut log = String::new();
        journal.rewind().unwrap();
        journal.read_to_string(&mut log).unwrap();
        journal.set_len(0).unwrap();
        journal.rewind().unwrap();
        assert!(log.starts_with(start), "{log}");
        assert!(log.lines().all(|line| line.ends_with('}')), "{log}");
    }
}

#[test]
fn a_second_signal_ends_at_once_with_its_own_code() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut child = Running::start("stuck", &[("VMCTL_DRAIN_TIMEOUT", "1h")]);
        child.line("listening");
        child.signal("TERM");
        child.line("draining");
        let before = Instant::now();
        child.signal(signal);
        let (got, log) = child.end();
        assert_eq!(got, Some(code), "{log}");
        assert!(before.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn a_drain_that_does_not_end_is_ended() {
    let mut child = Running::start("stuck", &[("VMCTL_DRAIN_TIMEOUT", "300ms")]);
    child.line("listening");
    child.signal("TERM");
    let (code, log) = child.end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("still draining"), "{log}");
}

#[test]
fn a_component_that_stops_or_fails_by_itself_is_an_error() {
    for (what, said) in [("stop", "stopped by itself"), ("fail", "the floor is gone")] {
        let (code, log) = Running::start(what, &[]).end();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(said), "{log}");
    }
}

#[test]
fn probes_follow_the_life_of_the_process() {
    let mut child = Running::start("stuck", &[("VMCTL_DRAIN_TIMEOUT", "1h")]);
    let address: SocketAddr = child.line("listening").parse().unwrap();
    eventually("started", || get(address, "/health/startup").0 == 200);
    assert_eq!(get(address, "/health/live").0, 200);
    let (code, body) = get(address, "/health/ready");
    assert_eq!(code, 200, "{body}");
    assert!(body.contains(r#""reason":"blocked""#), "{body}");
    let (code, body) = get(address, "/metrics");
    assert_eq!(code, 200);
    assert!(body.contains("vmctl_test_total 1"), "{body}");
    child.signal("TERM");
    eventually("not ready", || get(address, "/health/ready").0 == 503);
    assert_eq!(get(address, "/health/live").0, 200);
}

#[test]
fn a_client_that_sends_nothing_is_closed() {
    let mut child = Running::start("drain", &[]);
    let address: SocketAddr = child.line("listening").parse().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /health/live HTTP/1.1\r\nX-Slow: ")
        .unwrap();
    let before = Instant::now();
    let mut rest = Vec::new();
    // Closed or reset, and long before the patience ends.
    let _ = stream.read_to_end(&mut rest);
    assert!(before.elapsed() < PATIENCE / 2);
}

#[test]
fn a_wrong_setting_stops_the_start_with_two() {
    let mut child = Running::start("drain", &[("VMCTL_DRAIN_TIMEOUT", "soon")]);
    let (code, log) = child.end();
    assert_eq!(code, Some(2), "{log}");
    assert!(
        log.contains("child: VMCTL_DRAIN_TIMEOUT: \"soon\" is not a duration"),
        "{log}"
    );
}

#[test]
fn health_can_be_off() {
    let mut child = Running::start("drain", &[("VMCTL_HEALTH_LISTEN", "off")]);
    child.line("child is up");
    child.signal("TERM");
    let (code, log) = child.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("are served"), "{log}");
}

#[test]
fn a_process_is_asked_how_it_is_by_its_own_program() {
    let ask = |address: &str, probe: &str| {
        let args = format!("health {probe}");
        let env = [(ARGS, args.as_str()), ("VMCTL_HEALTH_LISTEN", address)];
        let mut asking = Running::start("drain", &env);
        let said: Vec<_> = asking.lines.by_ref().map(Result::unwrap).collect();
        let (code, complaint) = asking.end();
        (code, said.join("\n"), complaint)
    };
    let mut child = Running::start("stuck", &[("VMCTL_DRAIN_TIMEOUT", "1h")]);
    let address = child.line("listening");
    eventually("started", || ask(&address, "startup").0 == Some(0));
    let (code, said, complaint) = ask(&address, "");
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.contains(r#""reason":"blocked""#), "{said}");
    child.signal("TERM");
    child.line("draining");
    let (code, _, complaint) = ask(&address, "ready");
    assert_eq!(code, Some(1), "{complaint}");
    assert!(
        complaint.contains(r#"child: {"status":"failing""#),
        "{complaint}"
    );
    assert_eq!(ask(&address, "live").0, Some(0));
    drop(child);
    let (code, _, complaint) = ask(&address, "live");
    assert_eq!(code, Some(1), "{complaint}");
    assert!(
        complaint.contains("no answer from 127.0.0.1"),
        "{complaint}"
    );
    let (code, _, complaint) = ask("off", "live");
    assert_eq!(code, Some(1), "{complaint}");
    assert!(
        complaint.contains("VMCTL_HEALTH_LISTEN is off"),
        "{complaint}"
    );
}
