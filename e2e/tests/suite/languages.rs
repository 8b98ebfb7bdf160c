//! One kind, known by a registry file alone, and two workers for it: one in Rust, with the kit, and
//! one in Python, with a client of the broker. A client cannot tell them apart.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    api::Api,
    environment,
    process::Process,
    suite::{DRAIN, Suite},
    wait::eventually,
};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// A program of the example, on Debian's Python with Debian's libraries.
fn python(script: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command
        .arg("-B")
        .arg(examples().join("python-worker").join(script));
    command
}

#[derive(Debug, Clone, Copy)]
enum Language {
    Rust,
    Python,
}

impl Language {
    fn start(self, suite: &Suite) -> Result<Process> {
        let command = match self {
            Self::Rust => Command::new(environment::program("examples/report_worker")?),
            Self::Python => python("report_worker.py"),
        };
        suite.spawn(&format!("{self:?}"), command)
    }
}

/// A place where the kind `report.build` is known.
async fn place(case: &str) -> Result<Option<Suite>> {
    let Some(mut suite) = Suite::new(case).await? else {
        return Ok(None);
    };
    let kinds = examples().join("kinds").display().to_string();
    suite.set("VMCTL_KINDS_DIR", kinds);
    suite.set("VMCTL_WORKER_KINDS", "vm.delete");
    Ok(Some(suite))
}

async fn submit(api: &Api, input: Value) -> Result<String> {
    let job = json!({"kind": "report.build", "input": input});
    api.submit(&job).await
}

