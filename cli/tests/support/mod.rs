//! A fake server and a way to run the binary, for the process tests.
//!
//! The server is raw sockets and a closure, because most of what it must be able to do is wrong:
//! cut a connection in the middle, answer nothing, lie about lengths.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "each test binary uses its own part, and a test that cannot go on has failed"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A token as Keystone makes them.
pub const TOKEN: &str = "gAAAAABtest-token-that-must-never-be-printed";

/// The id of the job in most tests.
pub const ID: &str = "7fda68b7-b4de-85a6-99fd-57b019cf19ae";

/// How long a condition may take to come true on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One request, as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// How many requests came before this one.
    pub number: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path() == path
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What the fake does with a request.
pub enum Reply {
    /// Status, more headers, body.
    Json(u16, Vec<(&'static str, String)>, Value),
    /// These bytes, as they are, then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, as they are, then nothing until the client leaves.
    Hangs(Vec<u8>),
    /// Nothing, until the client leaves.
    Silence,
}

impl Reply {
    pub fn ok(body: Value) -> Self {
        Self::Json(200, Vec::new(), body)
    }

    pub fn problem(status: u16, slug: &str, more: &Value) -> Self {
        let mut body = json!({"type": format!("/problems/{slug}"), "title": format!("Title of {slug}"), "status": status});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        Self::Json(status, Vec::new(), body)
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Json(_, headers, _) = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

/// The fake server; it lives as long as the test process.
pub struct Fake {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    /// A server that polls must do for: it has no streams, and does not count requests for them.
    pub fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(reply, false)
    }

    /// A server whose streams are its own to answer, too.
    pub fn streaming(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(reply, true)
    }

    fn with(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static, streams: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reply = Arc::new(reply);
        let counter = Arc::new(AtomicUsize::new(0));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (reply, counter, log) =
                    (Arc::clone(&reply), Arc::clone(&counter), Arc::clone(&log));
                thread::spawn(move || serve(stream, streams, &*reply, &counter, &log));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so many requests have come.
    pub fn wait_for(&self, count: usize) {
        eventually("requests", || self.seen.lock().unwrap().len() >= count);
    }
}

/// Says in an answer that its connection ends with it, as it does: a client that kept the connection might
/// send its next request just when it is closed.
fn closing(mut answer: Vec<u8>) -> Vec<u8> {
    if let Some(at) = answer.windows(2).position(|pair| pair == b"\r\n") {
        answer.splice(at..at, *b"\r\nConnection: close");
    }
    answer
}

fn serve(
    mut stream: TcpStream,
    streams: bool,
    reply: &(dyn Fn(&Request) -> Reply + Send + Sync),
    counter: &AtomicUsize,
    log: &Mutex<Vec<Request>>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return;
    };
    if !streams && target.starts_with("/v1/events") {
        // Read to the end: a connection that is closed before is reset.
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        let _ =
            stream.write_all(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    }
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        body: String::new(),
        number: counter.fetch_add(1, Ordering::SeqCst),
    };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        request.headers.push((name.to_owned(), value.to_owned()));
    }
    let length = request
        .header("content-length")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    request.body = String::from_utf8(body).unwrap();
    log.lock().unwrap().push(request.clone());
    let bytes = match reply(&request) {
        Reply::Silence => {
            let _ = reader.read(&mut [0]);
            return;
        }
        Reply::Hangs(bytes) => {
            let _ = stream.write_all(&bytes);
            let _ = reader.read(&mut [0]);
            return;
        }
        Reply::Raw(bytes) => closing(bytes),
        Reply::Json(status, headers, body) => {
            let media = if status >= 400 {
                "application/problem+json"
            } else {
                "application/json"
            };
            let body = if status == 304 {
                String::new()
            } else {
                body.to_string()
            };
            let mut text = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: {media}\r\nContent-Length: {}\r\nConnection: close\r\n",
                body.len()
            );
            for (name, value) in headers {
                text.extend([name, ": ", value.as_str(), "\r\n"]);
            }
            format!("{text}\r\n{body}").into_bytes()
        }
    };
    let _ = stream.write_all(&bytes);
}

/// A job as the server sends it; `change` replaces members.
pub fn job(id: &str, state: &str, change: &Value) -> Value {
    let terminal = ["succeeded", "failed", "cancelled"].contains(&state);
    let mut job = json!({
        "id": id, "kind": "vm.create", "state": state, "terminal": terminal,
        "project_id": "p1", "owner": {"user_id": "u1", "user_name": "joe"},
        "input": {"vm_hostname": "lxabc01", "vm_profile": "Micro"}, "output": null, "error": null,
        "progress": null, "attempt": 1, "max_attempts": 5, "epoch": 0, "labels": {},
        "created_at": "2026-11-23T17:43:00Z", "started_at": null,
        "finished_at": if terminal { json!("2026-11-23T17:44:34Z") } else { Value::Null },
        "next_attempt_at": null, "deadline": "2026-11-24T17:43:00Z", "expires_at": "2026-11-25T17:43:00Z",
        "cancel_requested_at": null, "request_id": "req-1",
        "links": {"self": "/v1/jobs/x", "events": "/v1/jobs/x/events", "cancel": "/v1/jobs/x/cancel"},
    });
    for (key, value) in change.as_object().unwrap() {
        job[key] = value.clone();
    }
    job
}

/// A home of its own, in which the binary runs.
pub struct Home {
    pub root: TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Prepares the binary: nothing of the caller's environment reaches it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmctl"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.root.path())
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the binary with a token against a server.
    pub fn run(&self, fake: &Fake, arguments: &[&str]) -> Ran {
        self.run_with(fake, arguments, &[("VMCTL_TOKEN", TOKEN)])
    }

    pub fn run_with(&self, fake: &Fake, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = self.command(arguments);
        command
            .env("VMCTL_ENDPOINT", fake.url())
            .envs(env.iter().copied());
        Ran::of(&mut command)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

/// What a run left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        let started = Instant::now();
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        Self::from(output, started)
    }

    pub fn with_input(command: &mut Command, input: &str) -> Self {
        let started = Instant::now();
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // A child that refuses early does not read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Self::from(child.wait_with_output().unwrap(), started)
    }

    pub fn from(output: Output, started: Instant) -> Self {
        let ran = Self {
            // A process that a signal ended has no code.
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            took: started.elapsed(),
        };
        assert!(
            !ran.stdout.contains(TOKEN) && !ran.stderr.contains(TOKEN),
            "the token was printed: {ran:?}"
        );
        ran
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// Waits for a condition, with patience.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what} did not come");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Says that a test cannot run here; fails where everything must be there.
pub fn skip(why: &str) {
    assert!(
        std::env::var_os("VMCTL_TEST_STRICT").is_none_or(|v| v != "1"),
        "{why}"
    );
    eprintln!("skipped: {why}");
}

/// Says whether a program is installed.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
        || Path::new("/usr/bin").join(program).is_file()
}
