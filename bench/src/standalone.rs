//! The suite in one process, in memory and with a data directory: what the journal costs beside
//! RabbitMQ, and how long the next start takes after a crash. Needs no service.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{
    cpu::Used,
    load::{self, Sample},
    programs::{self, Setup, Suite},
    report, services,
};

const CLIENTS: usize = 64;

/// Projects that submit in turn, because each has a quota.
const PROJECTS: usize = 8;

/// Jobs that are kept when it is killed, and how long it may take to have so many.
const JOBS: f64 = 100_000.0;
const FILL: Duration = Duration::from_secs(90);

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
        let listen = programs::free_address()?;
        let mut command = Command::new(bin.join("vmctl-standalone"));
        command
            .args(["--listen", &listen])
            .args((0..PROJECTS).map(|n| format!("--user=u{n}:1234:p{n}")))
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

    /// Logs in as each user.
    async fn login(&self) -> Result<Vec<String>> {
        let http = load::http(1)?;
        let mut tokens = Vec::new();
        for n in 0..PROJECTS {
            let request = http.post(format!("{}/v1/connect", self.endpoint));
            let login = json!({"login": format!("u{n}"), "password": "1234"});
            let answer = request.json(&login).send().await?;
            let body: Value = answer.error_for_status()?.json().await?;
            let token = body["access"]["token"]["id"].as_str();
            tokens.push(token.context("no token in the answer")?.to_owned());
        }
        Ok(tokens)
    }

    async fn cost(&self, what: &'static str, span: Duration) -> Result<Cost> {
        let tokens = self.login().await?;
        let pid = self.child.id().context("it has ended")?;
        let clocks = || Ok(Used::by(&[("vmctl-standalone", pid)]));
        Cost::measure(what, (&self.endpoint, &tokens), clocks, span).await
    }

    /// How many jobs it has accepted since it was started.
    async fn accepted(&self) -> Result<f64> {
        programs::sum(&self.endpoint, "jobs_submitted_total").await
    }

    /// How many messages wait in the work queues.
    async fn queued(&self) -> Result<f64> {
        programs::sum(&self.endpoint, "queue_messages_ready{queue=\"work.").await
    }

    /// Ends it as a crash would.
    async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("killing vmctl-standalone")
    }
}

/// What one way of running the suite costs.
struct Cost {
    what: &'static str,
    alone: Sample,
    many: Sample,
    cpu: Vec<(&'static str, Duration)>,
}

impl Cost {
    /// Submits to an endpoint, first with one client, then with many.
    async fn measure(
        what: &'static str,
        (endpoint, tokens): (&str, &[String]),
        clocks: impl Fn() -> Result<Used>,
        span: Duration,
    ) -> Result<Self> {
        let alone = load::submit_to(endpoint, tokens, 1, ALONE).await?;
        let before = clocks()?;
        let many = load::submit_to(endpoint, tokens, CLIENTS, span).await?;
        let cpu = before.since();
        Ok(Self {
            what,
            alone,
            many,
            cpu,
        })
    }

    fn print(&self) {
        report::latency(&format!("{}: answer, one client", self.what), &self.alone);
        report::rate("  accepted, 64 clients", self.many.per_second());
        report::latency("  answer, 64 clients", &self.many);
        report::cpu(&self.cpu, self.many.len());
    }
}

/// Prints what a submission costs in memory, with a journal, and on services if there are some, then
/// how long the start takes after a crash. `rebuild` is what the suite on services takes to rebuild its
/// view, for each job.
pub(crate) async fn measure(bin: &Path, span: Duration, rebuild: Option<Duration>) -> Result<()> {
    report::title("Standalone: what a submission costs, beside RabbitMQ; the worker runs");
    report::command("1 client, then 64: POST /v1/jobs");
    let (memory, _) = Standalone::start(bin, None).await?;
    memory.cost("in memory only", span).await?.print();
    memory.kill().await?;

    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let (kept, empty) = Standalone::start(bin, Some(&data)).await?;
    kept.cost("with --data-dir (fsync)", span).await?.print();
    if services::are_there() {
        on_services(bin, span).await?.print();
    }

    report::title("Standalone: kill -9, and the next start");
    let tokens = kept.login().await?;
    let load = load::submit_to(&kept.endpoint, &tokens, CLIENTS, FILL);
    let kill = async {
        let full = || async { kept.accepted().await.is_ok_and(|jobs| jobs >= JOBS) };
        // Fewer, if it is slow: what is printed says how many.
        let _ = programs::within("so many jobs", FILL, full).await;
    };
    // In the middle of submissions: those that are under way fail.
    tokio::select! {
        loaded = load => { loaded?; }
        () = kill => {}
    }
    let jobs = kept.accepted().await?;
    kept.kill().await?;
    report::command("vmctl-standalone --data-dir DIR, killed under load, started again");
    let size = std::fs::metadata(data.join("journal.redb"))?.len();
    report::memory("journal", "file", size);
    let (again, took) = Standalone::start(bin, Some(&data)).await?;
    let each = took.saturating_sub(empty).as_secs_f64() / jobs.max(1.0);
    let seconds = |seconds: f64| format!("{seconds:.2} s");
    report::text("ready, nothing kept", &seconds(empty.as_secs_f64()));
    let what = format!("ready again, {jobs:.0} jobs kept");
    report::text(&what, &seconds(took.as_secs_f64()));
    report::text("  for each 100,000 jobs", &seconds(each * 1e5));
    if let Some(each) = rebuild {
        let all = each.as_secs_f64() * 1e5;
        report::text("  on RabbitMQ: the view rebuilt, the same", &seconds(all));
    }
    let started = Instant::now();
    let idle = || async { again.queued().await.is_ok_and(|queued| queued < 1.0) };
    programs::eventually("the jobs have ended", idle).await?;
    report::text(
        "nothing queued any more after",
        &report::seconds(started.elapsed()),
    );
    again.kill().await
}

/// The same on RabbitMQ and Redis.
async fn on_services(bin: &Path, span: Duration) -> Result<Cost> {
    let setup = Setup {
        name: "beside",
        worker: true,
        ..Setup::default()
    };
    let suite = Suite::start(bin, setup).await?;
    let tokens = [suite.login().await?];
    let at = (suite.endpoint.as_str(), tokens.as_slice());
    let cost = Cost::measure("on RabbitMQ and Redis", at, || suite.cpu(), span).await?;
    suite.stop().await?;
    Ok(cost)
}
