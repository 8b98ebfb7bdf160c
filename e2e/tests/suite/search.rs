//! The log in a search cluster: one in this process, which checks what a real one checks.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vmctl_search::testing::{Product, StandIn};

use crate::support::{
    api::{Api, creation},
    suite::{DRAIN, Suite},
    wait::eventually,
};

/// Jobs of the run.
const JOBS: u32 = 200;

/// Jobs of the run before it.
const ALONE: u32 = 40;

/// Submits many jobs, one after another, and returns their ids and how long it took.
async fn submit(api: &Api, count: u32) -> Result<(Vec<String>, Duration)> {
    let started = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..count {
        let answer = api.post("/v1/jobs", &creation()).await?.expect(202)?;
        ids.push(answer.body["id"].as_str().context("no id")?.to_owned());
    }
    Ok((ids, started.elapsed()))
}

/// The ids of all events of these jobs, as the view tells them.
async fn events(api: &Api, ids: &[String]) -> Result<BTreeSet<String>> {
    let mut events = BTreeSet::new();
    for id in ids {
        let named = [("Accept", "application/json")];
        let path = format!("/v1/jobs/{id}/events");
        let history = eventually(&path, async || {
            let told = api.send(reqwest::Method::GET, &path, &named, None).await;
            let told = told.and_then(|answer| answer.expect(200));
            told.map_err(|error| format!("{error:#}"))
        })
        .await?;
        let items = history.body["items"].as_array().context("no items")?;
        let id = |event: &Value| event["id"].as_str().map(str::to_owned);
        events.extend(items.iter().filter_map(id));
    }
    Ok(events)
}

async fn found(api: &Api, words: &str) -> Result<Vec<String>> {
    let page = api.get(&format!("/v1/jobs?q={words}")).await?.expect(200)?;
    let items = page.body["items"].as_array().context("no items")?;
    let id = |job: &Value| job["id"].as_str().map(str::to_owned);
    Ok(items.iter().filter_map(id).collect())
}

#[tokio::test]
async fn t10_without_a_search_cluster_jobs_run_as_ever_and_no_event_is_missing_afterwards()
-> Result<()> {
    let Some(mut suite) = Suite::new("search").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "100ms");
    // A shorter run with nothing to be away, to compare with.
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let (before, alone) = submit(&api, ALONE).await?;
    api.all_succeed(&before).await?;
    three.stop().await?;

    let stand_in = StandIn::start(Product::OpenSearch).await;
    stand_in.leave().await;
    suite.set("VMCTL_SEARCH_URL", stand_in.url());
    let mut three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let (first, away) = submit(&api, JOBS / 2).await?;
    suite.redis.flush()?;
    three.reader.kill()?;
    three.reader = suite.start_ready("reader").await?;
    let (second, more) = submit(&api, JOBS / 2).await?;
    let ids = [first, second].concat();
    api.all_succeed(&ids).await?;
    let (alone, away) = (alone / ALONE, (away + more) / JOBS);
    eprintln!("a submission took {alone:?}, and {away:?} while the search cluster was away");
    // Both on one busy machine; a wait for the cluster would be seconds.
    ensure!(
        away < 3 * alone + Duration::from_secs(1),
        "{away:?}, alone {alone:?}"
    );
    let degraded = suite.report(&three.reader, "ready").await?;
    ensure!(
        degraded.contains("search cluster cannot be reached"),
        "{degraded}"
    );
    let refused = api.get("/v1/jobs?q=lx").await?.expect(503)?;
    ensure!(refused.problem() == "search-unavailable", "{refused:?}");

    stand_in.come_back().await;
    let wanted = events(&api, &[before, ids.clone()].concat()).await?;
    ensure!(
        wanted.len() >= 3 * (JOBS + ALONE) as usize,
        "{}",
        wanted.len()
    );
    let have = eventually("every event is indexed", async || {
        let have: Vec<_> = stand_in.documents().into_iter().map(|(id, _)| id).collect();
        let missing = wanted.difference(&have.iter().cloned().collect()).count();
        if missing == 0 {
            Ok(have)
        } else {
            Err(format!("{missing} are missing"))
        }
    })
    .await?;
    let once: BTreeSet<_> = have.iter().cloned().collect();
    ensure!(once.len() == have.len(), "an event is there twice");
    let healthy = suite.report(&three.reader, "ready").await?;
    ensure!(!healthy.contains("search cluster"), "{healthy}");

    // A killed reader and a flush leave no gap.
    three.reader.kill()?;
    suite.redis.flush()?;
    three.reader = suite.start_ready("reader").await?;
    let (third, _) = submit(&api, 10).await?;
    api.all_succeed(&third).await?;
    let wanted = events(&api, &third).await?;
    eventually("what came later is indexed", async || {
        let have: BTreeSet<_> = stand_in.documents().into_iter().map(|(id, _)| id).collect();
        let missing = wanted.difference(&have).count();
        if missing == 0 {
            Ok(())
        } else {
            Err(format!("{missing} are missing"))
        }
    })
    .await?;
    let count = stand_in.documents().len();
    let ids: BTreeSet<_> = stand_in.documents().into_iter().map(|(id, _)| id).collect();
    ensure!(ids.len() == count, "an event is there twice");
    three.stop().await
}

#[tokio::test]
async fn a_job_is_found_by_its_host_name_and_by_nobody_else() -> Result<()> {
    let Some(mut suite) = Suite::new("found").await? else {
        return Ok(());
    };
    let stand_in = StandIn::start(Product::Elasticsearch).await;
    let credential = "Basic dm1jdGw6Y2FuYXJ5"; // vmctl:canary
    stand_in.set_credential(credential);
    suite.set("VMCTL_SIMULATED_DURATION", "100ms");
    suite.set("VMCTL_SEARCH_URL", stand_in.url());
    suite.set("VMCTL_SEARCH_USERNAME", "vmctl");
    suite.set("VMCTL_SEARCH_PASSWORD", "canary");
    let three = suite.start_three().await?;
    // The indexer as a process of its own, beside one that has both roles.
    suite.set("VMCTL_READER_ROLES", "search");
    let indexer = suite.start_ready("reader").await?;
    let api = suite.user(&three.server).await?;
    let mut body = creation();
    let host = format!("lx-found-{}", std::process::id());
    body["input"]["vm_hostname"] = host.clone().into();
    let answer = api.post("/v1/jobs", &body).await?.expect(202)?;
    let id = answer.body["id"].as_str().context("no id")?.to_owned();
    api.all_succeed(std::slice::from_ref(&id)).await?;
    for words in [host.clone(), format!("{host}+succeeded"), id.clone()] {
        eventually("it is found", async || match found(&api, &words).await {
            Ok(ids) if ids == [id.clone()] => Ok(()),
            other => Err(format!("{words}: {other:?}")),
        })
        .await?;
    }
    let stranger = suite.stranger(&three.server).await?;
    ensure!(found(&stranger, &host).await?.is_empty());
    for process in [&three.server, &three.reader, &indexer] {
        ensure!(!process.log()?.contains("canary"));
    }
    indexer.stop(DRAIN).await?;
    three.stop().await
}
