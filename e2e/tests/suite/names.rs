//! One host name, wanted by many at once over two servers, with a view that is lost: never two machines.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    api::{Answer, Api, creation, is_on_its_way},
    suite::{DRAIN, Suite},
    wait::eventually,
};

const TIMES: usize = 16;

/// Has this asked so many times at once, of each server in turn.
async fn at_once(apis: &[Api; 2], times: usize, body: &Value) -> Result<Vec<Answer>> {
    let mut asking = JoinSet::new();
    for number in 0..times {
        let (api, body) = (apis[number % 2].clone(), body.clone());
        asking.spawn(async move { api.send(Method::POST, "/v1/jobs", &[], Some(&body)).await });
    }
    let answers = asking.join_all().await;
    answers.into_iter().collect()
}

/// The job that was accepted, if it is one, and all others name it.
fn the_one(answers: &[Answer]) -> Result<String> {
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 202);
    ensure!(
        accepted.len() == 1,
        "{} were accepted: {accepted:?}",
        accepted.len()
    );
    let id = accepted[0].body["id"].as_str().context("no id")?;
    for answer in refused {
        names(answer, id)?;
    }
    Ok(id.to_owned())
}

fn names(answer: &Answer, id: &str) -> Result<()> {
    let is_conflict = answer.status == 409 && answer.problem() == "duplicate";
    ensure!(is_conflict && answer.body["job_id"] == id, "{answer:?}");
    Ok(())
}

/// The jobs whose machine has this name.
fn machines(directory: &Path, hostname: &Value) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory.join("machines"))? {
        let path = entry?.path();
        let machine: Value = serde_json::from_slice(&fs::read(&path)?)?;
        if machine.to_string().contains(&hostname.to_string()) {
            let job = path.file_stem().and_then(|name| name.to_str());
            found.insert(job.context("no name")?.to_owned());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn one_host_name_is_one_machine_over_two_servers_and_a_flush() -> Result<()> {
    let Some(mut suite) = Suite::new("one-name").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "1s");
    let three = suite.start_three().await?;
    let second = suite.start_ready("server").await?;
    let here = suite.user(&three.server).await?;
    let apis = [here.clone(), Api::new(&suite.http, &second, &here.token)];
    let body = creation();
    let hostname = &body["input"]["vm_hostname"];
    let is_only = |id: &str| {
        let there = machines(&suite.machines(), hostname)?;
        ensure!(
            there == BTreeSet::from([id.to_owned()]),
            "{there:?} and not {id}"
        );
        anyhow::Ok(())
    };

    let first = the_one(&at_once(&apis, TIMES, &body).await?)?;
    here.until(&first, "succeeded").await?;
    is_only(&first)?;
    // The machine has the name, although its job has ended.
    for answer in at_once(&apis, 2, &body).await? {
        names(&answer, &first)?;
    }

    suite.redis.flush()?;
    // Until the view is there again a name is a wish: what is accepted finds the machine.
    let answers = at_once(&apis, 10, &body).await?;
    let accepted = answers.iter().filter(|answer| answer.status == 202);
    let hasty: Vec<String> = accepted
        .filter_map(|answer| answer.body["id"].as_str().map(str::to_owned))
        .collect();
    for answer in answers.iter().filter(|answer| answer.status != 202) {
        if answer.status == 503 {
            ensure!(is_on_its_way(answer), "{answer:?}");
        } else {
            let holder = hasty.iter().chain([&first]);
            let mut named = holder.map(|id| names(answer, id));
            ensure!(named.any(|named| named.is_ok()), "{answer:?}");
        }
    }
    eprintln!("{} were accepted while nobody knew the name", hasty.len());
    for id in &hasty {
        let job = here.until(id, "failed").await?;
        ensure!(job["error"]["type"] == "conflict", "{job}");
    }
    here.until(&first, "succeeded").await?;
    for api in &apis {
        let answer = eventually("the view knows the name", async || {
            let answer = api.post("/v1/jobs", &body).await;
            let answer = answer.map_err(|error| format!("{error:#}"))?;
            (answer.status != 503)
                .then_some(answer.clone())
                .ok_or(answer.text)
        })
        .await?;
        names(&answer, &first)?;
    }
    is_only(&first)?;

    let deletion = json!({"kind": "vm.delete", "input": {"vm_hostname": hostname}});
    let deletion = here.submit(&deletion).await?;
    let deleted = here.until(&deletion, "succeeded").await?;
    ensure!(deleted["output"]["deleted"] == true, "{deleted}");
    let next = the_one(&at_once(&apis, TIMES, &body).await?)?;
    ensure!(next != first);
    here.until(&next, "succeeded").await?;
    is_only(&next)?;
    second.stop(DRAIN).await?;
    three.stop().await
}
