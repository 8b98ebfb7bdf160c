//! Programs that die in the middle of work.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};

use crate::support::{
    asking::Asking,
    effects::{effects, one_machine_each, one_machine_each_despite_kills},
    suite::{DRAIN, Suite, Three},
    wait::{eventually, within},
};

/// A dead reader's partitions are taken over within 10 s; the rest is for a busy machine.
const TAKEOVER: Duration = Duration::from_secs(60);

#[tokio::test]
async fn t03_a_killed_worker_loses_nothing_and_repeats_nothing() -> Result<()> {
    const JOBS: usize = 100;
    let Some(mut suite) = Suite::new("kill-worker").await? else {
        return Ok(());
    };
    suite.set("VMCTL_WORKER_SLOTS", "32");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let ids = api.create_many(JOBS).await?;
    eventually("some machines are being made", async || {
        let effects = effects(&suite.machines()).map_err(|e| format!("{e:#}"))?;
        let count = |what| effects.iter().filter(|e| e.what == what).count();
        let (made, ready) = (count("effect"), booted(&suite));
        (made >= 5 && ready >= 1)
            .then_some(())
            .ok_or(format!("{made} made"))
    })
    .await?;
    three.worker.kill()?;
    let before = api.states(&ids).await?;
    ensure!(
        before.get("succeeded") != Some(&JOBS),
        "killed too late: {before:?}"
    );

    let worker = suite.start("worker").await?;
    api.all_succeed(&ids).await?;
    one_machine_each_despite_kills(&suite.machines(), &ids)?;
    worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}

/// The broker gives a message five times more.
const STARTS: usize = 6;

#[tokio::test]
async fn t11_a_job_that_kills_its_workers_ends_and_runs_again_when_asked() -> Result<()> {
    let Some(mut suite) = Suite::new("crash-loop").await? else {
        return Ok(());
    };
    // No slice ends while its worker lives.
    suite.set("VMCTL_SIMULATED_DURATION", "1000000s");
    let Three {
        server,
        reader,
        worker,
    } = suite.start_three().await?;
    worker.stop(DRAIN).await?;
    let api = suite.user(&server).await?;
    let id = api.create().await?;
    for start in 1..=STARTS {
        let worker = suite.start("worker").await?;
        let began = format!("worker {start} has begun");
        eventually(&began, async || {
            let metrics = suite.metrics(&worker).await;
            let metrics = metrics.map_err(|error| format!("{error:#}"))?;
            let active = |line: &str| line.starts_with("jobs_active") && line.ends_with(" 1");
            metrics.lines().any(active).then_some(()).ok_or(metrics)
        })
        .await?;
        worker.kill()?;
    }
    let job = api.until(&id, "failed").await?;
    ensure!(job["error"]["type"] == "delivery-limit", "{job}");

    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    let worker = suite.start_ready("worker").await?;
    let retry = format!("/v1/jobs/{id}/retry");
    api.post(&retry, &serde_json::json!({}))
        .await?
        .expect(202)?;
    api.until(&id, "succeeded").await?;
    one_machine_each_despite_kills(&suite.machines(), &[id])?;
    worker.stop(DRAIN).await?;
    server.stop(DRAIN).await?;
    reader.stop(DRAIN).await
}

/// Counts the machines that have booted.
fn booted(suite: &Suite) -> usize {
    let effects = effects(&suite.machines()).unwrap_or_default();
    let booted = |e: &&_| {
        let crate::support::effects::Effect { phase, what, .. } = *e;
        phase == "boot" && what == "start"
    };
    effects.iter().filter(booted).count()
}

#[tokio::test]
async fn two_of_each_share_the_work_and_one_dies() -> Result<()> {
    let Some(suite) = Suite::new("pairs").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let (second_worker, second_reader) = (
        suite.start_ready("worker").await?,
        suite.start_ready("reader").await?,
    );
    let api = suite.user(&three.server).await?;
    let mut ids = api.create_many(40).await?;
    api.at_least(5, "succeeded", &ids).await?;

    three.reader.kill()?;
    let late = api.create_many(10).await?;
    within(TAKEOVER, "the other reader takes over", async || {
        let states = api.states(&late).await.map_err(|e| format!("{e:#}"))?;
        let waiting: usize = ["queued", "unknown"]
            .iter()
            .filter_map(|s| states.get(*s))
            .sum();
        (waiting == 0).then_some(()).ok_or(format!("{states:?}"))
    })
    .await?;
    ids.extend(late);
    api.all_succeed(&ids).await?;
    one_machine_each(&suite.machines(), &ids)?;
    let pids: BTreeSet<_> = effects(&suite.machines())?.iter().map(|e| e.pid).collect();
    ensure!(pids.len() == 2, "the work was not shared: {pids:?}");

    three.worker.stop(DRAIN).await?;
    second_worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    second_reader.stop(DRAIN).await
}

#[tokio::test]
async fn a_storm_loses_nothing_and_repeats_nothing() -> Result<()> {
    let Some(mut suite) = Suite::new("storm").await? else {
        return Ok(());
    };
    suite.set("VMCTL_WORKER_SLOTS", "16");
    let Three {
        server,
        mut reader,
        mut worker,
    } = suite.start_three().await?;
    let api = suite.user(&server).await?;
    let mut ids = api.create_many(30).await?;
    let asking = Asking::start(&api, &ids);
    for round in 1..=3 {
        eventually("the work goes on", async || {
            let effects = effects(&suite.machines()).map_err(|e| format!("{e:#}"))?;
            let made = effects.iter().filter(|e| e.what == "effect").count();
            (made >= round * 8).then_some(()).ok_or(format!("{made}"))
        })
        .await?;
        worker.kill()?;
        suite.redis.flush()?;
        reader.kill()?;
        if round == 2 {
            suite.redis.stop().await?;
            suite.redis.start().await?;
        }
        ids.extend(api.create_many(5).await?);
        worker = suite.start("worker").await?;
        reader = suite.start("reader").await?;
    }
    api.all_succeed(&ids).await?;
    asking.stop().await?;
    one_machine_each_despite_kills(&suite.machines(), &ids)?;
    worker.stop(DRAIN).await?;
    server.stop(DRAIN).await?;
    reader.stop(DRAIN).await
}
