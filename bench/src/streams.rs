//! Many open streams of events on one server.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    load::{self, Sample},
    programs::{Setup, Suite},
    report,
};

/// How many streams are opened at the same time.
const AT_ONCE: usize = 64;

/// How many jobs are cancelled at the same time.
const CANCELS: usize = 4;

/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens one stream for each of `count` queued jobs, then cancels them all and waits for the event on
/// each job's stream.
pub(crate) async fn measure(bin: &Path, count: usize) -> Result<()> {
    report::title("Streams of events: one server, each follows a job of its own");
    let setup = Setup {
        name: "streams",
        ..Setup::default()
    };
    let suite = Suite::start(bin, setup).await?;
    let endpoint = &suite.endpoint;
    report::command(&format!(
        "{count} times: GET {endpoint}/v1/jobs/{{id}}/events with Accept: text/event-stream"
    ));
    let token = suite.login().await?;
    // A stream says something every 15 s.
    let http = Client::builder()
        .no_proxy()
        .read_timeout(PATIENCE)
        .build()?;
    let jobs: Vec<String> = stream::iter(0..count)
        .map(|_| submit(&http, endpoint, &token))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;

    let before = suite.memory_of("vmctl-server")?;
    let streams: Vec<_> = stream::iter(&jobs)
        .map(|id| follow(&http, endpoint, &token, id))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let watching: Vec<_> = streams
        .into_iter()
        .map(|s| tokio::spawn(watch(s)))
        .collect();
    let after = suite.memory_of("vmctl-server")?;
    let cpu = suite.cpu()?;

    let started = Instant::now();
    let asked: Vec<Instant> = stream::iter(&jobs)
        .map(|id| cancel(&http, endpoint, &token, id))
        .buffered(CANCELS)
        .try_collect()
        .await?;
    let mut times = Vec::new();
    for (asked, seen) in asked.into_iter().zip(watching) {
        let seen = timeout(PATIENCE, seen).await.context("no event")??;
        let seen = seen.context("a stream has ended without its event")?;
        times.push(seen.duration_since(asked));
    }
    report::text("open at once", &jobs.len().to_string());
    let each = after.saturating_sub(before) / jobs.len().max(1) as u64;
    report::kib("memory of the server for each", each);
    let delay = Sample::of(times, started.elapsed());
    report::spread("cancel asked to event seen, each stream", &delay);
    report::rate("  events", delay.per_second());
    report::cpu(&cpu.since(), delay.len());
    suite.stop().await
}

/// Asks to cancel a job; returns when it did.
async fn cancel(http: &Client, endpoint: &str, token: &str, id: &str) -> Result<Instant> {
    let asked = Instant::now();
    let request = http.post(format!("{endpoint}/v1/jobs/{id}/cancel"));
    let answer = load::send(request.header("X-Auth-Token", token)).await?;
    ensure!(answer.status() == 202, "{} for a cancel", answer.status());
    Ok(asked)
}

async fn submit(http: &Client, endpoint: &str, token: &str) -> Result<String> {
    let request = http
        .post(format!("{endpoint}/v1/jobs"))
        .header("X-Auth-Token", token)
        .json(&json!({"kind": "vm.create", "input": load::input()}));
    let body: Value = load::send(request).await?.json().await?;
    Ok(body["id"].as_str().context("no id")?.to_owned())
}

/// Opens a stream and reads its snapshot.
pub(crate) async fn follow(
    http: &Client,
    endpoint: &str,
    token: &str,
    id: &str,
) -> Result<Response> {
    let request = http
        .get(format!("{endpoint}/v1/jobs/{id}/events"))
        .header("X-Auth-Token", token)
        .header("Accept", "text/event-stream");
    let mut answer = load::send(request).await?;
    let mut text = Vec::new();
    while !contains(&text, b"event: snapshot") {
        match answer.chunk().await? {
            Some(bytes) => text.extend_from_slice(&bytes),
            None => bail!("the stream of {id} has ended"),
        }
    }
    Ok(answer)
}

/// Reads a stream until it tells of the cancel; returns when that was.
async fn watch(mut stream: Response) -> Option<Instant> {
    let mut text = Vec::new();
    while let Ok(Some(bytes)) = stream.chunk().await {
        text.extend_from_slice(&bytes);
        if contains(&text, b"event: cancel_requested") {
            return Some(Instant::now());
        }
    }
    None
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
