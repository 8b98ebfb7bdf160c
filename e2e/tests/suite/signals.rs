//! Programs that are told to stop in the middle of work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use reqwest::Method;

use crate::support::{
    api::{Api, creation},
    effects::one_machine_each,
    suite::{DRAIN, Suite},
    wait::{eventually, pace, within},
};

/// After a second signal nothing is waited for; the rest is for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn t13_a_worker_that_is_told_to_stop_hands_its_work_over() -> Result<()> {
    let Some(mut suite) = Suite::new("stop-worker").await? else {
        return Ok(());
    };
    // Work is still in hand when it is told, also on a busy machine.
    suite.set("VMCTL_SIMULATED_DURATION", "5s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let ids = api.create_many(12).await?;
    api.at_least(4, "running", &ids).await?;
    three.worker.stop(DRAIN).await?;
    let states = api.states(&ids).await?;
    ensure!(states.get("succeeded") != Some(&12), "stopped too late");

    let worker = suite.start("worker").await?;
    for id in &ids {
        let job = api.until(id, "succeeded").await?;
        ensure!(job["attempt"] == 1, "a clean stop cost an attempt: {job}");
    }
    one_machine_each(&suite.machines(), &ids)?;
    worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}

/// Submits until the server takes no more; the ids that were accepted.
async fn submit_until(api: Api, stop: Arc<AtomicBool>) -> Result<Vec<String>> {
    let mut accepted = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // No answer is no promise.
        if let Ok(answer) = api.post("/v1/jobs", &creation()).await {
            match answer.status {
                202 => accepted.push(answer.body["id"].as_str().unwrap_or_default().to_owned()),
                503 => {}
                _ => anyhow::bail!("{answer:?}"),
            }
        }
        pace().await;
    }
    Ok(accepted)
}

#[tokio::test]
async fn t13_a_server_that_is_told_to_stop_keeps_what_it_accepted() -> Result<()> {
    let Some(mut suite) = Suite::new("stop-server").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    // Nobody works on this one: the poll is held.
    let worker = three.worker;
    worker.stop(DRAIN).await?;
    let waiting = api.create().await?;
    let held = tokio::spawn({
        let (api, path) = (api.clone(), format!("/v1/jobs/{waiting}?"));
        async move {
            let etag = api.get(&path).await?.headers["etag"].to_str()?.to_owned();
            let prefer = [("Prefer", "wait=50"), ("If-None-Match", etag.as_str())];
            api.send(Method::GET, &path, &prefer, None).await
        }
    });
    let stop = Arc::new(AtomicBool::new(false));
    let submitting = tokio::spawn(submit_until(api.clone(), Arc::clone(&stop)));
    eventually("some are accepted", async || {
        let list = api.get("/v1/jobs?limit=50").await;
        let list = list.map_err(|e| format!("{e:#}"))?;
        let count = list.body["items"].as_array().map_or(0, Vec::len);
        (count >= 10).then_some(()).ok_or(format!("{count}"))
    })
    .await?;
    three.server.stop(DRAIN).await?;
    stop.store(true, Ordering::Relaxed);
    let mut ids = submitting.await??;
    // Answered or cut: it did not hold the server.
    let _ = held.await?;

    let (server, worker) = (suite.start("server").await?, suite.start("worker").await?);
    suite.probe(&server, "ready", 200).await?;
    let api = suite.user(&server).await?;
    ensure!(ids.len() >= 9, "accepted {ids:?}");
    ids.push(waiting);
    api.all_succeed(&ids).await?;
    worker.stop(DRAIN).await?;
    server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}

#[tokio::test]
async fn t13_a_reader_that_is_told_to_stop_is_followed_by_the_next() -> Result<()> {
    let Some(mut suite) = Suite::new("stop-reader").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "4s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let ids = api.create_many(20).await?;
    api.at_least(3, "running", &ids).await?;
    three.reader.stop(DRAIN).await?;
    let reader = suite.start("reader").await?;
    api.all_succeed(&ids).await?;
    one_machine_each(&suite.machines(), &ids)?;
    three.worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    reader.stop(DRAIN).await
}

#[tokio::test]
async fn a_second_signal_ends_a_program_at_once() -> Result<()> {
    let Some(mut suite) = Suite::on_victim("second-signal").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "5s");
    suite.redis.start().await?;
    let mut three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let ids = api.create_many(8).await?;
    api.at_least(4, "running", &ids).await?;
    // A broker that does not answer: nobody can give anything back.
    suite.victim()?.freeze().await?;
    let in_flight = tokio::spawn({
        let api = api.clone();
        async move { api.post("/v1/jobs", &creation()).await }
    });
    // The worker cannot give its work back, whatever it does; the others may have ended already.
    for (process, codes) in [
        (&mut three.worker, &[143][..]),
        (&mut three.server, &[143, 0]),
        (&mut three.reader, &[143, 0]),
    ] {
        process.signal("TERM")?;
        within(AT_ONCE, "the first signal is heard", async || {
            let log = process.log().map_err(|e| format!("{e:#}"))?;
            log.contains("\"stopping").then_some(()).ok_or(log)
        })
        .await?;
        if process.runs()? {
            process.signal("TERM")?;
        }
        let code = process.exit(AT_ONCE).await?.code();
        ensure!(code.is_some_and(|code| codes.contains(&code)), "{code:?}");
    }
    // No answer is no promise.
    let _ = in_flight.await?;
    suite.victim()?.thaw().await?;
    three.worker.settle();
    three.server.settle();
    three.reader.settle();

    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    api.all_succeed(&ids).await?;
    three.stop().await
}
