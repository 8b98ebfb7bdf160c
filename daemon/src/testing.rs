//! A daemon as a test sees it from outside: started, probed, signalled, waited for.
//!
//! Also what such tests need of real services: their addresses, and a virtual host of one's own.
#![expect(
    clippy::missing_panics_doc,
    clippy::expect_used,
    reason = "a panic is a failed test"
)]

mod authority;
mod https;
mod port;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

pub use authority::{Authority, Identity};
pub use https::Https;
pub use port::free_port;

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A program that runs, and ends with the test.
pub struct Daemon {
    child: Child,
    lines: Receiver<String>,
    log: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already, or gone now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts a program with these arguments and no environment but this; logs are JSON.
    pub fn start(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("VMCTL_LOG_FORMAT", "json")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (send, lines) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        forward(stdout.expect("it is a pipe"), send.clone());
        forward(stderr.expect("it is a pipe"), send);
        Self {
            child,
            lines,
            log: String::new(),
        }
    }

    /// Waits for a line, of the log or of the output, that holds a text, and returns it.
    pub fn line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.log.push_str(&line);
                    self.log.push('\n');
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no line with {text:?} in {PATIENCE:?}:\n{}", self.log)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without a line with {text:?}:\n{}", self.log)
                }
            }
        }
    }

    /// As [`Self::line`], for a line that may have come before others that were waited for: log and
    /// output are two streams without an order between them.
    pub fn line_at_any_time(&mut self, text: &str) -> String {
        match self.log.lines().find(|line| line.contains(text)) {
            Some(line) => line.to_owned(),
            None => self.line(text),
        }
    }

    /// Waits for the log line that gives the address of the probes.
    pub fn address(&mut self) -> SocketAddr {
        let line = self.line_at_any_time("\"address\"");
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        let address = line["address"].as_str().expect("a text");
        address.parse().expect("an address")
    }

    /// Waits until a probe answers with a status; returns the body.
    pub fn probe(&mut self, address: SocketAddr, path: &str, status: u16) -> String {
        let started = Instant::now();
        loop {
            let last = get(address, path);
            match last {
                Some((got, body)) if got == status => return body,
                _ if started.elapsed() < PATIENCE => pause(),
                last => {
                    self.collect();
                    panic!(
                        "{path} does not answer {status} but {last:?}:\n{}",
                        self.log
                    );
                }
            }
        }
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &command]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{command}");
    }

    /// Kills it as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for its end, at most `limit`; the exit code, and everything it said.
    pub fn end(&mut self, limit: Duration) -> (Option<i32>, String) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            if started.elapsed() > limit {
                self.collect();
                panic!("still there after {limit:?}:\n{}", self.log);
            }
            pause();
        };
        // Both pipes are closed now: the channel ends.
        while let Ok(line) = self.lines.recv_timeout(READ_TIMEOUT) {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        (status.code(), std::mem::take(&mut self.log))
    }

    fn collect(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.log.push_str(&line);
            self.log.push('\n');
        }
    }
}

fn forward(pipe: impl Read + Send + 'static, lines: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { return };
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

/// Sends one GET; status and body, or nothing if there was no answer.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(READ_TIMEOUT)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text.split_once("\r\n\r\n")?.1.to_owned()))
}

/// Looks at a condition until it holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        pause();
    }
}

/// Between two looks at a condition; the loop around it has a bound.
#[expect(
    clippy::disallowed_methods,
    reason = "a process outside can only be polled"
)]
fn pause() {
    thread::sleep(Duration::from_millis(20));
}

/// The values of environment variables that tell where real services are. When one is absent, says
/// that the test did nothing, or fails if `VMCTL_TEST_STRICT` is 1.
#[expect(clippy::print_stderr, reason = "a test says that it did nothing")]
pub fn services<const N: usize>(names: [&str; N]) -> Option<[String; N]> {
    if let Some(absent) = names.iter().find(|name| env::var(name).is_err()) {
        let strict = env::var("VMCTL_TEST_STRICT").is_ok_and(|strict| strict == "1");
        assert!(!strict, "{absent} is not set");
        eprintln!("nothing tested: {absent} is not set");
        return None;
    }
    Some(names.map(|name| env::var(name).unwrap_or_default()))
}

/// A virtual host of a real RabbitMQ, deleted at the end.
pub struct Vhost {
    api: String,
    name: String,
}

impl Vhost {
    /// Makes one, through the management API whose address holds user and password.
    pub fn new(api: &str, name: &str) -> Self {
        let vhost = Self {
            api: api.to_owned(),
            name: format!("{name}-{}", std::process::id()),
        };
        vhost.call("PUT", &format!("/vhosts/{}", vhost.name), None);
        vhost
    }

    /// Its address, made from that of another virtual host of the same broker.
    pub fn url(&self, other: &str) -> String {
        let (base, _) = other.rsplit_once('/').expect("an address with a path");
        format!("{base}/{}", self.name)
    }

    /// Declares a queue with these arguments, as JSON.
    pub fn declare(&self, queue: &str, arguments: &str) {
        let body = format!(r#"{{"durable":true,"auto_delete":false,"arguments":{arguments}}}"#);
        self.call(
            "PUT",
            &format!("/queues/{}/{queue}", self.name),
            Some(&body),
        );
    }

    /// Deletes a queue.
    pub fn delete(&self, queue: &str) {
        self.call("DELETE", &format!("/queues/{}/{queue}", self.name), None);
    }

    /// Throws away what waits in a queue.
    pub fn purge(&self, queue: &str) {
        self.call(
            "DELETE",
            &format!("/queues/{}/{queue}/contents", self.name),
            None,
        );
    }

    /// Publishes whatever the management API takes for a message, with any properties.
    pub fn publish(&self, exchange: &str, message: &serde_json::Value) {
        let path = format!("/exchanges/{}/{exchange}/publish", self.name);
        self.call("POST", &path, Some(&message.to_string()));
    }

    fn call(&self, method: &str, path: &str, body: Option<&str>) {
        let mut curl = Command::new("curl")
            .args(["-sS", "--fail-with-body", "--max-time", "60", "-X", method])
            .args(["-H", "content-type: application/json"])
            .args(body.map_or(vec![], |_| vec!["--data-binary", "@-"]))
            .arg(format!("{}{path}", self.api))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("curl starts");
        let mut stdin = curl.stdin.take().expect("it is a pipe");
        // Curl says why if it does not read.
        let _ = stdin.write_all(body.unwrap_or_default().as_bytes());
        drop(stdin);
        let output = curl.wait_with_output().expect("curl ends");
        assert!(
            output.status.success() || thread::panicking(),
            "{method} {path}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        self.call("DELETE", &format!("/vhosts/{}", self.name), None);
    }
}
