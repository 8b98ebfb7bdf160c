//! The programs of the suite as processes, each on a vhost and a database of its own.

use std::{
    env, fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command as AsyncCommand};
use vmctl_backends::rabbitmq;

use crate::report;

/// The longest that anything may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Redis has 16 databases; 0 stays free.
static DATABASE: AtomicU8 = AtomicU8::new(1);

fn var(name: &str) -> Result<String> {
    env::var(name)
        .with_context(|| format!("{name} is not set; run `make bench`, which starts the services"))
}

/// Waits until something is so.
pub(crate) async fn eventually<F, T>(what: &str, check: F) -> Result<()>
where
    F: Fn() -> T,
    T: Future<Output = bool>,
{
    let started = Instant::now();
    while !check().await {
        ensure!(
            started.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Makes a fresh vhost and returns its address.
pub(crate) fn vhost(name: &str) -> Result<String> {
    let name = format!("bench-{name}");
    let url = var("VMCTL_AMQP_URL")?;
    let (base, _) = url
        .rsplit_once('/')
        .context("VMCTL_AMQP_URL has no vhost")?;
    let user = base
        .strip_prefix("amqp://")
        .and_then(|rest| rest.split_once(':'))
        .map_or("guest", |(user, _)| user);
    for args in [
        &["add_vhost", &name][..],
        &["set_permissions", "-p", &name, user, ".*", ".*", ".*"],
    ] {
        let status = Command::new(var("VMCTL_TEST_SERVICES")?)
            .arg("rabbitmqctl")
            .args(args)
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "rabbitmqctl {args:?} failed");
    }
    Ok(format!("{base}/{name}"))
}

/// Settings of the broker's backend for an address.
pub(crate) fn amqp_config(url: &str) -> Result<rabbitmq::Config> {
    Ok(rabbitmq::Config::new(vec![url.parse()?]))
}

/// Server and reader, and perhaps a worker.
pub(crate) struct Suite {
    pub endpoint: String,
    programs: Vec<(&'static str, Child)>,
    directory: tempfile::TempDir,
}

impl Suite {
    pub(crate) async fn start(bin: &Path, name: &str, worker: bool) -> Result<Self> {
        let url = vhost(name)?;
        let database = DATABASE.fetch_add(1, Ordering::Relaxed);
        let redis = var("VMCTL_REDIS_URL")?;
        let (redis, _) = redis
            .rsplit_once('/')
            .context("VMCTL_REDIS_URL has no database")?;
        let listen = free_address()?;
        let mut suite = Self {
            endpoint: format!("http://{listen}"),
            programs: Vec::new(),
            directory: tempfile::tempdir()?,
        };
        let names = ["vmctl-server", "vmctl-reader", "vmctl-worker"];
        for program in &names[..if worker { 3 } else { 2 }] {
            report::command(&format!(
                "{program} (vhost bench-{name}, database {database})"
            ));
            let child = AsyncCommand::new(bin.join(program))
                .env("VMCTL_AMQP_URL", &url)
                .env("VMCTL_REDIS_URL", format!("{redis}/{database}"))
                .env("VMCTL_LISTEN", &listen)
                .env("VMCTL_HEALTH_LISTEN", "off")
                .env("VMCTL_LOG", "warn")
                .env("VMCTL_SIMULATED_DURATION", "0s")
                .env("VMCTL_SIMULATED_DIR", suite.directory.path())
                .env("VMCTL_WORKER_SLOTS", "64")
                // The bench is one project and measures what the suite carries.
                .env("VMCTL_QUOTA_SUBMISSIONS", "0")
                .env("VMCTL_QUOTA_ACTIVE_JOBS", "0")
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("starting {}", bin.join(program).display()))?;
            suite.programs.push((program, child));
        }
        let http = reqwest::Client::builder().no_proxy().build()?;
        let ready = format!("{}/health/ready", suite.endpoint);
        eventually("the server is ready", || async {
            http.get(&ready)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
        })
        .await?;
        Ok(suite)
    }

    /// Logs in through the server; one token serves a whole phase.
    pub(crate) async fn login(&self) -> Result<String> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let body: Value = http
            .post(format!("{}/v1/connect", self.endpoint))
            .json(
                &json!({"login": var("VMCTL_TEST_USER")?, "password": var("VMCTL_TEST_PASSWORD")?}),
            )
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let token = body["access"]["token"]["id"].as_str();
        Ok(token.context("no token in the answer")?.to_owned())
    }

    /// Returns the resident memory of each program, in bytes.
    pub(crate) fn memory(&self) -> Vec<(&'static str, u64)> {
        self.programs
            .iter()
            .filter_map(|(name, child)| Some((*name, resident(child.id()?)?)))
            .collect()
    }

    /// Returns the resident memory of one program, in bytes.
    pub(crate) fn memory_of(&self, program: &str) -> Result<u64> {
        let all = self.memory();
        let found = all.iter().find(|(name, _)| *name == program);
        found
            .map(|(_, bytes)| *bytes)
            .with_context(|| format!("{program} does not run"))
    }

    /// Ends them, as an operator would.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for (name, child) in &mut self.programs {
            if let Some(pid) = child.id() {
                let status = Command::new("kill").arg(pid.to_string()).status()?;
                ensure!(status.success(), "kill {pid} ({name}) failed");
            }
        }
        for (name, child) in &mut self.programs {
            match tokio::time::timeout(PATIENCE, child.wait()).await {
                Ok(status) => {
                    let status = status?;
                    ensure!(status.success(), "{name} ended with {status}");
                }
                Err(_) => bail!("{name} did not end within {PATIENCE:?}"),
            }
        }
        Ok(())
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Prints the client's size, and how long it takes to say `--help`.
pub(crate) fn client(path: &Path) -> Result<()> {
    let bytes = fs::metadata(path)
        .with_context(|| format!("{} is not built", path.display()))?
        .len();
    report::memory("stripped binary (limit: 10 MB)", "size", bytes);
    report::command(&format!("{} --help, 50 times", path.display()));
    let mut times = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        let status = Command::new(path)
            .arg("--help")
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "--help failed");
        times.push(started.elapsed());
    }
    let mut sample = crate::load::Sample::default();
    sample.extend(times);
    report::latency("--help, process start included (aim: 5 ms)", &sample);
    Ok(())
}