/// What the client is told about a job that has ended: the job and its history, without what is
/// different each time.
async fn told(api: &Api, id: &str, state: &str) -> Result<Value> {
    let job = api.until(id, state).await?;
    let path = format!("/v1/jobs/{id}/events");
    let history = eventually("the history is complete", async || {
        let answer = api.get(&path).await.map_err(|e| format!("{e:#}"))?;
        let items = answer.body["items"].clone();
        let last = items.as_array().and_then(|items| items.last()).cloned();
        match last {
            Some(last) if last["data"]["state"] == state || last["state"] == state => Ok(items),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let mut told = json!({"job": job, "history": history});
    let workers = ["report-", "python-"];
    level(&mut told, &workers);
    Ok(told)
}

/// Replaces ids, times and names of workers by what they are.
fn level(value: &mut Value, workers: &[&str]) {
    match value {
        Value::Object(map) => map.values_mut().for_each(|value| level(value, workers)),
        Value::Array(items) => items.iter_mut().for_each(|value| level(value, workers)),
        Value::String(text) => {
            let is_uuid = text.len() == 36 && text.matches('-').count() == 4;
            let is_id = is_uuid || text.starts_with("req-");
            let is_time = text.len() > 19 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
            let is_worker = workers.iter().any(|name| text.contains(name));
            let of_job = text.starts_with("/v1/jobs/");
            for (is, word) in [
                (is_id, "an id"),
                (is_time, "a time"),
                (is_worker, "a worker"),
                (of_job, "a link"),
            ] {
                if is {
                    word.clone_into(text);
                    return;
                }
            }
        }
        _ => {}
    }
}

/// Runs every way in which a job of the kind may go, on one worker, and returns what was told.
async fn everything(suite: &Suite, api: &Api, language: Language) -> Result<Vec<Value>> {
    // Nobody works yet: this wish must not be forgotten.
    let unwanted = submit(api, json!({"title": "unwanted"})).await?;
    let cancel = |id: &str| format!("/v1/jobs/{id}/cancel");
    let reason = json!({"reason": "changed my mind"});
    api.post(&cancel(&unwanted), &reason).await?.expect(202)?;
    // Nor is a job begun that had to be begun before.
    let missed = json!({"kind": "report.build", "input": {"title": "missed"}, "start_by": "1s"});
    let missed = api.submit(&missed).await?;
    let asked = Instant::now();
    eventually("the time to start is over", async || {
        let passed = asked.elapsed();
        (passed > Duration::from_secs(1))
            .then_some(())
            .ok_or(format!("{passed:?}"))
    })
    .await?;
    let worker = language.start(suite)?;
    let mut all = vec![
        told(api, &unwanted, "cancelled").await?,
        told(api, &missed, "failed").await?,
    ];
    for never in &all {
        let entered = never.to_string().contains("started\"");
        ensure!(!entered, "{language:?}: {never:?}");
    }
    ensure!(
        all[1]["job"]["error"]["type"] == "start-deadline",
        "{:?}",
        all[1]
    );

    for (input, state) in [
        (json!({"title": "plain", "page_ms": 20}), "succeeded"),
        (
            json!({"title": "in slices", "pages": 25, "page_ms": 10}),
            "succeeded",
        ),
        (
            json!({"title": "at the second try", "jams": 1, "pages": 1}),
            "succeeded",
        ),
        (json!({"title": "never", "jams": 10}), "failed"),
        (json!({"title": "not at all", "unreadable": true}), "failed"),
    ] {
        let id = submit(api, input).await?;
        all.push(told(api, &id, state).await?);
    }
    let endless = json!({"title": "endless", "pages": 1, "page_ms": 60_000});
    let running = submit(api, endless.clone()).await?;
    api.until(&running, "running").await?;
    api.post(&cancel(&running), &reason).await?.expect(202)?;
    all.push(told(api, &running, "cancelled").await?);

    for (limit, value) in [("deadline", "5s"), ("attempt_timeout", "1s")] {
        let mut job = json!({"kind": "report.build", "input": endless});
        job[limit] = json!(value);
        let late = api.submit(&job).await?;
        all.push(told(api, &late, "failed").await?);
    }
    let job = json!({"kind": "report.build", "input": {"title": "later"}, "run_at": "3s"});
    let scheduled = api.submit(&job).await?;
    all.push(told(api, &scheduled, "succeeded").await?);
    worker.stop(DRAIN).await?;
    Ok(all)
}

#[tokio::test]
async fn t17_a_client_cannot_tell_python_from_rust() -> Result<()> {
    let Some(suite) = place("languages").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let rust = everything(&suite, &api, Language::Rust).await?;
    let python = everything(&suite, &api, Language::Python).await?;
    for (rust, python) in rust.iter().zip(&python) {
        ensure!(rust == python, "Rust:\n{rust:#}\nPython:\n{python:#}");
    }
    three.stop().await
}

/// Who has run a slice of the job, by its history.
async fn workers(api: &Api, id: &str) -> Result<String> {
    let events = api
        .get(&format!("/v1/jobs/{id}/events"))
        .await?
        .expect(200)?;
    Ok(events.text)
}

#[tokio::test]
async fn t17_python_and_rust_share_one_queue() -> Result<()> {
    let Some(suite) = place("one-queue").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    // What Python has begun, Rust goes on with: the state is in the message.
    let python = Language::Python.start(&suite)?;
    let long = submit(&api, json!({"title": "long", "pages": 40, "page_ms": 100})).await?;
    eventually("Python has ended a slice", async || {
        let said = workers(&api, &long).await.map_err(|e| format!("{e:#}"))?;
        said.contains("continued").then_some(()).ok_or(said)
    })
    .await?;
    let rust = Language::Rust.start(&suite)?;
    python.kill()?;
    let job = api.until(&long, "succeeded").await?;
    ensure!(job["output"]["pages"] == 40, "{job}");
    ensure!(
        job["attempt"] == 1,
        "a lost delivery costs no attempt: {job}"
    );
    let said = workers(&api, &long).await?;
    ensure!(
        said.contains("python-") && said.contains("report-"),
        "{said}"
    );

    let python = Language::Python.start(&suite)?;
    eventually("both take reports", async || {
        let metrics = suite.metrics(&three.server).await;
        let metrics = metrics.map_err(|error| format!("{error:#}"))?;
        let both = metrics.contains("queue_consumers{queue=\"work.report.build\"} 2");
        both.then_some(()).ok_or_else(|| "one does".to_owned())
    })
    .await?;
    let mut ids = Vec::new();
    for number in 0..16 {
        let input = json!({"title": format!("report {number}"), "pages": 4, "page_ms": 50});
        ids.push(submit(&api, input).await?);
    }
    api.all_succeed(&ids).await?;
    let mut both = [0, 0];
    for id in &ids {
        let said = workers(&api, id).await?;
        both[0] += usize::from(said.contains("python-"));
        both[1] += usize::from(said.contains("report-"));
    }
    ensure!(both[0] > 0 && both[1] > 0, "{both:?}");
    python.stop(DRAIN).await.context("Python")?;
    rust.stop(DRAIN).await.context("Rust")?;
    three.stop().await
}

#[tokio::test]
async fn a_worker_that_only_knows_ids_and_states_is_understood() -> Result<()> {
    let Some(suite) = place("flat").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let worker = suite.spawn("flat", python("flat_worker.py"))?;
    let done = submit(&api, json!({"title": "flat"})).await?;
    let failed = submit(&api, json!({"title": "flat", "unreadable": true})).await?;
    let job = api.until(&done, "succeeded").await?;
    ensure!(
        job["output"] == json!({"title": "flat", "pages": 3}),
        "{job}"
    );
    let job = api.until(&failed, "failed").await?;
    let why = "nobody can read the sources";
    ensure!(job["error"]["detail"] == why, "{job}");
    worker.settle();
    three.stop().await
}

#[test]
fn the_python_worker_keeps_to_the_example_messages() -> Result<()> {
    if !environment::present(&[])? {
        return Ok(());
    }
    let run = python("test_vmctl_worker.py").output()?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success() && said.contains("\nOK"), "{said}");
    Ok(())
}
