//! Clients that submit and follow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{programs::Suite, report};

/// Time before a server that is too busy is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// How long things took.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    times: Vec<Duration>,
    /// From the first start to the last end.
    pub elapsed: Duration,
    /// Requests that were answered with 503 or 429 and not counted.
    pub refused: usize,
}

impl Sample {
    pub(crate) fn of(times: Vec<Duration>, elapsed: Duration) -> Self {
        Self {
            times,
            elapsed,
            refused: 0,
        }
    }

    pub(crate) fn extend(&mut self, times: Vec<Duration>) {
        self.times.extend(times);
    }

    /// Adds a sample that was taken after this one.
    pub(crate) fn join(&mut self, other: Self) {
        self.times.extend(other.times);
        self.elapsed += other.elapsed;
        self.refused += other.refused;
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(crate) fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a sample of a few thousand"
    )]
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let index = (times.len().saturating_sub(1)) as f64 * quantile;
        times
            .get(index.round() as usize)
            .copied()
            .unwrap_or_default()
    }
}

/// What every job of the bench asks for.
pub(crate) fn input() -> Value {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // A host name is there once in a project.
    let name = format!("lxbench{}", NEXT.fetch_add(1, Ordering::Relaxed));
    json!({
        "app_env": "DEV", "app_trigram": "vmc", "vm_desc": "", "vm_hostname": name,
        "vm_profile": "Micro", "vm_region": "GreaterParis",
    })
}

/// Submits as fast as the server accepts.
pub(crate) async fn submit(suite: &Suite, clients: usize, span: Duration) -> Result<Sample> {
    report::command(&format!(
        "{clients} clients: POST {}/v1/jobs for {} s",
        suite.endpoint,
        span.as_secs()
    ));
    let token = suite.login().await?;
    submit_to(&suite.endpoint, &[token], clients, span).await
}

/// Submits to this endpoint as fast as it accepts, with each token in turn.
pub(crate) async fn submit_to(
    endpoint: &str,
    tokens: &[String],
    clients: usize,
    span: Duration,
) -> Result<Sample> {
    submit_until(endpoint, tokens, clients, Until::Elapsed(span)).await
}

/// As [`submit_to`], until the load is to end.
pub(crate) async fn submit_until(
    endpoint: &str,
    tokens: &[String],
    clients: usize,
    until: Until<'_>,
) -> Result<Sample> {
    let turn = AtomicUsize::new(0);
    run(clients, until, |http| {
        let token = &tokens[turn.fetch_add(1, Ordering::Relaxed) % tokens.len()];
        let (endpoint, token) = (endpoint.to_owned(), token.clone());
        async move {
            let sent = Instant::now();
            let answer = post(&http, &endpoint, &token).await?;
            Ok(answer.map(|_| sent.elapsed()))
        }
    })
    .await
}

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until<'a> {
    Elapsed(Duration),
    Jobs(usize),
    Told(&'a AtomicBool),
}

/// Submits a job, waits for its end, and so on.
pub(crate) async fn follow(suite: &Suite, clients: usize, until: Until<'_>) -> Result<Sample> {
    report::command(&format!(
        "{clients} client(s): POST {}/v1/jobs, then GET with Prefer: wait=30 until succeeded",
        suite.endpoint
    ));
    let token = suite.login().await?;
    follow_at(&suite.endpoint, &token, clients, until).await
}

/// As [`follow`], as the user of a token.
pub(crate) async fn follow_at(
    endpoint: &str,
    token: &str,
    clients: usize,
    until: Until<'_>,
) -> Result<Sample> {
    run(clients, until, |http| {
        let (endpoint, token) = (endpoint.to_owned(), token.to_owned());
        async move {
            let sent = Instant::now();
            let ended = submit_and_wait(&http, &endpoint, &token).await?;
            Ok(ended.map(|_| sent.elapsed()))
        }
    })
    .await
}

/// Submits a job and waits for its end; `None` when the server refused for now.
pub(crate) async fn submit_and_wait(
    http: &Client,
    endpoint: &str,
    token: &str,
) -> Result<Option<Seen>> {
    let sent = Instant::now();
    let Some(mut job) = post(http, endpoint, token).await? else {
        return Ok(None);
    };
    while job.state != "succeeded" {
        if sent.elapsed() > Duration::from_secs(60) {
            bail!("job {} is still {} after a minute", job.id, job.state);
        }
        job = get(http, endpoint, token, job).await?;
    }
    Ok(Some(job))
}

