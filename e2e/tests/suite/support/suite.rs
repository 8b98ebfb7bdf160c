//! A place for one test: a virtual host, a Redis, a directory of machines, and programs on these.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use vmctl_daemon::testing::Authority;

use super::{
    api::{self, Api},
    broker::{MAIN, Node, VICTIM, Vhost, Victim},
    environment::{self, var},
    process::Process,
    receiver::{Receiver, answer},
    redis::Redis,
    wait::eventually,
};

/// A program has this long to end when it is told to: its own limit, and time for a busy machine.
pub const DRAIN: Duration = Duration::from_secs(45);

/// The three programs that most tests start.
pub struct Three {
    pub server: Process,
    pub reader: Process,
    pub worker: Process,
}

impl Three {
    /// Stops them; each must end well.
    pub async fn stop(self) -> Result<()> {
        self.worker.stop(DRAIN).await?;
        self.server.stop(DRAIN).await?;
        self.reader.stop(DRAIN).await
    }
}

/// The place. Programs are the test's own and end before it.
pub struct Suite {
    pub http: reqwest::Client,
    pub redis: Redis,
    pub vhost: Vhost,
    directory: TempDir,
    settings: BTreeMap<String, String>,
    started: Cell<usize>,
    victim: Option<Victim>,
}

impl Drop for Suite {
    fn drop(&mut self) {
        // Before the virtual host is deleted, which a broker must be there for.
        if self.victim.is_some() {
            Victim::mend();
        }
    }
}

impl Suite {
    /// Prepares one on the broker that stays well; nothing where there are no services.
    pub async fn new(case: &str) -> Result<Option<Self>> {
        if !environment::present(&[MAIN.amqp, MAIN.api])? {
            return Ok(None);
        }
        let mut suite = Self::on(MAIN, None, case).await?;
        suite.redis.start().await?;
        Ok(Some(suite))
    }

    /// Prepares one on the broker that may be stopped, with a Redis that is not started yet.
    pub async fn on_victim(case: &str) -> Result<Option<Self>> {
        let names = ["VMCTL_TEST_SERVICES", "VMCTL_TEST_SERVICES_DIR"];
        if !environment::present(&[VICTIM.amqp, VICTIM.api, names[0], names[1]])? {
            return Ok(None);
        }
        let victim = Victim::take().await?;
        Ok(Some(Self::on(VICTIM, Some(victim), case).await?))
    }

    async fn on(node: Node, victim: Option<Victim>, case: &str) -> Result<Self> {
        let http = api::http()?;
        let (redis, vhost) = (Redis::reserve()?, Vhost::create(node, case, &http).await?);
        let directory = tempfile::tempdir()?;
        let mut suite = Self {
            http,
            redis,
            vhost,
            directory,
            settings: environment::server_settings()?.into_iter().collect(),
            started: Cell::new(0),
            victim,
        };
        let machines = suite.machines().display().to_string();
        suite.set("VMCTL_AMQP_URL", suite.vhost.url.clone());
        suite.set("VMCTL_REDIS_URL", suite.redis.url());
        suite.set("VMCTL_SIMULATED_DIR", machines);
        suite.set("VMCTL_SIMULATED_DURATION", "2s");
        suite.set("VMCTL_LISTEN", "127.0.0.1:0");
        suite.set("VMCTL_HEALTH_LISTEN", "127.0.0.1:0");
        Ok(suite)
    }

    /// Changes a setting of the programs that are started from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// Lets callbacks go to a receiver on this machine.
    pub async fn receiver(&mut self) -> Receiver {
        let receiver = Receiver::start(|| answer(204, &[])).await;
        self.set("VMCTL_CALLBACK_ALLOW_HTTP", "true");
        self.set("VMCTL_CALLBACK_PORTS", receiver.address.port().to_string());
        self.set("VMCTL_CALLBACK_ALLOW_NETWORKS", "127.0.0.0/8");
        self.set(
            "VMCTL_CALLBACK_SECRET",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        );
        receiver
    }

    /// Lets programs that are started from now on trust this authority, and shows them a certificate of its own
    /// to show to others.
    pub fn speak_tls(&mut self, authority: &Authority) -> Result<()> {
        let directory = self.directory.path().to_owned();
        let file = |name: &str| directory.join(name).display().to_string();
        authority.issue(&["127.0.0.1"]).write(&directory, "own")?;
        self.set("VMCTL_TLS_CERT_FILE", file("own.pem"));
        self.set("VMCTL_TLS_KEY_FILE", file("own.key"));
        self.http = api::https(authority)?;
        self.trust(authority)
    }

