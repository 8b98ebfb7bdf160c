//! Brokers for tests: a fresh virtual host for each case, a relay whose connections can be cut, and
//! a second node that may be broken.
//!
//! Addresses come from the environment. Where one is absent the test says so and passes, unless
//! `VMCTL_TEST_STRICT` is 1.

#![allow(dead_code, reason = "each test binary uses the part that it needs")]
#![allow(clippy::print_stderr, reason = "a test that cannot run says so")]

pub mod relay;

use std::{
    process::Output,
    sync::atomic::{AtomicU32, Ordering},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
};
use url::Url;

/// Names the variables of one broker.
#[derive(Clone, Copy)]
pub struct Node {
    amqp: &'static str,
    api: &'static str,
    /// What the services script calls it.
    pub service: &'static str,
}

/// The broker that stays well.
pub const MAIN: Node = Node {
    amqp: "VMCTL_TEST_AMQP_URL",
    api: "VMCTL_TEST_RABBITMQ_API",
    service: "rabbitmq",
};

/// The broker that tests break.
pub const VICTIM: Node = Node {
    amqp: "VMCTL_TEST_VICTIM_AMQP_URL",
    api: "VMCTL_TEST_VICTIM_RABBITMQ_API",
    service: "victim",
};

/// Reads a variable that a test needs.
pub fn required(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        assert!(
            std::env::var("VMCTL_TEST_STRICT").as_deref() != Ok("1"),
            "{name} is not set"
        );
        eprintln!("skipped: {name} is not set");
    }
    value
}

/// A virtual host with nothing in it.
pub struct Vhost {
    pub url: Url,
    pub name: String,
    api: Url,
}

impl Vhost {
    /// Makes one, or says that there is no broker.
    pub async fn create(node: Node, case: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut url: Url = required(node.amqp)?.parse().unwrap();
        let api: Url = required(node.api)?.parse().unwrap();
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{next}-{case}", std::process::id());
        call(&api, "PUT", &format!("vhosts/{name}"), "{}").await;
        let all = r#"{"configure":".*","write":".*","read":".*"}"#;
        let path = format!("permissions/{name}/{}", api.username());
        call(&api, "PUT", &path, all).await;
        url.set_path(&name);
        Some(Self { url, name, api })
    }

    /// Returns the first number of the broker's version.
    pub async fn version(&self) -> u32 {
        let overview = call(&self.api, "GET", "overview", "").await;
        let (_, version) = overview.split_once("\"rabbitmq_version\":\"").unwrap();
        version.split_once('.').unwrap().0.parse().unwrap()
    }

    /// Removes it with all that is in it.
    pub async fn delete(self) {
        call(&self.api, "DELETE", &format!("vhosts/{}", self.name), "").await;
    }
}

/// Makes one call to the management API, and expects success; what it answered.
async fn call(api: &Url, method: &str, path: &str, body: &str) -> String {
    let (host, port) = (api.host_str().unwrap(), api.port().unwrap());
    let credentials = format!("{}:{}", api.username(), api.password().unwrap_or(""));
    let request = format!(
        "{method} {}/{path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Basic {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        api.path(),
        BASE64_STANDARD.encode(credentials),
        body.len()
    );
    let mut stream = TcpStream::connect((host, port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap_or("");
    assert!(status.starts_with('2'), "{method} {path}: {answer}");
    answer
}

/// Runs the script that has the brokers, and expects success.
pub async fn services(arguments: &[&str]) -> Option<Output> {
    let script = required("VMCTL_TEST_SERVICES")?;
    let output = Command::new(script)
        .args(arguments)
        .output()
        .await
        .expect("the services script starts");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    Some(output)
}

/// Returns how many threads this process has.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}
