//! Jobs that run jobs, with a real `ansible-playbook`.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    api::{Api, input},
    effects::effects,
    suite::{DRAIN, Suite},
    wait::eventually,
};

const GOOD: &str = "- hosts: all\n  connection: local\n  gather_facts: false\n  tasks:\n    \
    - ansible.builtin.debug:\n        msg: \"hello {{ who }}\"\n";
const BAD: &str = "- hosts: all\n  connection: local\n  gather_facts: false\n  tasks:\n    \
    - ansible.builtin.fail:\n        msg: out of luck\n";

/// A place whose workers have playbooks.
async fn place(case: &str) -> Result<Option<Suite>> {
    let Some(mut suite) = Suite::new(case).await? else {
        return Ok(None);
    };
    let playbooks = suite.directory().join("playbooks");
    fs::create_dir(&playbooks)?;
    fs::write(playbooks.join("good.yml"), GOOD)?;
    fs::write(playbooks.join("bad.yml"), BAD)?;
    suite.set("VMCTL_ANSIBLE_PLAYBOOKS", playbooks.display().to_string());
    Ok(Some(suite))
}

async fn provision(api: &Api, hostname: &str, playbook: &str) -> Result<String> {
    let mut vm = input();
    vm["vm_hostname"] = json!(hostname);
    let input = json!({"vm": vm, "playbook": playbook, "extra_vars": {"who": "joe"}});
    let job = json!({"kind": "vm.provision", "input": input});
    api.submit(&job).await
}

/// The children of a job, by name and state.
async fn children(api: &Api, id: &str) -> Result<Vec<(String, Value)>> {
    let path = format!("/v1/jobs/{id}/children");
    let items = eventually("the children are known", async || {
        let answer = api.get(&path).await.map_err(|e| format!("{e:#}"))?;
        match answer.body["items"].as_array() {
            Some(items) if answer.body["incomplete"] == false => Ok(items.clone()),
            _ => Err(answer.text),
        }
    })
    .await?;
    let named = |job: Value| {
        let name = job["step"].as_str().context("no step")?;
        Ok((name.to_owned(), job))
    };
    items.into_iter().map(named).collect()
}

fn states(children: &[(String, Value)]) -> Vec<(&str, &str)> {
    children
        .iter()
        .map(|(name, job)| (name.as_str(), job["state"].as_str().unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn t15_a_machine_is_provisioned_or_nothing_of_it_is_left() -> Result<()> {
    let Some(suite) = place("flow").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let (good, bad) = (
        provision(&api, "lxgood", "good.yml").await?,
        provision(&api, "lxbad", "bad.yml").await?,
    );
    let job = api.until(&good, "succeeded").await?;
    ensure!(job["compensation"].is_null(), "{job}");
    ensure!(job["output"]["vm"]["vm_hostname"] == "lxgood", "{job}");
    let below = children(&api, &good).await?;
    ensure!(
        states(&below) == [("vm", "succeeded"), ("ansible", "succeeded")],
        "{below:?}"
    );

    let job = api.until(&bad, "failed").await?;
    ensure!(job["compensation"] == "done", "{job}");
    ensure!(job["error"]["type"] == "step-failed", "{job}");
    let below = children(&api, &bad).await?;
    let expected = [
        ("vm", "succeeded"),
        ("ansible", "failed"),
        ("undo/vm/1", "succeeded"),
    ];
    ensure!(states(&below) == expected, "{below:?}");
    ensure!(below[2].1["output"]["deleted"] == true, "{below:?}");
    three.worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}

#[tokio::test]
async fn t15_a_flow_survives_its_worker_and_its_reader() -> Result<()> {
    let Some(mut suite) = place("flow-crash").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "5s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let id = provision(&api, "lxcrash", "good.yml").await?;
    eventually("the machine is being made", async || {
        let effects = effects(&suite.machines()).map_err(|e| format!("{e:#}"))?;
        let made = effects.iter().any(|e| e.what == "effect");
        made.then_some(()).ok_or_else(|| "not yet".to_owned())
    })
    .await?;
    // Without the reader nobody wakes the flow: it looks by itself.
    three.worker.kill()?;
    three.reader.kill()?;
    let worker = suite.start("worker").await?;
    let reader = suite.start("reader").await?;
    api.until(&id, "succeeded").await?;
    let effects = effects(&suite.machines())?;
    let made = effects.iter().filter(|e| e.what == "effect").count();
    ensure!(made == 1, "{effects:?}");
    worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    reader.stop(DRAIN).await
}

/// Asks for a machine of this name, which another job has.
async fn is_taken(api: &Api, hostname: &str) -> Result<()> {
    let mut vm = input();
    vm["vm_hostname"] = json!(hostname);
    let job = json!({"kind": "vm.create", "input": vm});
    let answer = api.post("/v1/jobs", &job).await?.expect(409)?;
    ensure!(answer.problem() == "duplicate", "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn a_machine_of_a_flow_has_its_host_name_until_the_flow_is_undone() -> Result<()> {
    let Some(suite) = place("flow-names").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let first = provision(&api, "lxname", "good.yml").await?;
    api.until(&first, "succeeded").await?;
    is_taken(&api, "lxNAME").await?;

    let second = provision(&api, "lxname", "good.yml").await?;
    let job = api.until(&second, "failed").await?;
    ensure!(job["error"]["type"] == "conflict", "{job}");
    ensure!(job["compensation"].is_null(), "{job}");
    ensure!(children(&api, &second).await?.is_empty(), "{job}");
    // Whoever was refused has taken nothing away.
    is_taken(&api, "lxname").await?;

    let undone = provision(&api, "lxother", "bad.yml").await?;
    api.until(&undone, "failed").await?;
    let again = provision(&api, "lxother", "good.yml").await?;
    api.until(&again, "succeeded").await?;
    three.worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}
