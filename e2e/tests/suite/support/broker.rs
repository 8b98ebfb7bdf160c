//! A virtual host of a real RabbitMQ, and the broker that may be broken.

use std::{
    env,
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use vmctl_daemon::testing::{Identity, free_port};

use super::{environment::var, wait::eventually};

/// The variables of one broker.
#[derive(Clone, Copy)]
pub struct Node {
    pub amqp: &'static str,
    pub api: &'static str,
}

/// The broker that stays well.
pub const MAIN: Node = Node {
    amqp: "VMCTL_TEST_AMQP_URL",
    api: "VMCTL_TEST_RABBITMQ_API",
};

/// The broker that tests stop.
pub const VICTIM: Node = Node {
    amqp: "VMCTL_TEST_VICTIM_AMQP_URL",
    api: "VMCTL_TEST_VICTIM_RABBITMQ_API",
};

/// What the services script calls [`VICTIM`].
const VICTIM_SERVICE: &str = "victim";

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The right to break [`VICTIM`]: one test at a time, in this process and in others.
pub struct Victim {
    _thread: MutexGuard<'static, ()>,
    _process: File,
}

impl Victim {
    /// Waits for the right, and starts the broker if it was left stopped.
    pub async fn take() -> Result<Self> {
        let thread = ONE_AT_A_TIME.lock().await;
        let part = format!("{}/{VICTIM_SERVICE}/kind", var("VMCTL_TEST_SERVICES_DIR")?);
        let process = File::open(&part).with_context(|| part.clone())?;
        let process = tokio::task::spawn_blocking(move || process.lock().map(|()| process));
        let victim = Self {
            _thread: thread,
            _process: process.await??,
        };
        victim.start().await?;
        Ok(victim)
    }

    /// Stops it; its data stays.
    pub async fn stop(&self) -> Result<()> {
        self.order("stop").await
    }

    /// Starts it again.
    pub async fn start(&self) -> Result<()> {
        self.order("start").await
    }

    /// Makes it silent: its connections stay open.
    pub async fn freeze(&self) -> Result<()> {
        self.order("freeze").await
    }

    /// Lets it answer again.
    pub async fn thaw(&self) -> Result<()> {
        self.order("thaw").await
    }

    /// Gives the services script one order.
    async fn order(&self, verb: &str) -> Result<()> {
        let output = script(verb)?.kill_on_drop(true).output().await?;
        ensure!(
            output.status.success(),
            "{verb} {VICTIM_SERVICE}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Makes it well again, whatever was done to it: also what comes after a failure finds it so.
    pub fn mend() {
        for verb in ["thaw", "start"] {
            // What fails here fails in the next test, loudly.
            let _ = script(verb).and_then(|command| Ok(command.into_std().output()?));
        }
    }
}

/// A listener of [`MAIN`] that speaks TLS, closed at the end.
pub struct Secured {
    port: u16,
    _directory: TempDir,
}

impl Secured {
    /// Has the broker listen and show this.
    pub fn start(shown: &Identity) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        shown.write(directory.path(), "own")?;
        let readable = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        // The broker may be another user.
        readable(directory.path(), 0o755)?;
        for name in ["own.pem", "own.key"] {
            readable(&directory.path().join(name), 0o644)?;
        }
        let port = free_port();
        let file = |name: &str| directory.path().join(name).display().to_string();
        evaluate(&format!(
            "rabbit_networking:ensure_ssl(), \
             ok = rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}}}, \
             [{{certfile, \"{}\"}}, {{keyfile, \"{}\"}}], 2).",
            file("own.pem"),
            file("own.key")
        ))?;
        Ok(Self {
            port,
            _directory: directory,
        })
    }

    /// Returns the address by which this listener is reached instead of another one.
    pub fn url(&self, amqp: &str) -> Result<String> {
        let (login, rest) = amqp.rsplit_once('@').context("no user")?;
        let (_, vhost) = rest.split_once('/').context("no virtual host")?;
        let login = login.replacen("amqp://", "amqps://", 1);
        Ok(format!("{login}@127.0.0.1:{}/{vhost}", self.port))
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        // It goes with the broker at the latest.
        let _ = evaluate(&format!(
            "rabbit_networking:stop_tcp_listener({{\"127.0.0.1\", {}}}).",
            self.port
        ));
    }
}

/// Lets [`MAIN`] evaluate an expression.
fn evaluate(expression: &str) -> Result<()> {
    let output = Command::new(var("VMCTL_TEST_SERVICES")?)
        .arg("--dir")
        .arg(var("VMCTL_TEST_SERVICES_DIR")?)
        .args(["rabbitmqctl", "eval", expression])
        .output()?;
    ensure!(output.status.success(), "{expression}: {output:?}");
    Ok(())
}

fn script(verb: &str) -> Result<tokio::process::Command> {
    let mut command = tokio::process::Command::new(var("VMCTL_TEST_SERVICES")?);
    command.arg("--dir").arg(var("VMCTL_TEST_SERVICES_DIR")?);
    command.args([verb, VICTIM_SERVICE]);
    Ok(command)
}

/// A virtual host with nothing in it, deleted at the end.
pub struct Vhost {
    api: Url,
    name: String,
    pub url: String,
    http: reqwest::Client,
}

impl Vhost {
    /// Makes one.
    pub async fn create(node: Node, case: &str, http: &reqwest::Client) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{}-{next}-{case}", std::process::id());
        let amqp = var(node.amqp)?;
        let (base, _) = amqp.rsplit_once('/').context("the address has no path")?;
        let vhost = Self {
            api: var(node.api)?.parse()?,
            url: format!("{base}/{name}"),
            name,
            http: http.clone(),
        };
        // Just after its start the broker answers before it can do this.
        eventually("a virtual host", async || {
            vhost.make().await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        Ok(vhost)
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the address of the management API, with its administrator.
    pub fn api(&self) -> &Url {
        &self.api
    }

    /// Deletes a queue.
    pub async fn delete_queue(&self, queue: &str) -> Result<()> {
        let path = format!("queues/{}/{queue}", self.name);
        self.call(Method::DELETE, &path, &json!({})).await?;
        Ok(())
    }

    async fn make(&self) -> Result<()> {
        let Self { name, api, .. } = self;
        self.call(Method::PUT, &format!("vhosts/{name}"), &json!({}))
            .await?;
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        let path = format!("permissions/{name}/{}", api.username());
        self.call(Method::PUT, &path, &all).await?;
        Ok(())
    }

    /// Makes a queue that gets every message of these exchanges.
    pub async fn tap(&self, queue: &str, exchanges: &[&str]) -> Result<()> {
        let Self { name, .. } = self;
        let path = format!("queues/{name}/{queue}");
        self.call(Method::PUT, &path, &json!({"durable": true}))
            .await?;
        for exchange in exchanges {
            let path = format!("bindings/{name}/e/{exchange}/q/{queue}");
            let key = json!({"routing_key": "#"});
            self.call(Method::POST, &path, &key).await?;
        }
        Ok(())
    }

    /// Throws away what is ready in a queue.
    pub async fn purge(&self, queue: &str) -> Result<()> {
        let path = format!("queues/{}/{queue}/contents", self.name);
        self.call(Method::DELETE, &path, &json!({})).await?;
        Ok(())
    }

    /// Publishes a text as a stranger would.
    pub async fn publish(&self, exchange: &str, key: &str, text: &str) -> Result<()> {
        let path = format!("exchanges/{}/{exchange}/publish", self.name);
        let message = json!({
            "properties": {}, "routing_key": key, "payload": text, "payload_encoding": "string",
        });
        self.call(Method::POST, &path, &message).await?;
        Ok(())
    }

    /// Takes the messages that are in a queue, with their properties and headers.
    pub async fn take(&self, queue: &str) -> Result<Vec<Value>> {
        let path = format!("queues/{}/{queue}/get", self.name);
        let order = json!({
            "count": 10_000, "ackmode": "ack_requeue_false", "encoding": "auto",
        });
        let text = self.call(Method::POST, &path, &order).await?;
        Ok(serde_json::from_str(&text)?)
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<String> {
        let url = format!("{}/{path}", self.api.as_str().trim_end_matches('/'));
        let answer = self.http.request(method, url).json(body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let fine = status.is_success() || status == StatusCode::NOT_MODIFIED;
        ensure!(fine, "{path}: {status}: {text}");
        Ok(text)
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        // It goes with the services at the latest.
        let _ = Command::new("curl")
            .args(["-s", "--max-time", "20", "-X", "DELETE"])
            .arg(format!(
                "{}/vhosts/{}",
                self.api.as_str().trim_end_matches('/'),
                self.name
            ))
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .output();
    }
}
