//! A thousand jobs that live and a thousand that have ended, and what is known of each.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    api::{Api, creation, is_on_its_way},
    process::Process,
    suite::{DRAIN, Suite},
    wait::{eventually, pace, patience},
};

const ENDED: usize = 1_000;
const LIVE: usize = 1_000;
/// Of those alive.
const RUNNING: usize = 20;
const CANCELLING: usize = 100;
/// Requests under way at once.
const CLIENTS: usize = 16;

/// The jobs.
pub struct Population {
    pub ids: Vec<String>,
    known: BTreeMap<String, Value>,
    /// Has some of them in hand, for longer than any test lasts.
    worker: Process,
}

impl Population {
    /// Makes them, by a server that a reader stands behind.
    pub async fn make(suite: &mut Suite, api: &Api) -> Result<Self> {
        suite.set("VMCTL_SIMULATED_DURATION", "0s");
        suite.set("VMCTL_WORKER_SLOTS", "32");
        let worker = suite.start_ready("worker").await?;
        let mut ids = create(api, ENDED).await?;
        let done = each(api, &ids, |job| job["state"] == "succeeded").await;
        done.context("these were to succeed")?;
        worker.stop(DRAIN).await?;

        // So long that not even its first phase ends: the next job in the queue would take its place.
        suite.set("VMCTL_SIMULATED_DURATION", "1000000s");
        suite.set("VMCTL_WORKER_SLOTS", RUNNING.to_string());
        // Those that run are the first in their queue.
        let running = create(api, RUNNING).await?;
        let worker = suite.start_ready("worker").await?;
        each(api, &running, |job| job["state"] == "running").await?;
        let queued = create(api, LIVE - RUNNING).await?;
        for id in &queued[..CANCELLING] {
            let path = format!("/v1/jobs/{id}/cancel");
            api.post(&path, &json!({})).await?.expect(202)?;
        }
        each(api, &queued[..CANCELLING], |job| {
            job["cancel_requested_at"].is_string()
        })
        .await?;
        ids.extend(running);
        ids.extend(queued);
        let known = each(api, &ids, |_| true).await?;
        Ok(Self { ids, known, worker })
    }

    /// Adds jobs, and something about old ones, that only the newest view can know.
    pub async fn go_on(&mut self, api: &Api) -> Result<Vec<String>> {
        let new = create(api, 50).await?;
        let queued: Vec<_> = self.ids.iter().rev().take(50).cloned().collect();
        for id in &queued {
            let path = format!("/v1/jobs/{id}/cancel");
            api.post(&path, &json!({})).await?.expect(202)?;
        }
        self.known
            .extend(each(api, &queued, |job| job["cancel_requested_at"].is_string()).await?);
        self.known.extend(each(api, &new, |_| true).await?);
        self.ids.extend(new.iter().cloned());
        Ok(new)
    }

    /// Waits until every one is what it was: all of its body, and its `ETag`.
    pub async fn is_what_it_was(&self, api: &Api) -> Result<()> {
        let now = each(api, &self.ids, |_| true).await?;
        for (id, was) in &self.known {
            let is = &now[id];
            ensure!(is == was, "{id} was {was}, and is {is}");
        }
        Ok(())
    }

    /// Ends what works.
    pub fn end(self) -> Result<()> {
        self.worker.kill()
    }
}

/// Submits many jobs at once; their ids in order of submission.
async fn create(api: &Api, count: usize) -> Result<Vec<String>> {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let api = api.clone();
        let share = (number..count).step_by(CLIENTS).count();
        clients.spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..share {
                ids.push(api.submit(&creation()).await?);
            }
            anyhow::Ok(ids)
        });
    }
    let mut ids = Vec::new();
    while let Some(client) = clients.join_next().await {
        ids.extend(client??);
    }
    Ok(ids)
}

