//! Work that fails: tried again, given up, parked.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;

use crate::support::{
    api::creation,
    effects::{effects, one_machine_each},
    suite::{DRAIN, Suite},
    wait::eventually,
};

#[tokio::test]
async fn what_fails_twice_is_tried_three_times() -> Result<()> {
    let Some(mut suite) = Suite::new("retry").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    suite.set("VMCTL_SIMULATED_FAIL", "boot:2");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let id = api.create().await?;
    let job = api.until(&id, "retrying").await?;
    ensure!(job["next_attempt_at"].is_string(), "{job}");
    let job = api.until(&id, "succeeded").await?;
    ensure!(job["attempt"] == 3, "{job}");
    ensure!(job["error"].is_null(), "{job}");
    one_machine_each(&suite.machines(), &[id])?;
    three.stop().await
}

#[tokio::test]
async fn t11_a_message_that_is_no_command_is_parked_and_the_work_goes_on() -> Result<()> {
    let Some(mut suite) = Suite::new("poison").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let poison = [
        "not json",
        "{}",
        "[[[[",
        r#"{"specversion":"1.0","type":"jobs.submitted.v2"}"#,
    ];
    for text in poison {
        suite.vhost.publish("jobs", "job.vm.create", text).await?;
    }
    let ids = api.create_many(3).await?;
    api.all_succeed(&ids).await?;
    one_machine_each(&suite.machines(), &ids)?;
    let mut parked = Vec::new();
    eventually("the poison is parked", async || {
        let dead = suite.vhost.take("jobs.dead").await;
        parked.extend(dead.map_err(|error| format!("{error:#}"))?);
        (parked.len() >= poison.len())
            .then_some(())
            .ok_or(format!("{parked:?}"))
    })
    .await?;
    for text in poison {
        let times = parked.iter().filter(|m| m["payload"] == text).count();
        ensure!(times == 1, "{text} is parked {times} times: {parked:?}");
    }
    three.stop().await
}

#[tokio::test]
async fn a_held_request_is_answered_when_the_job_ends() -> Result<()> {
    let Some(mut suite) = Suite::new("held").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "1s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let wait = [("Prefer", "wait=45")];
    let answer = api
        .send(Method::POST, "/v1/jobs", &wait, Some(&creation()))
        .await?;
    let answer = answer.expect(200)?;
    ensure!(answer.body["state"] == "succeeded", "{answer:?}");
    ensure!(
        answer.headers.contains_key("preference-applied"),
        "{answer:?}"
    );

    // Nobody works: the poll sees nothing new until somebody does.
    three.worker.stop(DRAIN).await?;
    let queued = api.post("/v1/jobs", &creation()).await?.expect(202)?;
    let id = queued.body["id"].as_str().context("no id")?.to_owned();
    let path = format!("/v1/jobs/{id}");
    let etag = api.get(&path).await?.headers["etag"].to_str()?.to_owned();
    let known = [("If-None-Match", etag.as_str())];
    let same = api.send(Method::GET, &path, &known, None).await?;
    ensure!(same.status == 304, "{same:?}");
    let held = tokio::spawn({
        let (api, path, etag) = (api.clone(), path.clone(), etag.clone());
        async move {
            let headers = [("Prefer", "wait=60"), ("If-None-Match", etag.as_str())];
            api.send(Method::GET, &path, &headers, None).await
        }
    });
    let worker = suite.start("worker").await?;
    let changed = held.await??.expect(200)?;
    ensure!(changed.body["state"] != "queued", "{changed:?}");
    api.until(&id, "succeeded").await?;
    ensure!(!effects(&suite.machines())?.is_empty());
    worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}
