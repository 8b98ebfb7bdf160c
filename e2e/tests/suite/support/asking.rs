//! Clients that ask for jobs all the time, and must never be told less than before.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, bail, ensure};
use reqwest::Method;
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
/// and an end that it was told stays.
async fn ask(api: Api, id: String, stop: Arc<AtomicBool>) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut ended = None;
    let path = format!("/v1/jobs/{id}");
    while !stop.load(Ordering::Relaxed) {
        let answer = api.send(Method::GET, &path, &[], None).await?;
        let state = answer.body["state"].clone();
        match answer.status {
            200 => seen.found += 1,
            503 if is_on_its_way(&answer) => seen.later += 1,
            _ => bail!("{id}: {answer:?}"),
        }
        if answer.status == 200 {
            let same = ended.as_ref().is_none_or(|ended| *ended == state);
            ensure!(same, "{id} was {ended:?} and is {state}");
            if answer.body["terminal"] == true {
                ended = Some(state);
            }
        }
        pace().await;
    }
    Ok(seen)
}
