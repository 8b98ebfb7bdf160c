//! Clients that ask for jobs all the time, and must never be told less than before.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    api::{Api, is_on_its_way},
    wait::pace,
};

/// One client for each job.
pub struct Asking {
    clients: JoinSet<Result<Seen>>,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Seen {
    found: usize,
    later: usize,
}

impl Asking {
    /// Starts to ask for these jobs.
    pub fn start<'a>(api: &Api, ids: impl IntoIterator<Item = &'a String>) -> Self {
        let mut asking = Self {
            clients: JoinSet::new(),
            stop: Arc::default(),
        };
        for id in ids {
            let stop = Arc::clone(&asking.stop);
            asking.clients.spawn(ask(api.clone(), id.clone(), stop));
        }
        asking
    }

    /// Stops, and fails with the first answer that was wrong.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        while let Some(client) = self.clients.join_next().await {
            let seen = client??;
            ensure!(seen.found > 0, "a job was never found");
            all.found += seen.found;
            all.later += seen.later;
        }
        eprintln!("{} answers, {} to come back later", all.found, all.later);
        Ok(())
    }
}

/// Asks for a job until told to stop. It may be told to come back, never that there is no such job,
/// and what it was told is never taken back.
async fn ask(api: Api, id: String, stop: Arc<AtomicBool>) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut best = (0, 0);
    let path = format!("/v1/jobs/{id}");
    while !stop.load(Ordering::Relaxed) {
        let answer = api.send(Method::GET, &path, &[], None).await?;
        match answer.status {
            200 => {
                seen.found += 1;
                let now = standing(&answer.body).with_context(|| answer.text.clone())?;
                ensure!(now >= best, "{id} was at {best:?}: {}", answer.text);
                best = now;
            }
            503 if is_on_its_way(&answer) => seen.later += 1,
            _ => bail!("{id}: {answer:?}"),
        }
        pace().await;
    }
    Ok(seen)
}

/// How far a job is: an end is the furthest, then the attempt decides.
fn standing(job: &Value) -> Option<(u64, u64)> {
    let attempt = job["attempt"].as_u64()?;
    match job["state"].as_str()? {
        "retrying" => Some((attempt, 1)),
        "queued" => Some((attempt, 2)),
        "running" => Some((attempt, 3)),
        _ => Some((u64::MAX, 0)),
    }
}
