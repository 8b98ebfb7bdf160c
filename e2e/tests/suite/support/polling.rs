//! Clients that ask for thousands of jobs, all the time, from a few connections.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use super::api::Api;

/// Requests under way at once: more than a rebuilding view keeps waiting, on a small machine.
const CLIENTS: usize = 24;

/// Asks in turn for all jobs until it is stopped.
pub struct Polling {
    clients: JoinSet<Result<Answers>>,
    stop: Arc<AtomicBool>,
}

/// How often each answer came.
#[derive(Debug, Default, Clone, Copy)]
pub struct Answers {
    /// 200.
    pub found: usize,
    /// 503 `state-rebuilding`.
    pub rebuilding: usize,
    /// 503 `state-unavailable`: Redis itself was away.
    pub away: usize,
}

impl Polling {
    /// Starts to ask, in turn at each of the servers.
    pub fn start(servers: &[Api], ids: &[String]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let share: Vec<_> = ids.iter().skip(number).step_by(CLIENTS).cloned().collect();
            clients.spawn(poll(servers.to_vec(), share, Arc::clone(&stop)));
        }
        Self { clients, stop }
    }

    /// Stops, and fails with the first answer that was wrong.
    pub async fn stop(mut self) -> Result<Answers> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Answers::default();
        while let Some(client) = self.clients.join_next().await {
            let answers = client??;
            all.found += answers.found;
            all.rebuilding += answers.rebuilding;
            all.away += answers.away;
        }
        Ok(all)
    }
}

/// A job that was accepted may be told to be on its way, never that it is not there; and what was
/// told of it is never taken back, whichever server is asked.
async fn poll(servers: Vec<Api>, ids: Vec<String>, stop: Arc<AtomicBool>) -> Result<Answers> {
    let mut answers = Answers::default();
    let mut told: HashMap<&str, Standing> = HashMap::new();
    for round in 0.. {
        for (number, id) in ids.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Ok(answers);
            }
            let api = &servers[(number + round) % servers.len()];
            let path = format!("/v1/jobs/{id}");
            let answer = api.send(Method::GET, &path, &[], None).await?;
            match (answer.status, answer.problem()) {
                (200, _) => {
                    answers.found += 1;
                    let now = Standing::of(&answer.body).with_context(|| answer.text.clone())?;
                    let before = told.entry(id).or_default();
                    ensure!(*before <= now, "{id} was {before:?}: {}", answer.text);
                    ensure!(
                        before.cancelling <= now.cancelling,
                        "{id} was to be cancelled: {}",
                        answer.text
                    );
                    *before = now;
                }
                (503, "state-rebuilding") => answers.rebuilding += 1,
                (503, "state-unavailable") => answers.away += 1,
                _ => bail!("{id}: {answer:?}"),
            }
        }
    }
    Ok(answers)
}

/// How far a job is: an end is the furthest, then the attempt decides.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    ended: bool,
    attempt: u64,
    rank: u8,
    cancelling: bool,
}

impl Standing {
    fn of(job: &Value) -> Option<Self> {
        let rank = match job["state"].as_str()? {
            "retrying" => 1,
            "queued" => 2,
            "running" => 3,
            _ => 4,
        };
        Some(Self {
            ended: rank == 4,
            attempt: job["attempt"].as_u64()?,
            rank,
            cancelling: job["cancel_requested_at"].is_string(),
        })
    }
}
