//! Every program is replaced by another one, each in its turn, while jobs are asked for.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use tokio::{task::JoinSet, time::interval};

use crate::support::{
    api::{Api, creation},
    effects::one_machine_each,
    process::Process,
    suite::{DRAIN, Suite},
    wait::{pace, patience},
};

/// How long a machine takes, and the longest of its phases, which is one slice.
const MACHINE: Duration = Duration::from_secs(2);
const SLICE: Duration = Duration::from_secs(1);
/// A worker that is told to stop ends its slices, and has this long for everything else.
const REST: Duration = Duration::from_secs(5);
/// Clients, and how often each asks for a job.
const CLIENTS: usize = 4;
const EVERY: Duration = Duration::from_millis(250);

/// Clients that ask for jobs all the time, of whichever server answers.
struct Load {
    servers: Arc<Mutex<Vec<Api>>>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<Result<Vec<String>>>,
}

impl Load {
    fn start(servers: Vec<Api>) -> Self {
        let (servers, stop) = (Arc::new(Mutex::new(servers)), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(submit_all(number, Arc::clone(&servers), Arc::clone(&stop)));
        }
        Self {
            servers,
            stop,
            clients,
        }
    }

    fn add(&self, server: Api) {
        lock(&self.servers).push(server);
    }

    /// Forgets the server that was there first.
    fn forget_oldest(&self) {
        lock(&self.servers).remove(0);
    }

    async fn stop(self) -> Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let ids: Result<Vec<_>> = self.clients.join_all().await.into_iter().collect();
        Ok(ids?.concat())
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn submit_all(
    client: usize,
    servers: Arc<Mutex<Vec<Api>>>,
    stop: Arc<AtomicBool>,
) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    let mut tick = interval(EVERY);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        ids.push(submit(&servers, ids.len() * CLIENTS + client).await?);
    }
    Ok(ids)
}

/// Asks one server after the other with one key until a job is accepted.
async fn submit(servers: &Mutex<Vec<Api>>, number: usize) -> Result<String> {
    let (body, key) = (creation(), format!("rolling-{number}"));
    let started = Instant::now();
    for turn in number.. {
        let api = {
            let servers = lock(servers);
            servers[turn % servers.len()].clone()
        };
        let key = [("Idempotency-Key", key.as_str())];
        let answer = api.send(Method::POST, "/v1/jobs", &key, Some(&body)).await;
        match answer {
            Ok(answer) if [200, 202].contains(&answer.status) => {
                return Ok(answer.body["id"].as_str().context("no id")?.to_owned());
            }
            // It stops, or has stopped, or another one has the key in hand.
            Ok(answer) if ![409, 503].contains(&answer.status) => bail!("{answer:?}"),
            answer => ensure!(started.elapsed() < patience(), "{answer:?}"),
        }
        pace().await;
    }
    bail!("never accepted")
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
    let three = suite.start_three().await?;
    let mut servers = vec![three.server, suite.start_ready("server").await?];
    let mut readers = vec![three.reader, suite.start_ready("reader").await?];
    let mut workers = vec![three.worker, suite.start_ready("worker").await?];
    let user = suite.user(&servers[0]).await?;
    let api = |server: &Process| Api::new(&suite.http, server, &user.token);
    let load = Load::start(servers.iter().map(api).collect());
    for _ in 0..2 {
        let new = replace(&suite, "worker", workers.remove(0), SLICE + REST).await?;
        workers.push(new);
        let new = replace(&suite, "reader", readers.remove(0), DRAIN).await?;
        readers.push(new);
        let new = suite.start_ready("server").await?;
        load.add(api(&new));
        // Clients still ask it when it is told to stop.
        stop("server", servers.remove(0), DRAIN).await?;
        load.forget_oldest();
        servers.push(new);
    }
    let ids = load.stop().await?;
    let api = api(&servers[0]);
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
