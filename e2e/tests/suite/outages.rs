//! Services that are stopped, and come back, while the programs stay.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use vmctl_daemon::testing::free_port;

use crate::support::{
    api::{Answer, Api, creation, input},
    effects::one_machine_each,
    suite::{DRAIN, Suite, Three},
    wait::eventually,
};

/// The server waits at most 5 s for the broker; the rest is for a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);

/// Says whether there is a UUID anywhere in a text.
fn has_uuid(text: &str) -> bool {
    let is_uuid = |window: &[u8]| {
        window.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    text.as_bytes().windows(36).any(is_uuid)
}

/// Submits to a server without a broker: 503 in time, and no job to follow.
async fn refused(api: &Api) -> Result<()> {
    for (path, body) in [("/v1/vm/", input()), ("/v1/jobs", creation())] {
        let asked = Instant::now();
        let named = [("X-Request-Id", "without-a-broker")];
        let answer = api.send(Method::POST, path, &named, Some(&body)).await?;
        let answer = answer.expect(503)?;
        ensure!(
            asked.elapsed() < DEADLINE,
            "answered after {:?}",
            asked.elapsed()
        );
        ensure!(!has_uuid(&answer.text), "{}", answer.text);
        ensure!(answer.headers.contains_key("retry-after"), "{answer:?}");
        ensure!(!answer.headers.contains_key("location"), "{answer:?}");
    }
    Ok(())
}

/// Submits until the server takes it; everything before is a 503.
async fn accepted(api: &Api) -> Result<String> {
    let answer: Answer = eventually("a job is accepted again", async || {
        match api.post("/v1/jobs", &creation()).await {
            Ok(answer) if answer.status == 503 => Err(answer.text),
            Ok(answer) => Ok(answer),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await?;
    let answer = answer.expect(202)?;
    Ok(answer.body["id"].as_str().context("no id")?.to_owned())
}

fn all_run(three: &mut Three) -> Result<()> {
    for process in [&mut three.server, &mut three.reader, &mut three.worker] {
        ensure!(process.runs()?, "a program ended by itself");
    }
    Ok(())
}

#[tokio::test]
async fn t02_without_rabbitmq_nothing_is_accepted_and_nothing_is_lost() -> Result<()> {
    let Some(mut suite) = Suite::on_victim("no-rabbitmq").await? else {
        return Ok(());
    };
    // Work is still in hand when RabbitMQ goes, also on a busy machine.
    suite.set("VMCTL_SIMULATED_DURATION", "5s");
    suite.redis.start().await?;
    let mut three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let mut ids = api.create_many(6).await?;
    api.at_least(2, "running", &ids).await?;

    suite.victim()?.stop().await?;
    refused(&api).await?;
    // Every server has the same broker, and this one still has what is to be read.
    suite.probe(&three.server, "ready", 200).await?;
    let report = suite.report(&three.server, "ready").await?;
    ensure!(report.contains("no connection to the broker"), "{report}");
    api.get(&format!("/v1/jobs/{}", ids[0]))
        .await?
        .expect(200)?;
    refused(&api).await?;

    suite.victim()?.start().await?;
    ids.push(accepted(&api).await?);
    api.all_succeed(&ids).await?;
    one_machine_each(&suite.machines(), &ids)?;
    all_run(&mut three)?;
    three.stop().await
}

#[tokio::test]
async fn a_silent_rabbitmq_leaves_one_job_for_one_key() -> Result<()> {
    let Some(mut suite) = Suite::on_victim("silent-rabbitmq").await? else {
        return Ok(());
    };
    suite.redis.start().await?;
    let mut three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let mut ids = api.create_many(3).await?;
    let body = creation();
    let key = [("Idempotency-Key", "asked-of-a-silent-broker")];
    let submit = || api.send(Method::POST, "/v1/jobs", &key, Some(&body));

    let unknown = loop {
        suite.victim()?.freeze().await?;
        let asked = Instant::now();
        let answer = submit().await?.expect(503)?;
        ensure!(
            asked.elapsed() < DEADLINE,
            "answered after {:?}",
            asked.elapsed()
        );
        if answer.problem() == "outcome-unknown" {
            break answer;
        }
        // Whoever finds no open channel sends nothing, and says so.
        ensure!(
            answer.problem() == "bus-unavailable" && !has_uuid(&answer.text),
            "{answer:?}"
        );
        suite.victim()?.thaw().await?;
        ids.push(accepted(&api).await?);
        ensure!(ids.len() < 10, "no request was under way: {answer:?}");
    };
    let named = unknown.body["job_id"].as_str().context("no job_id")?;
    let list = api.get("/v1/jobs").await?.expect(200)?;
    ensure!(
        !list.text.contains(named),
        "a job that nobody confirmed: {}",
        list.text
    );

    suite.victim()?.thaw().await?;
    let answer = eventually("the key is taken", async || match submit().await {
        Ok(answer) if [409, 503].contains(&answer.status) => Err(answer.text),
        other => Ok(other),
    })
    .await??;
    ensure!([200, 202].contains(&answer.status), "{answer:?}");
    ensure!(
        answer.body["id"] == named,
        "another job than {named}: {answer:?}"
    );
    ids.push(named.to_owned());
    api.all_succeed(&ids).await?;
    one_machine_each(&suite.machines(), &ids)?;
    all_run(&mut three)?;
    three.stop().await
}

#[tokio::test]
async fn a_silent_redis_holds_nobody_up() -> Result<()> {
    let Some(mut suite) = Suite::new("silent-redis").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "1s");
    let mut three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let mut ids = api.create_many(2).await?;
    suite.redis.freeze()?;
    for _ in 0..4 {
        let asked = Instant::now();
        let answer = api.post("/v1/jobs", &creation()).await?.expect(202)?;
        ensure!(
            asked.elapsed() < DEADLINE,
            "answered after {:?}",
            asked.elapsed()
        );
        let id = answer.body["id"].as_str().context("no id")?.to_owned();
        let asked = Instant::now();
        let path = format!("/v1/jobs/{id}");
        let looked = api.send(Method::GET, &path, &[], None).await?.expect(503)?;
        ensure!(
            asked.elapsed() < DEADLINE,
            "answered after {:?}",
            asked.elapsed()
        );
        ensure!(looked.problem() == "state-unavailable", "{looked:?}");
        ids.push(id);
    }
    eventually("all machines are made", async || {
        one_machine_each(&suite.machines(), &ids).map_err(|e| format!("{e:#}"))
    })
    .await?;
    suite.redis.thaw()?;
    api.all_succeed(&ids).await?;
    all_run(&mut three)?;
    three.stop().await
}

#[tokio::test]
async fn without_redis_jobs_are_accepted_and_seen_later() -> Result<()> {
    let Some(mut suite) = Suite::new("no-redis").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "1s");
    let mut three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let mut ids = api.create_many(3).await?;

    suite.redis.stop().await?;
    for _ in 0..5 {
        let answer = api.post("/v1/jobs", &creation()).await?.expect(202)?;
        let degraded = answer.headers.get("x-degraded");
        ensure!(degraded.is_some_and(|word| word == "cache"), "{answer:?}");
        let id = answer.body["id"].as_str().context("no id")?.to_owned();
        let path = format!("/v1/jobs/{id}");
        let looked = api.send(Method::GET, &path, &[], None).await?.expect(503)?;
        ensure!(looked.problem() == "state-unavailable", "{looked:?}");
        ids.push(id);
    }
    let answer = api.post("/v1/vm/", &input()).await?.expect(202)?;
    ids.push(answer.body["uuid"].as_str().context("no uuid")?.to_owned());
    // The work goes on meanwhile.
    eventually("all machines are made", async || {
        one_machine_each(&suite.machines(), &ids).map_err(|e| format!("{e:#}"))
    })
    .await?;

    suite.redis.start().await?;
    api.all_succeed(&ids).await?;
    one_machine_each(&suite.machines(), &ids)?;
    all_run(&mut three)?;
    three.stop().await
}

#[tokio::test]
async fn programs_wait_for_services_that_come_later() -> Result<()> {
    let Some(mut suite) = Suite::on_victim("later").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "1s");
    suite.victim()?.stop().await?;
    let mut three = Three {
        server: suite.start("server").await?,
        reader: suite.start("reader").await?,
        worker: suite.start("worker").await?,
    };
    for process in [&three.server, &three.reader, &three.worker] {
        suite.probe(process, "live", 200).await?;
        suite.probe(process, "ready", 503).await?;
    }
    let api = suite.user(&three.server).await?;
    refused(&api).await?;

    suite.redis.start().await?;
    suite.victim()?.start().await?;
    for process in [&three.server, &three.reader, &three.worker] {
        suite.probe(process, "ready", 200).await?;
    }
    let ids = vec![accepted(&api).await?];
    api.all_succeed(&ids).await?;
    one_machine_each(&suite.machines(), &ids)?;
    all_run(&mut three)?;
    three.stop().await
}

#[tokio::test]
async fn without_keystone_nobody_is_called_unknown() -> Result<()> {
    let Some(mut suite) = Suite::new("no-keystone").await? else {
        return Ok(());
    };
    let nobody = format!("http://127.0.0.1:{}/v3", free_port());
    suite.set("VMCTL_KEYSTONE_URL", nobody);
    let server = suite.start("server").await?;
    suite.probe(&server, "live", 200).await?;
    let api = suite.user(&server).await?;
    for (method, path, body) in [
        (Method::POST, "/v1/vm/", Some(input())),
        (Method::POST, "/v1/jobs", Some(creation())),
        (Method::GET, "/v1/jobs", None),
    ] {
        let answer = api.send(method, path, &[], body.as_ref()).await?;
        let answer = answer.expect(503)?;
        ensure!(answer.problem() == "auth-unavailable", "{answer:?}");
        ensure!(answer.headers.contains_key("retry-after"), "{answer:?}");
    }
    server.stop(DRAIN).await
}
