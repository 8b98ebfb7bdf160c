//! Jobs that run one after the other, while Redis forgets who they are and readers die.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    api::{Api, creation, is_on_its_way},
    effects::effects,
    suite::{DRAIN, Suite},
    wait::eventually,
};

/// A machine to be made in the line of the rack.
fn in_line() -> Value {
    let mut body = creation();
    body["unique"] = json!({"key": "rack-7", "on_conflict": "queue"});
    body
}

/// Waits until a job is known to stand after so many others.
async fn stands(api: &Api, id: &str, ahead: u64) -> Result<()> {
    eventually(&format!("{id} after {ahead}"), async || {
        let answer = api.job(id).await.map_err(|error| error.to_string())?;
        let stands = answer.body["in_line"]["ahead"] == ahead;
        stands.then_some(()).ok_or(answer.text)
    })
    .await
}

/// Says in which order machines were worked on: each job once, if nobody worked beside another.
fn turns(suite: &Suite) -> Result<Vec<String>> {
    let mut jobs: Vec<_> = effects(&suite.machines())?
        .into_iter()
        .map(|effect| effect.job)
        .collect();
    jobs.dedup();
    Ok(jobs)
}

#[tokio::test]
async fn jobs_of_one_key_keep_their_order_over_a_flush_and_a_dead_reader() -> Result<()> {
    let Some(mut suite) = Suite::new("turns").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "7s");
    let three = suite.start_three().await?;
    let (second, other) = (
        suite.start_ready("reader").await?,
        suite.start_ready("server").await?,
    );
    let here = suite.user(&three.server).await?;
    let there = Api::new(&suite.http, &other, &here.token);
    let mut jobs = Vec::new();
    for number in 0..6 {
        let api = if number % 2 == 0 { &here } else { &there };
        jobs.push(api.submit(&in_line()).await?);
    }
    let cancelled = jobs.remove(3);
    stands(&here, &cancelled, 3).await?;
    let path = format!("/v1/jobs/{cancelled}/cancel");
    here.post(&path, &json!({})).await?.expect(202)?;
    let job = here.until(&cancelled, "cancelled").await?;
    ensure!(job["started_at"].is_null(), "{job}");
    // It did not wait for the others to end.
    let last = here.job(&jobs[4]).await?;
    ensure!(last.body["state"] == "queued", "{last:?}");

    here.until(&jobs[0], "succeeded").await?;
    suite.redis.flush()?;
    three.reader.kill()?;
    here.until(&jobs[2], "succeeded").await?;
    suite.redis.flush()?;
    here.all_succeed(&jobs).await?;
    let turns = turns(&suite)?;
    ensure!(turns == jobs, "{turns:?} for {jobs:?}");

    three.worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    other.stop(DRAIN).await?;
    second.stop(DRAIN).await
}

/// One host is made, deleted and made again, each asked for before the one before it was done.
#[tokio::test]
async fn a_host_is_made_deleted_and_made_again_in_order() -> Result<()> {
    let Some(suite) = Suite::new("turns-host").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let creation = creation();
    let host = creation["input"]["vm_hostname"].clone();
    let name = host.as_str().unwrap_or_default().to_ascii_lowercase();
    let unique = json!({"key": format!("vm:{name}"), "on_conflict": "queue"});
    let delete = json!({"kind": "vm.delete", "input": {"vm_hostname": host}, "unique": unique});
    let mut again = creation.clone();
    again["unique"] = unique;
    let first = api.submit(&creation).await?;
    let refused = api.post("/v1/jobs", &creation).await?.expect(409)?;
    ensure!(refused.problem() == "duplicate", "{refused:?}");
    let deleted = api.submit(&delete).await?;
    let second = api.submit(&again).await?;
    let job = api.until(&deleted, "succeeded").await?;
    ensure!(job["output"]["deleted"] == true, "{job}");
    api.until(&second, "succeeded").await?;
    let turns = turns(&suite)?;
    ensure!(turns.first() == Some(&first), "{turns:?}");
    ensure!(turns.last() == Some(&second), "{turns:?}");
    // It exists, and nobody is about to delete it.
    let made = api.post("/v1/jobs", &again).await?;
    ensure!(made.status == 409 || is_on_its_way(&made), "{made:?}");
    three.stop().await
}
