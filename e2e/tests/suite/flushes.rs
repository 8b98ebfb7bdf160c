//! Redis forgets everything while jobs run and clients ask.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{
    api::{Api, creation},
    asking::Asking,
    effects::one_machine_each,
    suite::{DRAIN, Suite},
    wait::{pace, patience},
};

/// What must be the same before and after.
fn facts(job: &Value) -> Vec<Value> {
    let names = [
        "id",
        "kind",
        "state",
        "input",
        "output",
        "attempt",
        "created_at",
        "finished_at",
        "owner",
    ];
    names.map(|name| job[name].clone()).to_vec()
}

#[tokio::test]
async fn a_flush_hides_no_job_and_all_come_back() -> Result<()> {
    let Some(mut suite) = Suite::new("flush").await? else {
        return Ok(());
    };
    suite.set("VMCTL_WORKER_SLOTS", "20");
    suite.set("VMCTL_SIMULATED_DURATION", "1s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let old = api.create_many(5).await?;
    let mut before = Vec::new();
    for id in &old {
        before.push(facts(&api.until(id, "succeeded").await?));
    }
    three.worker.stop(DRAIN).await?;
    suite.set("VMCTL_SIMULATED_DURATION", "12s");
    let worker = suite.start_ready("worker").await?;

    let new = api.create_many(20).await?;
    let asking = Asking::start(&api, old.iter().chain(&new));
    api.at_least(10, "running", &new).await?;
    suite.redis.flush()?;
    api.all_succeed(&new).await?;
    for (id, before) in old.iter().zip(before) {
        let job = api.until(id, "succeeded").await?;
        ensure!(facts(&job) == before, "{before:?} became {job}");
    }
    let list = api.get("/v1/jobs?limit=100").await?.expect(200)?;
    let listed = list.body["items"].as_array().map_or(0, Vec::len);
    ensure!(listed == 25, "{listed} in the list: {}", list.text);

    asking.stop().await?;
    one_machine_each(&suite.machines(), &[old, new].concat())?;
    worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}

/// Submits with a key until there is a job; its id, and how often it had to be repeated.
async fn submit(api: Api, key: &str, body: &Value) -> Result<(String, usize)> {
    let started = std::time::Instant::now();
    for repeated in 0.. {
        let key = [("Idempotency-Key", key)];
        let answer = api.send(Method::POST, "/v1/jobs", &key, Some(body)).await?;
        match answer.status {
            200 | 202 => {
                let id = answer.body["id"].as_str().context("no id")?;
                return Ok((id.to_owned(), repeated));
            }
            409 | 503 if started.elapsed() < patience() => pace().await,
            _ => bail!("{answer:?}"),
        }
    }
    bail!("never accepted")
}

#[tokio::test]
async fn t07_one_key_is_one_job_over_two_servers_and_a_flush() -> Result<()> {
    const KEY: &str = "one-key-one-job";
    const TIMES: usize = 50;
    let Some(suite) = Suite::new("one-key").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let (server, worker) = (
        suite.start_ready("server").await?,
        suite.start_ready("worker").await?,
    );
    let here = suite.user(&three.server).await?;
    let there = Api::new(&suite.http, &server, &here.token);
    let body = creation();
    let mut submissions = JoinSet::new();
    for number in 0..TIMES {
        let api = if number % 2 == 0 { &here } else { &there }.clone();
        let body = body.clone();
        submissions.spawn(async move { submit(api, KEY, &body).await });
    }
    let (mut ids, mut repeated) = (BTreeSet::new(), 0);
    for landed in 1..=TIMES {
        let submission = submissions.join_next().await.context("too few")?;
        let (id, again) = submission??;
        ids.insert(id);
        repeated += again;
        if landed == TIMES / 2 {
            suite.redis.flush()?;
        }
    }
    eprintln!("{repeated} of {TIMES} were repeated");
    // Again, from a server that remembers nothing and a Redis that does not either.
    let third = suite.start_ready("server").await?;
    let again = Api::new(&suite.http, &third, &here.token);
    suite.redis.flush()?;
    let mut submissions = JoinSet::new();
    for api in [&again, &here, &there, &again] {
        let (api, body) = (api.clone(), body.clone());
        submissions.spawn(async move { submit(api, KEY, &body).await });
    }
    while let Some(submission) = submissions.join_next().await {
        ids.insert(submission??.0);
    }
    ensure!(ids.len() == 1, "{ids:?}");
    let ids: Vec<_> = ids.into_iter().collect();
    here.all_succeed(&ids).await?;
    one_machine_each(&suite.machines(), &ids)?;
    worker.stop(DRAIN).await?;
    third.stop(DRAIN).await?;
    server.stop(DRAIN).await?;
    three.stop().await
}

#[tokio::test]
async fn t06_a_job_is_found_right_after_its_202() -> Result<()> {
    let Some(suite) = Suite::new("right-after").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let second = suite.start_ready("server").await?;
    let here = suite.user(&three.server).await?;
    let there = Api::new(&suite.http, &second, &here.token);
    for number in 0..100 {
        let id = here.create().await?;
        let asked = if number % 2 == 0 { &here } else { &there };
        let job = asked.job(&id).await?.expect(200)?;
        ensure!(job.body["id"] == id.as_str(), "{job:?}");
        let seed = asked.get(&format!("/v1/vm/{id}")).await?.expect(200)?;
        ensure!(seed.body.is_object(), "{seed:?}");
    }
    second.stop(DRAIN).await?;
    three.stop().await
}