/// Makes an HTTP client that goes to loopback and gives up after a minute.
pub(crate) fn http(clients: usize) -> Result<Client> {
    let http = Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(clients)
        .timeout(Duration::from_secs(60));
    Ok(http.build()?)
}

/// Lets each client do one thing after the other.
pub(crate) async fn run<F, T>(clients: usize, until: Until<'_>, one: F) -> Result<Sample>
where
    F: Fn(Client) -> T,
    T: Future<Output = Result<Option<Duration>>> + Send + 'static,
{
    let http = http(clients)?;
    let started = Instant::now();
    let done = Arc::new(AtomicUsize::new(0));
    let over = || match until {
        Until::Elapsed(span) => started.elapsed() >= span,
        Until::Jobs(jobs) => done.load(Ordering::Relaxed) >= jobs,
        Until::Told(over) => over.load(Ordering::Relaxed),
    };
    let workers = (0..clients).map(|_| async {
        let mut times = Vec::new();
        let mut refused = 0_usize;
        while !over() {
            // On a task of its own: clients must not share one thread with each other.
            match tokio::spawn(one(http.clone())).await?? {
                Some(time) => {
                    times.push(time);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                None => refused += 1,
            }
        }
        anyhow::Ok((times, refused))
    });
    let mut sample = Sample::default();
    for worker in futures::future::join_all(workers).await {
        let (times, refused) = worker?;
        sample.extend(times);
        sample.refused += refused;
    }
    sample.elapsed = started.elapsed();
    Ok(sample)
}

/// Sends a request that may be repeated, again while the server is too busy, at most for a minute.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response> {
    let started = Instant::now();
    loop {
        let again = request.try_clone().context("a body that is a stream")?;
        let answer = again.send().await?;
        let busy = answer.status() == StatusCode::SERVICE_UNAVAILABLE;
        if !busy || started.elapsed() > Duration::from_secs(60) {
            return Ok(answer.error_for_status()?);
        }
        sleep(AGAIN).await;
    }
}

/// A job as the server has shown it.
pub(crate) struct Seen {
    pub id: String,
    pub state: String,
    pub project: String,
    etag: Option<String>,
}

/// Submits; `None` when the server refused for now.
pub(crate) async fn post(http: &Client, endpoint: &str, token: &str) -> Result<Option<Seen>> {
    let answer = http
        .post(format!("{endpoint}/v1/jobs"))
        .header("X-Auth-Token", token)
        .json(&json!({"kind": "vm.create", "input": input()}))
        .send()
        .await?;
    match answer.status() {
        StatusCode::ACCEPTED | StatusCode::OK => Ok(Some(seen(answer, None).await?)),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Ok(None),
        status => bail!("POST answered {status}: {}", answer.text().await?),
    }
}

async fn get(http: &Client, endpoint: &str, token: &str, job: Seen) -> Result<Seen> {
    let mut request = http
        .get(format!("{endpoint}/v1/jobs/{}", job.id))
        .header("X-Auth-Token", token)
        .header("Prefer", "wait=30");
    if let Some(etag) = &job.etag {
        request = request.header("If-None-Match", etag);
    }
    let answer = request.send().await?;
    match answer.status() {
        StatusCode::OK => seen(answer, None).await,
        StatusCode::NOT_MODIFIED => seen(answer, Some(job)).await,
        // The view did not answer in time, which is not the end of the job.
        StatusCode::SERVICE_UNAVAILABLE => {
            sleep(AGAIN).await;
            Ok(job)
        }
        status => bail!("GET answered {status}: {}", answer.text().await?),
    }
}

async fn seen(answer: Response, unchanged: Option<Seen>) -> Result<Seen> {
    if let Some(job) = unchanged {
        return Ok(job);
    }
    let etag = answer
        .headers()
        .get("etag")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let body: Value = answer.json().await?;
    let text = |name: &str| -> Result<String> {
        Ok(body[name]
            .as_str()
            .with_context(|| format!("no {name} in {body}"))?
            .to_owned())
    };
    let (id, state, project) = (text("id")?, text("state")?, text("project_id")?);
    if state == "failed" || state == "cancelled" {
        bail!("job {id} {state}: {}", body["error"]);
    }
    Ok(Seen {
        id,
        state,
        project,
        etag,
    })
}
