//! Losing Redis: how long the reader takes to rebuild the view from the log, and what clients are
//! told meanwhile.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::{
    load::{self, Until},
    programs::{self, Setup, Suite},
    report, services,
};

/// Clients that submit.
const CLIENTS: usize = 64;

/// Clients that ask for jobs while the view is rebuilt.
const ASKING: usize = 8;

/// Longest time for the log to be filled.
const FILL: Duration = Duration::from_secs(180);

/// Longest time for the rebuild.
const REBUILD: Duration = Duration::from_secs(120);

/// The worker takes one slice for each phase of a machine, so that a job has eight events.
const SLICES: [(&str, &str); 1] = [("VMCTL_SIMULATED_DURATION", "6ms")];

/// How many answers of each status there were.
type Answers = BTreeMap<u16, usize>;

/// Fills the log with `events` events of real jobs, flushes Redis, and asks until all is back.
/// Returns how long that took for each job.
pub(crate) async fn measure(bin: &Path, events: u32) -> Result<Duration> {
    report::title("Losing Redis: FLUSHALL, then the reader rebuilds the view from the log");
    let setup = Setup {
        name: "rebuild",
        worker: true,
        settings: &SLICES,
        ..Setup::default()
    };
    let suite = Suite::start(bin, setup).await?;
    let token = suite.login().await?;
    let jobs = fill(&suite, &token, f64::from(events)).await?;
    let before = suite.facts_read().await?;
    let cpu = suite.cpu()?;

    report::command(&format!(
        "{ASKING} clients: GET {}/v1/jobs/{{id}}, any of {} jobs that have ended",
        suite.endpoint,
        jobs.len()
    ));
    let rebuilt = AtomicBool::new(false);
    services::flush_redis().await?;
    let started = Instant::now();
    let back = async {
        let all = || async { suite.facts_read().await.is_ok_and(|n| n >= 2.0 * before) };
        let end = programs::within("the view is back", REBUILD, all).await;
        rebuilt.store(true, Ordering::Relaxed);
        end.map(|()| started.elapsed())
    };
    let (took, answers) = tokio::join!(back, ask(&suite, &token, &jobs, &rebuilt));
    let (took, answers) = (took?.as_secs_f64(), answers?);

    report::text("events in the log", &format!("{before:.0}"));
    report::text("the view is back after", &format!("{took:.2} s"));
    report::rate("events", before / took);
    report::text(
        "so for each 100,000 events",
        &format!("{:.2} s", took / before * 1e5),
    );
    let of = |status: StatusCode| answers.get(&status.as_u16()).copied().unwrap_or(0);
    report::text("answers meanwhile: 200", &of(StatusCode::OK).to_string());
    report::text(
        "  503 state-rebuilding",
        &of(StatusCode::SERVICE_UNAVAILABLE).to_string(),
    );
    report::text("  false 404", &of(StatusCode::NOT_FOUND).to_string());
    let other: usize = answers.values().sum::<usize>()
        - [
            StatusCode::OK,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::NOT_FOUND,
        ]
        .map(of)
        .iter()
        .sum::<usize>();
    report::text("  anything else", &other.to_string());
    report::cpu(&cpu.since(), 0);
    let lost = missing(&suite, &token, &jobs).await?;
    report::text(
        "jobs that are not `succeeded` afterwards",
        &lost.to_string(),
    );
    suite.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "some hundred thousand at most")]
    Ok(Duration::from_secs_f64(took / jobs.len().max(1) as f64))
}

/// Lets jobs run to their ends until the log has so many events of theirs; returns their ids.
async fn fill(suite: &Suite, token: &str, events: f64) -> Result<Vec<String>> {
    report::command(&format!(
        "{CLIENTS} clients: POST {}/v1/jobs, wait for the end, until the log has {events} events",
        suite.endpoint
    ));
    let (ids, full) = (Arc::new(Mutex::new(Vec::new())), AtomicBool::new(false));
    let submit = load::run(CLIENTS, Until::Told(&full), |http| {
        let (endpoint, token) = (suite.endpoint.clone(), token.to_owned());
        let ids = Arc::clone(&ids);
        async move {
            let sent = Instant::now();
            let Some(job) = load::submit_and_wait(&http, &endpoint, &token).await? else {
                return Ok(None);
            };
            let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
            ids.push(job.id);
            Ok(Some(sent.elapsed()))
        }
    });
    let watch = async {
        let enough = || async { suite.facts_read().await.is_ok_and(|read| read >= events) };
        // Fewer, if it is slow: what is printed says how many.
        let _ = programs::within("so many events", FILL, enough).await;
        full.store(true, Ordering::Relaxed);
    };
    let (submitted, ()) = tokio::join!(submit, watch);
    submitted?;
    let ids = std::mem::take(&mut *ids.lock().unwrap_or_else(PoisonError::into_inner));
    ensure!(!ids.is_empty(), "no job was accepted");
    Ok(ids)
}

/// Asks for one job after the other until the view is back.
async fn ask(suite: &Suite, token: &str, jobs: &[String], over: &AtomicBool) -> Result<Answers> {
    let http = load::http(ASKING)?;
    let clients = (0..ASKING).map(|client| {
        let http = &http;
        async move {
            let mut answers = Answers::new();
            // Each goes through all jobs, in steps that are prime to most counts.
            let mut at = client * jobs.len() / ASKING;
            while !over.load(Ordering::Relaxed) {
                at = (at + 7919) % jobs.len();
                let (status, _) = get(http, suite, token, &jobs[at]).await?;
                *answers.entry(status.as_u16()).or_default() += 1;
            }
            anyhow::Ok(answers)
        }
    });
    let mut all = Answers::new();
    for answers in futures::future::try_join_all(clients).await? {
        for (status, count) in answers {
            *all.entry(status).or_default() += count;
        }
    }
    Ok(all)
}

/// Counts the jobs among a thousand that the view does not show as they were.
async fn missing(suite: &Suite, token: &str, jobs: &[String]) -> Result<usize> {
    let http = load::http(1)?;
    let mut missing = 0;
    for id in jobs.iter().step_by((jobs.len() / 1_000).max(1)) {
        let (status, body) = get(&http, suite, token, id).await?;
        if status != StatusCode::OK || body["state"] != "succeeded" {
            missing += 1;
        }
    }
    Ok(missing)
}

async fn get(http: &Client, suite: &Suite, token: &str, id: &str) -> Result<(StatusCode, Value)> {
    let answer = http
        .get(format!("{}/v1/jobs/{id}", suite.endpoint))
        .header("X-Auth-Token", token)
        .send()
        .await
        .context("GET a job")?;
    Ok((answer.status(), answer.json().await?))
}
