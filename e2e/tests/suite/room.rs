//! What somebody empties or fills: a work queue that lost its commands, a Redis without room.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::support::{
    effects::one_machine_each,
    suite::{DRAIN, Suite},
    wait::eventually,
};

#[tokio::test]
async fn jobs_of_a_queue_that_was_purged_run_all_the_same() -> Result<()> {
    let Some(mut suite) = Suite::new("purged").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SWEEP_EMPTY_FOR", "10s");
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    let server = suite.start("server").await?;
    let reader = suite.start("reader").await?;
    suite.probe(&server, "ready", 200).await?;
    let api = suite.user(&server).await?;
    let jobs = api.create_many(20).await?;
    suite.vhost.purge("work.vm.create").await?;
    let worker = suite.start("worker").await?;
    api.all_succeed(&jobs).await?;
    one_machine_each(&suite.machines(), &jobs)?;
    let log = reader.log()?;
    ensure!(log.contains("it is queued again"), "{log}");
    worker.stop(DRAIN).await?;
    server.stop(DRAIN).await?;
    reader.stop(DRAIN).await
}

#[tokio::test]
async fn a_full_redis_forgets_old_ends_early_and_nothing_else() -> Result<()> {
    let Some(mut suite) = Suite::new("full").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    suite.set("VMCTL_PRESSURE_LEAST_KEPT", "1s");
    suite.set("VMCTL_WORKER_KINDS", "vm.create");
    let server = suite.start("server").await?;
    let reader = suite.start("reader").await?;
    let worker = suite.start("worker").await?;
    suite.probe(&server, "ready", 200).await?;
    let api = suite.user(&server).await?;
    // It has no worker.
    let live = json!({"kind": "vm.delete", "input": {"vm_hostname": "lxnobody"}});
    let live = api.submit(&live).await?;
    let old = api.create_many(300).await?;
    api.all_succeed(&old).await?;

    let info = suite.redis.cli(&["INFO", "memory"])?;
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let used = used.context("no used_memory")?.trim();
    suite.redis.cli(&["CONFIG", "SET", "maxmemory", used])?;
    let full = api.create_many(20).await?;
    eventually("the reader says so", async || {
        let report = suite.report(&reader, "ready").await;
        let report = report.map_err(|error| format!("{error:#}"))?;
        if report.contains("forgotten early") {
            return Ok(());
        }
        Err(report)
    })
    .await?;
    // It folds on, and what is submitted while it makes room ends as always.
    api.all_succeed(&full).await?;
    let more = api.create_many(20).await?;
    api.all_succeed(&more).await?;
    ensure!(api.job(&live).await?.expect(200)?.body["state"] == "queued");
    let mut gone = 0;
    for id in &old {
        let answer = api.job(id).await?;
        if answer.status == 200 {
            ensure!(answer.body["state"] == "succeeded", "{answer:?}");
        } else {
            gone += 1;
            ensure!(answer.expect(410)?.problem() == "job-expired");
        }
    }
    ensure!(gone > 0 && gone < old.len(), "{gone} of {}", old.len());
    eprintln!("{gone} of {} ended jobs went early", old.len());
    worker.stop(DRAIN).await?;
    server.stop(DRAIN).await?;
    reader.stop(DRAIN).await
}