/// Looks at each until it is as wanted; what a client is told about each.
async fn each(
    api: &Api,
    ids: &[String],
    wanted: impl Fn(&Value) -> bool + Send + Sync + 'static,
) -> Result<BTreeMap<String, Value>> {
    let wanted = Arc::new(wanted);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (api, wanted) = (api.clone(), Arc::clone(&wanted));
        let share: Vec<_> = ids.iter().skip(number).step_by(CLIENTS).cloned().collect();
        clients.spawn(async move {
            let mut told = Vec::new();
            for id in share {
                let job = look(&api, &id, &*wanted).await?;
                told.push((id, job));
            }
            anyhow::Ok(told)
        });
    }
    let mut told = BTreeMap::new();
    while let Some(client) = clients.join_next().await {
        told.extend(client??);
    }
    Ok(told)
}

async fn look(
    api: &Api,
    id: &str,
    wanted: &(dyn Fn(&Value) -> bool + Send + Sync),
) -> Result<Value> {
    let started = Instant::now();
    loop {
        let answer = api.job(id).await?;
        ensure!(
            answer.status == 200 || is_on_its_way(&answer),
            "{id}: {answer:?}"
        );
        if answer.status == 200 && wanted(&answer.body) {
            let tag = answer.headers.get("ETag").context("no ETag")?.to_str()?;
            return Ok(comparable(answer.body.clone(), tag));
        }
        ensure!(started.elapsed() < patience(), "{id} is still {answer:?}");
        pace().await;
    }
}

/// Progress is not in the log: it comes back with the next report, and so does its part of the tag.
fn comparable(mut job: Value, tag: &str) -> Value {
    let mut tag = tag;
    if job["state"] == "running" {
        tag = tag.split_once('.').map_or(tag, |(event, _)| event);
        if let Some(fields) = job.as_object_mut() {
            fields.remove("progress");
            fields.remove("updated_at");
        }
    }
    json!({"job": job, "tag": tag})
}

/// How fast a reader folds what it reads again.
pub struct Folding {
    http: reqwest::Client,
    metrics: String,
    before: f64,
}

impl Folding {
    /// Notes how much it has folded until now.
    pub async fn watch(suite: &Suite, reader: &Process) -> Result<Self> {
        let mut folding = Self {
            http: suite.http.clone(),
            metrics: format!("{}/metrics", reader.url()),
            before: 0.0,
        };
        folding.before = folding.count().await?;
        Ok(folding)
    }

    async fn count(&self) -> Result<f64> {
        let text = self.http.get(&self.metrics).send().await?.text().await?;
        let lines = text
            .lines()
            .filter(|l| l.starts_with("reader_events_total"));
        let values = lines.filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Waits until it has folded at least this much again, and prints how fast. The time begins
    /// with the first event seen to be folded.
    pub async fn report(&self, what: &str, events: usize) -> Result<()> {
        let lost = Instant::now();
        let first = eventually("events are folded again", async || {
            let now = self.count().await.map_err(|e| format!("{e:#}"))?;
            (now > self.before).then_some(()).ok_or(format!("{now}"))
        });
        first.await?;
        let (began, waited) = (Instant::now(), lost.elapsed());
        let all = f64::from(u32::try_from(events)?);
        let folded = eventually("all events are folded again", async || {
            let now = self.count().await.map_err(|e| format!("{e:#}"))? - self.before;
            (now >= all).then_some(now).ok_or(format!("{now} of {all}"))
        });
        let folded = folded.await?;
        let took = began.elapsed().max(Duration::from_millis(1));
        let rate = folded / took.as_secs_f64();
        eprintln!(
            "{what}: noticed after {waited:.1?}, {folded} events in {took:.2?}: {rate:.0} per second, \
             {:.1} s per 100,000; load {}",
            100_000.0 / rate,
            load().unwrap_or_default(),
        );
        Ok(())
    }
}

fn load() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    Some(text.split(' ').next()?.to_owned())
}
