//! A standalone as a process, and a client of it that survives its crashes.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use vmctl_daemon::testing::{Daemon, free_port};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_vmctl-standalone");

/// How long a test waits for what must come; more than it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at what must come.
const LOOK: Duration = Duration::from_millis(20);

/// An address that nothing listens on.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// Starts a standalone; it may still be reading its journal.
pub fn start(address: SocketAddr, data: &Path, duration: &str) -> Daemon {
    let (address, data) = (address.to_string(), data.to_str().unwrap());
    let user = ["--user", "joe:1234"];
    let args = [&["--listen", &address, "--data-dir", data], &user[..]].concat();
    let env = [
        ("VMCTL_SIMULATED_DURATION", duration),
        ("VMCTL_LOG", "warn,vmctl_standalone=info"),
    ];
    Daemon::start(Path::new(PROGRAM), &args, &env)
}

/// One who submits and asks.
#[derive(Clone)]
pub struct Caller {
    http: Client,
    url: String,
    token: String,
}

impl Caller {
    /// Logs in as soon as it can.
    pub async fn login(address: SocketAddr) -> Self {
        vmctl_daemon::install_crypto();
        let http = Client::builder()
            .timeout(Duration::from_secs(20))
            .no_proxy();
        let mut caller = Self {
            http: http.build().unwrap(),
            url: format!("http://{address}"),
            token: String::new(),
        };
        let body = json!({"login": "joe", "password": "1234"});
        let token = eventually("a token", async || {
            let request = caller.http.post(format!("{}/v1/connect", caller.url));
            let answer = request.json(&body).send().await.ok()?;
            let answer = answer.error_for_status().ok()?.json::<Value>().await.ok()?;
            Some(answer["access"]["token"]["id"].as_str()?.to_owned())
        });
        caller.token = token.await;
        caller
    }

    /// Asks for a machine; no answer is an answer too.
    pub async fn create(&self, key: &str) -> Option<(StatusCode, Value, Option<String>)> {
        let input = json!({
            "vm_hostname": key, "vm_profile": "Micro", "vm_region": "GreaterParis",
            "vm_desc": "", "app_env": "DEV", "app_trigram": "vmc",
        });
        let request = self.http.post(format!("{}/v1/jobs", self.url));
        let request = request.header("X-Auth-Token", &self.token);
        let request = request.header("Idempotency-Key", key);
        let request = request.json(&json!({"kind": "vm.create", "input": input}));
        let answer = request.send().await.ok()?;
        let again = answer.headers().get("Retry-After");
        let again = again
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let status = answer.status();
        Some((status, answer.json().await.ok()?, again))
    }

    /// Asks for a machine until it is promised, and returns the job.
    pub async fn create_surely(&self, key: &str) -> String {
        eventually("a promised machine", async || {
            match self.create(key).await? {
                (StatusCode::ACCEPTED | StatusCode::OK, body, _) => {
                    Some(body["id"].as_str()?.to_owned())
                }
                (StatusCode::SERVICE_UNAVAILABLE, ..) => None,
                (status, body, _) => panic!("{status}: {body}"),
            }
        })
        .await
    }

    /// Looks at a job.
    pub async fn get(&self, id: &str) -> Option<(StatusCode, Value)> {
        let request = self.http.get(format!("{}/v1/jobs/{id}", self.url));
        let answer = request
            .header("X-Auth-Token", &self.token)
            .send()
            .await
            .ok()?;
        let status = answer.status();
        Some((status, answer.json().await.ok()?))
    }

    /// Waits for the end of a job; that it is not known is a failure at any time.
    pub async fn end_of(&self, id: &str) -> Value {
        eventually(&format!("the end of {id}"), async || {
            let (status, job) = self.get(id).await?;
            let is_known = matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE);
            assert!(is_known, "{id}: {status} {job}");
            let ends = ["succeeded", "failed", "cancelled"];
            ends.contains(&job["state"].as_str()?).then_some(job)
        })
        .await
    }
}

/// Waits until there is something.
pub async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, waiting).await;
    found.unwrap_or_else(|_| panic!("not in {PATIENCE:?}: {what}"))
}
