//! One project floods, as fast as it is let in, and another one asks for a job each second: how long
//! the other waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::support::{
    api::{Api, creation},
    effects::effects,
    suite::Suite,
    wait::{eventually, pace},
};

/// Waiting commands that make a queue busy, and what a project may then have.
const BUSY: u32 = 50;
const SHARE: u32 = 40;
/// Submissions of one project in a second: several times what the worker does, which is this many at
/// once, each for so long.
const RATE: u32 = 100;
const SLOTS: u32 = 8;
const DURATION: &str = "400ms";
/// Jobs of the quiet project, one each second: alone, and beside the flood.
const ALONE: usize = 5;
const BESIDE: usize = 20;
/// Clients of the project that floods.
const CLIENTS: usize = 16;
/// A server looks at the queues every 3 s; the rest is for a busy machine. Until it has looked it lets
/// everybody in.
const BLIND: Duration = Duration::from_secs(5);
/// From the front of the queue to the start, on a busy machine.
const START: f64 = 3.0;

/// What the project that floods was told.
#[derive(Default)]
struct Flood {
    accepted: Vec<Instant>,
    refused: usize,
}

impl Flood {
    /// Returns the most that were accepted between two looks at the queue.
    fn unseen(&self) -> usize {
        let ends = self.accepted.iter().enumerate();
        let window = |(first, began): (usize, &Instant)| {
            self.accepted.partition_point(|at| *at <= *began + BLIND) - first
        };
        ends.map(window).max().unwrap_or_default()
    }
}

/// Submits until told to stop.
async fn flood(api: Api, stop: Arc<AtomicBool>) -> Result<Flood> {
    let mut flood = Flood::default();
    while !stop.load(Ordering::Relaxed) {
        let answer = api.post("/v1/jobs", &creation()).await?;
        match answer.status {
            202 => flood.accepted.push(Instant::now()),
            429 => {
                flood.refused += 1;
                pace().await;
            }
            _ => bail!("{answer:?}"),
        }
    }
    Ok(flood)
}

/// Asks for a job each second; their ids.
async fn one_each_second(api: &Api, count: usize) -> Result<Vec<String>> {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ids = Vec::new();
    for _ in 0..count {
        second.tick().await;
        ids.push(api.create().await?);
    }
    Ok(ids)
}

/// How long these waited for their start, in seconds, in order.
async fn waits(api: &Api, ids: &[String]) -> Result<Vec<f64>> {
    let mut waits = Vec::new();
    for id in ids {
        let job = eventually("it has started", async || {
            let answer = api.job(id).await.map_err(|error| format!("{error:#}"))?;
            let has_started = answer.body["started_at"].is_string();
            has_started.then_some(answer.body).ok_or(answer.text)
        })
        .await?;
        let at = |name: &str| -> Result<Timestamp> {
            Ok(Value::as_str(&job[name]).context("no time")?.parse()?)
        };
        let wait = at("created_at")?.duration_until(at("started_at")?);
        waits.push(wait.as_secs_f64());
    }
    waits.sort_by(f64::total_cmp);
    Ok(waits)
}

fn middle_and_last(waits: &[f64]) -> (f64, f64) {
    (waits[waits.len() / 2], waits[waits.len() - 1])
}

fn made(suite: &Suite) -> Result<usize> {
    let effects = effects(&suite.machines())?;
    Ok(effects.iter().filter(|e| e.what == "effect").count())
}

#[tokio::test]
async fn a_project_beside_a_flood_waits_for_a_bounded_time() -> Result<()> {
    let Some(mut suite) = Suite::new("fairness").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", DURATION);
    suite.set("VMCTL_WORKER_SLOTS", SLOTS.to_string());
    suite.set("VMCTL_QUOTA_SUBMISSIONS", RATE.to_string());
    suite.set("VMCTL_QUOTA_BUSY_QUEUE", BUSY.to_string());
    suite.set("VMCTL_QUOTA_FAIR_SHARE", SHARE.to_string());
    let three = suite.start_three().await?;
    let quiet = suite.user(&three.server).await?;
    let pool = reqwest::Client::builder().no_proxy().build()?;
    let stranger = suite.stranger(&three.server).await?;
    let loud = Api::new(&pool, &three.server, &stranger.token);
    let alone = waits(&quiet, &one_each_second(&quiet, ALONE).await?).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(flood(loud.clone(), Arc::clone(&stop)));
    }
    let (began, before) = (Instant::now(), made(&suite)?);
    let ids = one_each_second(&quiet, BESIDE).await?;
    let done = made(&suite)? - before;
    let rate = f64::from(u32::try_from(done)?) / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let mut all = Flood::default();
    for client in clients.join_all().await {
        let client = client?;
        all.accepted.extend(client.accepted);
        all.refused += client.refused;
    }
    all.accepted.sort();
    let beside = waits(&quiet, &ids).await?;

    let ((p50, max), (p50_alone, max_alone)) = (middle_and_last(&beside), middle_and_last(&alone));
    // Who comes while the queue is busy stands behind what made it busy, and behind what was let in
    // before anybody looked.
    let ahead = BUSY + u32::try_from(all.unseen())?;
    let bound = f64::from(ahead) / rate + START;
    eprintln!(
        "alone: p50 {p50_alone:.2} s, max {max_alone:.2} s; beside a flood: p50 {p50:.2} s, max \
         {max:.2} s, bound {bound:.1} s ({} accepted, {} refused, {rate:.0} done per second)",
        all.accepted.len(),
        all.refused,
    );
    ensure!(all.refused > 0, "there was no flood");
    ensure!(max <= bound, "{max} s is more than {bound} s: {beside:?}");
    three.worker.kill()?;
    three.server.kill()?;
    three.reader.kill()
}
