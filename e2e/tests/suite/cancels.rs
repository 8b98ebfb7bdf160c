//! Jobs that are ended before they are done: cancelled, or past their deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::support::{
    api::creation,
    effects::{effects, one_machine_each},
    suite::{DRAIN, Suite},
    wait::eventually,
};

/// Far longer than any of these tests takes.
const FOR_EVER: &str = "20m";

#[tokio::test]
async fn t12_cancel_with_all_workers_down_then_start_one() -> Result<()> {
    let Some(suite) = Suite::new("cancel-queued").await? else {
        return Ok(());
    };
    let server = suite.start("server").await?;
    let reader = suite.start("reader").await?;
    suite.probe(&server, "ready", 200).await?;
    let api = suite.user(&server).await?;
    let (cancelled, kept) = (api.create().await?, api.create().await?);
    let path = format!("/v1/jobs/{cancelled}/cancel");
    let answer = api.post(&path, &json!({"reason": "not needed"})).await?;
    let answer = answer.expect(202)?;
    ensure!(answer.body["cancel_requested_at"].is_string(), "{answer:?}");
    ensure!(answer.body["state"] == "queued", "{answer:?}");

    let worker = suite.start("worker").await?;
    let job = api.until(&cancelled, "cancelled").await?;
    ensure!(job["started_at"].is_null(), "{job}");
    api.until(&kept, "succeeded").await?;
    let effects = effects(&suite.machines())?;
    ensure!(
        effects.iter().all(|effect| effect.job == kept),
        "{effects:?}"
    );
    api.post(&path, &json!({})).await?.expect(200)?;
    let late = api
        .post(&format!("/v1/jobs/{kept}/cancel"), &json!({}))
        .await?;
    ensure!(late.expect(409)?.problem() == "already-terminal");
    let shown = api.get(&format!("/v1/vm/{cancelled}")).await?.expect(200)?;
    ensure!(shown.body["state"] == "CANCELLED", "{shown:?}");
    worker.stop(DRAIN).await?;
    server.stop(DRAIN).await?;
    reader.stop(DRAIN).await
}

#[tokio::test]
async fn a_cancelled_job_runs_when_it_is_retried() -> Result<()> {
    let Some(suite) = Suite::new("retry").await? else {
        return Ok(());
    };
    let server = suite.start("server").await?;
    let reader = suite.start("reader").await?;
    suite.probe(&server, "ready", 200).await?;
    let api = suite.user(&server).await?;
    let id = api.create().await?;
    let cancel = format!("/v1/jobs/{id}/cancel");
    let retry = format!("/v1/jobs/{id}/retry");
    let live = api.post(&retry, &json!({})).await?;
    ensure!(live.expect(409)?.problem() == "not-retryable");
    api.post(&cancel, &json!({})).await?.expect(202)?;
    let worker = suite.start("worker").await?;
    api.until(&id, "cancelled").await?;

    let again = api.post(&retry, &json!({})).await?.expect(202)?;
    ensure!(again.body["state"] == "queued", "{again:?}");
    ensure!(again.body["cancel_requested_at"].is_null(), "{again:?}");
    let job = api.until(&id, "succeeded").await?;
    ensure!(
        (&job["epoch"], &job["attempt"]) == (&json!(1), &json!(1)),
        "{job}"
    );
    one_machine_each(&suite.machines(), &[id])?;
    let done = api.post(&retry, &json!({})).await?;
    ensure!(done.expect(409)?.problem() == "not-retryable");
    worker.stop(DRAIN).await?;
    server.stop(DRAIN).await?;
    reader.stop(DRAIN).await
}

#[tokio::test]
async fn a_running_job_is_cancelled_and_cleans_up() -> Result<()> {
    let Some(mut suite) = Suite::new("cancel-running").await? else {
        return Ok(());
    };
    // The machine exists from a twentieth on.
    suite.set("VMCTL_SIMULATED_DURATION", "60s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let id = api.create().await?;
    let machine = suite.machines().join("machines").join(format!("{id}.json"));
    eventually("there is a machine", async || {
        machine.exists().then_some(()).ok_or("not yet".to_owned())
    })
    .await?;
    api.until(&id, "running").await?;
    let asked = Instant::now();
    api.post(&format!("/v1/jobs/{id}/cancel"), &json!({}))
        .await?
        .expect(202)?;
    api.until(&id, "cancelled").await?;
    ensure!(
        asked.elapsed() < Duration::from_secs(30),
        "{:?}",
        asked.elapsed()
    );
    ensure!(!machine.exists(), "the machine is still there");
    let effects = effects(&suite.machines())?;
    let deleted = effects
        .iter()
        .filter(|effect| effect.what == "delete")
        .count();
    ensure!(deleted == 1, "{effects:?}");
    three.stop().await
}

#[tokio::test]
async fn a_job_ends_with_its_deadline() -> Result<()> {
    let Some(mut suite) = Suite::new("deadline").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", FOR_EVER);
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let short = |deadline: &str| {
        let mut body = creation();
        body["deadline"] = deadline.into();
        body
    };
    let running = api.submit(&short("PT5S")).await?;
    let job = api.until(&running, "failed").await?;
    ensure!(job["error"]["type"] == "deadline", "{job}");
    ensure!(job["started_at"].is_string(), "{job}");

    // Past before anybody could take it.
    three.worker.stop(DRAIN).await?;
    let asked = Instant::now();
    let queued = api.submit(&short("1s")).await?;
    eventually("the deadline is past", async || {
        let past = asked.elapsed() > Duration::from_secs(2);
        past.then_some(()).ok_or("not yet".to_owned())
    })
    .await?;
    let worker = suite.start("worker").await?;
    let job = api.until(&queued, "failed").await?;
    ensure!(job["error"]["type"] == "deadline", "{job}");
    let effects = effects(&suite.machines())?;
    ensure!(
        effects.iter().all(|effect| effect.job == running),
        "{effects:?}"
    );
    worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}
