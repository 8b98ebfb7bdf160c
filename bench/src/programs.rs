//! The programs of the suite as processes, each suite on a vhost and a database of its own.

use std::{
    env,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::process::{Child, Command as AsyncCommand};

use crate::{
    cpu::{self, Used},
    report,
    services::{self, var},
};

/// The longest that anything may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Redis has 16 databases; 0 stays free.
static DATABASE: AtomicU8 = AtomicU8::new(1);

/// Waits until something is so.
pub(crate) async fn eventually<F, T>(what: &str, check: F) -> Result<()>
where
    F: Fn() -> T,
    T: Future<Output = bool>,
{
    within(what, PATIENCE, check).await
}

/// Waits until something is so, at most so long.
pub(crate) async fn within<F, T>(what: &str, patience: Duration, check: F) -> Result<()>
where
    F: Fn() -> T,
    T: Future<Output = bool>,
{
    let started = Instant::now();
    while !check().await {
        ensure!(
            started.elapsed() < patience,
            "{what}: not within {patience:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// What a suite is made of, besides server and reader.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// Names its vhost.
    pub name: &'a str,
    pub worker: bool,
    /// The server is run by the bench itself: with or without audit entries.
    pub audited: Option<bool>,
    /// Settings that differ from those of every suite here.
    pub settings: &'a [(&'a str, &'a str)],
}

/// Server and reader, and perhaps a worker.
pub(crate) struct Suite {
    pub endpoint: String,
    /// Where the reader tells its figures.
    pub reader: String,
    /// The address of its vhost.
    pub broker: String,
    vhost: String,
    programs: Vec<(&'static str, Child)>,
    directory: tempfile::TempDir,
}

impl Suite {
    pub(crate) async fn start(bin: &Path, setup: Setup<'_>) -> Result<Self> {
        let vhost = services::vhost_name(setup.name);
        let url = services::vhost(&vhost)?;
        let database = DATABASE.fetch_add(1, Ordering::Relaxed);
        ensure!(database < 16, "no database of Redis is left");
        services::flush_database(database).await?;
        let (listen, health) = (free_address()?, free_address()?);
        let mut suite = Self {
            endpoint: format!("http://{listen}"),
            reader: format!("http://{health}"),
            broker: url.clone(),
            vhost,
            programs: Vec::new(),
            directory: tempfile::tempdir()?,
        };
        let names = ["vmctl-server", "vmctl-reader", "vmctl-worker"];
        for program in &names[..if setup.worker { 3 } else { 2 }] {
            let mut command = match (setup.audited, *program) {
                (Some(audited), "vmctl-server") => {
                    let mut own = AsyncCommand::new(env::current_exe()?);
                    own.arg("serve").args((!audited).then_some("--no-audit"));
                    own
                }
                _ => AsyncCommand::new(bin.join(program)),
            };
            report::command(&format!(
                "{program} (vhost {}, database {database})",
                suite.vhost
            ));
            let is_reader = *program == "vmctl-reader";
            command
                .env("VMCTL_AMQP_URL", &url)
                .env("VMCTL_REDIS_URL", services::redis(database)?)
                .env("VMCTL_LISTEN", &listen)
                .env(
                    "VMCTL_HEALTH_LISTEN",
                    if is_reader { &health } else { "off" },
                )
                // Warnings of a first start tell nothing here.
                .env("VMCTL_LOG", "error")
                .env("VMCTL_SIMULATED_DURATION", "0s")
                .env("VMCTL_SIMULATED_DIR", suite.directory.path())
                .env("VMCTL_WORKER_SLOTS", "64")
                // Most phases are one project and measure what the suite carries.
                .env("VMCTL_QUOTA_SUBMISSIONS", "0")
                .env("VMCTL_QUOTA_ACTIVE_JOBS", "0")
                .envs(setup.settings.iter().copied())
                .stdin(Stdio::null())
                .kill_on_drop(true);
            let child = command.spawn();
            let child = child.with_context(|| format!("starting {program}"))?;
            suite.programs.push((program, child));
        }
        let http = crate::load::http(1)?;
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
        self.login_as(&var("VMCTL_TEST_USER")?, &var("VMCTL_TEST_PROJECT")?)
            .await
    }

    /// Logs in as a user of another project.
    pub(crate) async fn login_as_other(&self) -> Result<String> {
        let (user, project) = ("VMCTL_TEST_OTHER_USER", "VMCTL_TEST_OTHER_PROJECT");
        self.login_as(&var(user)?, &var(project)?).await
    }

    async fn login_as(&self, user: &str, project: &str) -> Result<String> {
        let login = json!({
            "login": user, "password": var("VMCTL_TEST_PASSWORD")?, "project": project,
        });
        let request = crate::load::http(1)?.post(format!("{}/v1/connect", self.endpoint));
        let answer = request.json(&login).send().await?;
        let body: Value = answer.error_for_status()?.json().await?;
        let token = body["access"]["token"]["id"].as_str();
        Ok(token.context("no token in the answer")?.to_owned())
    }

    fn processes(&self) -> Vec<(&'static str, u32)> {
        let pid = |(name, child): &(&'static str, Child)| Some((*name, child.id()?));
        self.programs.iter().filter_map(pid).collect()
    }

    /// Reads the clocks of its programs, of the broker and of Redis.
    pub(crate) fn cpu(&self) -> Result<Used> {
        let mut processes = self.processes();
        processes.extend(services::processes()?);
        Ok(Used::by(&processes))
    }

    /// Returns the resident memory of each program, in bytes.
    pub(crate) fn memory(&self) -> Vec<(&'static str, u64)> {
        let processes = self.processes().into_iter();
        processes
            .filter_map(|(name, pid)| Some((name, cpu::resident(pid)?)))
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

    /// Returns how many facts the reader has read from the log since it was started.
    pub(crate) async fn facts_read(&self) -> Result<f64> {
        sum(&self.reader, "reader_events_total").await
    }

    /// Ends them, as an operator would, and removes what they leave behind.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for (name, pid) in self.processes() {
            let status = Command::new("kill").arg(pid.to_string()).status()?;
            ensure!(status.success(), "kill {pid} ({name}) failed");
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
        services::remove_vhost(&self.vhost)
    }
}

/// Adds up the series of a metric whose names begin so.
pub(crate) async fn sum(endpoint: &str, prefix: &str) -> Result<f64> {
    // One for all: making it reads the machine's certificates.
    static HTTP: OnceLock<Client> = OnceLock::new();
    let http = if let Some(http) = HTTP.get() {
        http
    } else {
        let http = crate::load::http(1)?;
        HTTP.get_or_init(|| http)
    };
    let answer = http.get(format!("{endpoint}/metrics")).send();
    let text = answer.await?.error_for_status()?.text().await?;
    let lines = text.lines().filter(|line| line.starts_with(prefix));
    let counts = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(counts.sum())
}

pub(crate) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
