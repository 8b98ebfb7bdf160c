//! Many open streams of events on one server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, stream};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    load::{self, Sample},
    programs::Suite,
    report,
};

/// How many requests open streams at the same time.
const AT_ONCE: usize = 64;

/// How many events are timed.
const EVENTS: usize = 200;

/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the streams cost.
pub(crate) struct Streams {
    pub open: usize,
    /// Memory of the server for each, in bytes.
    pub each: u64,
    /// From asking to cancel a job to its event at the client.
    pub delay: Sample,
}

/// Opens one stream for each of `count` queued jobs, then cancels some of them and waits for the
/// event on the job's stream.
pub(crate) async fn open(suite: &Suite, count: usize) -> Result<Streams> {
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
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_>>()?;

    let before = suite.memory_of("vmctl-server")?;
    let (seen, mut arrivals) = mpsc::channel(EVENTS);
    let opened: Vec<Result<Response>> = stream::iter(&jobs)
        .map(|id| follow(&http, endpoint, &token, id))
        .buffered(AT_ONCE)
        .collect()
        .await;
    for stream in opened {
        tokio::spawn(watch(stream?, seen.clone()));
    }
    let after = suite.memory_of("vmctl-server")?;

    let mut times = Vec::new();
    let started = Instant::now();
    for id in jobs.iter().take(EVENTS) {
        let asked = Instant::now();
        let answer = http
            .post(format!("{endpoint}/v1/jobs/{id}/cancel"))
            .header("X-Auth-Token", &token)
            .send()
            .await?;
        ensure!(answer.status() == 202, "{} for a cancel", answer.status());
        let arrived = timeout(PATIENCE, arrivals.recv()).await;
        let arrived = arrived.context("no event")?.context("no stream is left")?;
        times.push(arrived.duration_since(asked));
    }
    let mut delay = Sample::default();
    delay.extend(times);
    delay.elapsed = started.elapsed();
    Ok(Streams {
        open: jobs.len(),
        each: after.saturating_sub(before) / jobs.len().max(1) as u64,
        delay,
    })
}

async fn submit(http: &Client, endpoint: &str, token: &str) -> Result<String> {
    let answer = http
        .post(format!("{endpoint}/v1/jobs"))
        .header("X-Auth-Token", token)
        .json(&json!({"kind": "vm.create", "input": load::input()}))
        .send()
        .await?;
    let body: Value = answer.error_for_status()?.json().await?;
    Ok(body["id"].as_str().context("no id")?.to_owned())
}

/// Opens a stream and reads its snapshot.
async fn follow(http: &Client, endpoint: &str, token: &str, id: &str) -> Result<Response> {
    let answer = http
        .get(format!("{endpoint}/v1/jobs/{id}/events"))
        .header("X-Auth-Token", token)
        .header("Accept", "text/event-stream")
        .send()
        .await?;
    let mut answer = answer.error_for_status()?;
    let mut text = Vec::new();
    while !contains(&text, b"event: snapshot") {
        match answer.chunk().await? {
            Some(bytes) => text.extend_from_slice(&bytes),
            None => bail!("the stream of {id} has ended"),
        }
    }
    Ok(answer)
}

/// Reads a stream and says when it told of the cancel.
async fn watch(mut stream: Response, seen: mpsc::Sender<Instant>) {
    let mut text = Vec::new();
    while let Ok(Some(bytes)) = stream.chunk().await {
        text.extend_from_slice(&bytes);
        if contains(&text, b"event: cancel_requested") {
            // Nobody asks any more: the measurement is over.
            let _ = seen.send(Instant::now()).await;
            text.clear();
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
