//! Every program is replaced by another one, each in its turn, while jobs are asked for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{task::JoinSet, time::interval};

use crate::support::{
    api::{self, Api, creation},
    balancer::Balancer,
    effects::one_machine_each,
    process::Process,
    suite::{DRAIN, Suite},
    wait::eventually,
};

/// How long a machine takes, and the longest of its phases, which is one slice.
const MACHINE: Duration = Duration::from_secs(2);
const SLICE: Duration = Duration::from_secs(1);
/// A worker that is told to stop ends its slices, and has this long for everything else.
const REST: Duration = Duration::from_secs(15);
/// Clients, and how often each asks for a job.
const CLIENTS: usize = 4;
const EVERY: Duration = Duration::from_millis(250);

/// Clients that ask for jobs all the time, once for each.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Result<Vec<String>>>,
}

impl Load {
    /// Half of the clients keep their connections.
    fn start(base: &str, token: &str) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let http = if number % 2 == 0 {
                api::http()?
            } else {
                api::pooled()?
            };
            let api = Api::at(&http, base, token);
            clients.spawn(submit_all(api, Arc::clone(&stop)));
        }
        Ok(Self { stop, clients })
    }

    async fn stop(self) -> Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let ids: Result<Vec<_>> = self.clients.join_all().await.into_iter().collect();
        Ok(ids?.concat())
    }
}

async fn submit_all(api: Api, stop: Arc<AtomicBool>) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    let mut tick = interval(EVERY);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let id = api.submit(&creation()).await;
        ids.push(id.with_context(|| format!("after {} jobs", ids.len()))?);
    }
    Ok(ids)
}

/// Starts the next one of its kind and stops the old one; the new one.
async fn replace(suite: &Suite, what: &str, old: Process, limit: Duration) -> Result<Process> {
    let new = suite.start_ready(what).await?;
    stop(what, old, limit).await?;
    Ok(new)
}

async fn stop(what: &str, old: Process, limit: Duration) -> Result<()> {
    let told = Instant::now();
    old.stop(limit).await?;
    eprintln!("a {what} has stopped after {:.2?}", told.elapsed());
    Ok(())
}

#[tokio::test]
async fn t13_a_rolling_restart_under_load_fails_no_job() -> Result<()> {
    let Some(mut suite) = Suite::new("rolling").await? else {
        return Ok(());
    };
    suite.set(
        "VMCTL_SIMULATED_DURATION",
        format!("{}s", MACHINE.as_secs()),
    );
    suite.set("VMCTL_WORKER_SLOTS", "24");
    // The balancer looks more often than that.
    suite.set("VMCTL_DRAIN_DELAY", "5s");
    let three = suite.start_three().await?;
    let mut servers = vec![three.server, suite.start_ready("server").await?];
    let mut readers = vec![three.reader, suite.start_ready("reader").await?];
    let mut workers = vec![three.worker, suite.start_ready("worker").await?];
    let user = suite.user(&servers[0]).await?;
    let balancer =
        Balancer::before(servers.iter().map(|s| s.address).collect(), &suite.http).await?;
    let load = Load::start(&format!("http://{}", balancer.address), &user.token)?;
    for _ in 0..2 {
        let new = replace(&suite, "worker", workers.remove(0), SLICE + REST).await?;
        workers.push(new);
        let new = replace(&suite, "reader", readers.remove(0), DRAIN).await?;
        readers.push(new);
        let new = suite.start_ready("server").await?;
        balancer.add(new.address);
        eventually("the new server is known", async || {
            balancer
                .knows(new.address)
                .then_some(())
                .ok_or(String::new())
        })
        .await?;
        // It is asked until the balancer sees that it is not ready.
        stop("server", servers.remove(0), DRAIN).await?;
        servers.push(new);
    }
    let ids = load.stop().await?;
    let api = Api::new(&suite.http, &servers[0], &user.token);
    for id in &ids {
        let job = api.until(id, "succeeded").await?;
        ensure!(job["attempt"] == 1, "a restart cost an attempt: {job}");
    }
    eprintln!("{} jobs succeeded at their first attempt", ids.len());
    ensure!(ids.len() >= 50, "there was no load: {}", ids.len());
    one_machine_each(&suite.machines(), &ids)?;
    for process in workers.into_iter().chain(servers).chain(readers) {
        process.stop(DRAIN).await?;
    }
    Ok(())
}