    /// Lets programs that are started from now on trust this authority.
    pub fn trust(&mut self, authority: &Authority) -> Result<()> {
        let file = self.directory.path().join("authorities.pem");
        fs::write(&file, authority.pem())?;
        self.set("VMCTL_CA_FILE", file.display().to_string());
        Ok(())
    }

    /// Returns the broker to stop and start.
    pub fn victim(&self) -> Result<&Victim> {
        self.victim
            .as_ref()
            .context("this broker is not to be broken")
    }

    /// Returns where the simulated machines are.
    pub fn machines(&self) -> PathBuf {
        self.directory.path().join("machines")
    }

    /// Makes a home directory with nothing in it.
    pub fn home(&self) -> Result<PathBuf> {
        let home = self.directory.path().join("home");
        fs::create_dir(&home)?;
        Ok(home)
    }

    /// Returns the directory of this test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts one program: `server`, `worker` or `reader`.
    pub async fn start(&self, component: &str) -> Result<Process> {
        let (name, log, settings) = self.place(component);
        Process::start(&format!("vmctl-{component}"), &name, &log, &settings).await
    }

    /// Starts a program that is not one of the suite.
    pub fn spawn(&self, what: &str, command: Command) -> Result<Process> {
        let (name, log, settings) = self.place(what);
        Process::spawn(command, &name, &log, &settings)
    }

    /// Names the next process, its log and its settings.
    fn place(&self, what: &str) -> (String, PathBuf, Vec<(String, String)>) {
        let number = self.started.get() + 1;
        self.started.set(number);
        let name = format!("{what}-{number}");
        let log = self.directory.path().join(format!("{name}.log"));
        (name, log, self.settings.clone().into_iter().collect())
    }

    /// Starts one program and waits until it is ready.
    pub async fn start_ready(&self, component: &str) -> Result<Process> {
        let process = self.start(component).await?;
        self.probe(&process, "ready", 200).await?;
        if component == "server" {
            self.admits(&process).await?;
        }
        Ok(process)
    }

    /// Waits until a server has seen the work queues: before, it takes no job.
    async fn admits(&self, server: &Process) -> Result<()> {
        eventually("the server has seen the queues", async || {
            let metrics = self.metrics(server).await;
            let metrics = metrics.map_err(|error| format!("{error:#}"))?;
            let seen = metrics.contains("queue_messages_ready{queue=\"work.vm.create\"}");
            seen.then_some(()).ok_or_else(|| "it has not".to_owned())
        })
        .await
    }

    /// Starts server, reader and worker, and waits until they are ready.
    pub async fn start_three(&self) -> Result<Three> {
        let (server, reader, worker) = (
            self.start("server").await?,
            self.start("reader").await?,
            self.start("worker").await?,
        );
        let three = Three {
            server,
            reader,
            worker,
        };
        for process in [&three.server, &three.reader, &three.worker] {
            self.probe(process, "ready", 200).await?;
        }
        self.admits(&three.server).await?;
        Ok(three)
    }

    /// Waits until a health probe answers so.
    pub async fn probe(&self, process: &Process, probe: &str, status: u16) -> Result<()> {
        let url = format!("{}/health/{probe}", process.url());
        eventually(&format!("{url} is {status}"), async || {
            let answer = self.http.get(&url).send().await;
            let answer = answer.map_err(|error| error.to_string())?;
            let now = answer.status();
            let text = answer.text().await.unwrap_or_default();
            (now == status).then_some(()).ok_or(text)
        })
        .await
    }

    /// Returns what a program counts.
    pub async fn metrics(&self, process: &Process) -> Result<String> {
        let url = format!("{}/metrics", process.url());
        Ok(self.http.get(url).send().await?.text().await?)
    }

    /// Returns what a health probe says, whatever it answers.
    pub async fn report(&self, process: &Process, probe: &str) -> Result<String> {
        let url = format!("{}/health/{probe}", process.url());
        Ok(self.http.get(url).send().await?.text().await?)
    }

    /// Talks to a server as the user of the seed.
    pub async fn user(&self, server: &Process) -> Result<Api> {
        let (user, project) = (var("VMCTL_TEST_USER")?, var("VMCTL_TEST_PROJECT")?);
        let token = api::token(&self.http, &user, &project).await?;
        Ok(Api::new(&self.http, server, &token))
    }

    /// Talks to a server as a user of another project.
    pub async fn stranger(&self, server: &Process) -> Result<Api> {
        let user = var("VMCTL_TEST_OTHER_USER")?;
        let project = var("VMCTL_TEST_OTHER_PROJECT")?;
        let token = api::token(&self.http, &user, &project).await?;
        Ok(Api::new(&self.http, server, &token))
    }
}
