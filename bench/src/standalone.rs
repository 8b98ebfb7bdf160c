//! The suite in one process, in memory and with a data directory: what the journal costs, and how
//! long the next start takes. Needs no service.

use std::{
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{load, load::Sample, programs, report};

/// How long one client submits.
const ALONE: Duration = Duration::from_secs(3);

/// How long the start after a crash may take.
const START: Duration = Duration::from_secs(600);

/// A standalone that runs.
struct Standalone {
    endpoint: String,
    child: Child,
}

impl Standalone {
    /// Starts one and waits until it is ready; returns how long that took.
    async fn start(bin: &Path, data: Option<&Path>) -> Result<(Self, Duration)> {
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = Command::new(bin.join("vmctl-standalone"));
        command
            .args(["--listen", &listen, "--user", "joe:1234"])
            .env("VMCTL_LOG", "error")
            .env("VMCTL_SIMULATED_DURATION", "0s")
            .env("VMCTL_WORKER_SLOTS", "64")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        if let Some(data) = data {
            command.arg("--data-dir").arg(data);
        }
        let started = Instant::now();
        let child = command.spawn().context("starting vmctl-standalone")?;
        let endpoint = format!("http://{listen}");
        let http = reqwest::Client::builder().no_proxy().build()?;
        let ready = format!("{endpoint}/health/ready");
        while !http
            .get(&ready)
            .send()
            .await
            .is_ok_and(|a| a.status().is_success())
        {
            ensure!(started.elapsed() < START, "not ready within {START:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok((Self { endpoint, child }, started.elapsed()))
    }

    async fn login(&self) -> Result<String> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let request = http.post(format!("{}/v1/connect", self.endpoint));
        let request = request.json(&json!({"login": "joe", "password": "1234"}));
        let body: Value = request.send().await?.error_for_status()?.json().await?;
        let token = body["access"]["token"]["id"].as_str();
        Ok(token.context("no token in the answer")?.to_owned())
    }

    /// Ends it as a crash would.
    async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("killing vmctl-standalone")
    }
}

/// Prints what a submission costs in memory and with a journal, beside the suite on services where
/// that was measured, and how long the start takes after a crash.
pub(crate) async fn measure(bin: &Path, span: Duration, services: Option<&Sample>) -> Result<()> {
    report::title("Standalone: what a submission costs, everything in one process, worker running");
    let (memory, _) = Standalone::start(bin, None).await?;
    let token = memory.login().await?;
    let alone = load::submit_to(&memory.endpoint, &token, 1, ALONE).await?;
    report::latency("in memory only: answer, one client", &alone);
    memory.kill().await?;

    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let (kept, empty) = Standalone::start(bin, Some(&data)).await?;
    let token = kept.login().await?;
    let alone = load::submit_to(&kept.endpoint, &token, 1, ALONE).await?;
    report::latency("with --data-dir (fsync): answer, one client", &alone);
    if let Some(services) = services {
        report::latency("on RabbitMQ and Redis: answer, one client", services);
    }
    let many = load::submit_to(&kept.endpoint, &token, 64, span).await?;
    report::rate("with --data-dir: accepted, 64 clients", many.per_second());
    report::latency("  answer", &many);
    let jobs = alone.len() + many.len();
    programs::eventually("the jobs have ended", || async {
        let depth = queued(&kept.endpoint).await;
        depth.is_ok_and(|queued| queued < 1.0)
    })
    .await?;
    kept.kill().await?;

    report::title("Standalone: start after kill -9");
    let size = std::fs::metadata(data.join("journal.redb"))?.len();
    report::memory("journal", "file", size);
    let (again, took) = Standalone::start(bin, Some(&data)).await?;
    again.kill().await?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let each = took.saturating_sub(empty).as_secs_f64() / jobs.max(1) as f64;
    let seconds = |seconds: f64| format!("{seconds:.2} s");
    report::text("ready, nothing kept", &seconds(empty.as_secs_f64()));
    report::text(
        &format!("ready, {jobs} jobs kept"),
        &seconds(took.as_secs_f64()),
    );
    report::text("so for each 100,000 jobs", &seconds(each * 1e5));
    Ok(())
}

/// How many messages wait in the work queues, as the metrics say.
async fn queued(endpoint: &str) -> Result<f64> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let answer = http.get(format!("{endpoint}/metrics")).send().await?;
    let text = answer.error_for_status()?.text().await?;
    let of_queues = text
        .lines()
        .filter(|line| line.starts_with("queue_messages_ready{queue=\"work."));
    let counts = of_queues.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(counts.sum())
}
