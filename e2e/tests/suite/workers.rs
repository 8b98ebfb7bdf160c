//! Which workers live, as `GET /v1/admin/workers` tells it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::support::{
    api::{self, Api},
    suite::{DRAIN, Suite},
    wait::{eventually, within},
};

/// Beyond the 30 s after which a worker that says nothing is gone.
const GONE: Duration = Duration::from_secs(90);

async fn workers(api: &Api) -> Result<(Vec<Value>, bool), String> {
    let list = api
        .get("/v1/admin/workers")
        .await
        .and_then(|a| a.expect(200));
    let list = list.map_err(|error| format!("{error:#}"))?.body;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok((items, list["complete"] == true))
}

fn served<'a>(worker: &'a Value, kind: &str) -> &'a Value {
    let kinds = worker["kinds"].as_array().into_iter().flatten();
    kinds
        .into_iter()
        .find(|served| served["kind"] == kind)
        .unwrap_or(&Value::Null)
}

#[tokio::test]
async fn workers_are_listed_while_they_live_with_what_they_have_in_hand() -> Result<()> {
    let Some(mut suite) = Suite::new("workers").await? else {
        return Ok(());
    };
    let (token, project) = api::operator(&suite.http).await?;
    suite.set("VMCTL_ADMIN_PROJECT", project);
    // Slices that are longer than the time between two words of a worker.
    suite.set("VMCTL_SIMULATED_DURATION", "10m");
    let three = suite.start_three().await?;
    let user = suite.user(&three.server).await?;
    let operator = Api::new(&suite.http, &three.server, &token);
    ensure!(user.get("/v1/admin/workers").await?.status == 403);

    let id = user.create().await?;
    eventually("the worker has the job in hand", async || {
        let (items, _) = workers(&operator).await?;
        let [worker] = &items[..] else {
            return Err(format!("{items:?}"));
        };
        let create = served(worker, "vm.create");
        let has = worker["jobs"][0]["id"] == id.as_str() && create["in_hand"] == 1;
        let works = worker["state"] == "working" && create["consuming"] == true;
        (has && works).then_some(()).ok_or(worker.to_string())
    })
    .await?;

    let second = suite.start_ready("worker").await?;
    let third = suite.start_ready("worker").await?;
    let are = async |count: usize| {
        let (items, complete) = workers(&operator).await?;
        let consuming = items
            .iter()
            .all(|worker| served(worker, "vm.create")["consuming"] == true);
        let there = items.len() == count && consuming && complete;
        there
            .then_some(())
            .ok_or(format!("{items:?}, complete: {complete}"))
    };
    within(GONE, "three are there", async || are(3).await).await?;
    // One says that it ends. One is killed, and says nothing any more.
    third.stop(DRAIN).await?;
    eventually("two are there", async || are(2).await).await?;
    second.kill()?;
    within(GONE, "one is there", async || are(1).await).await?;
    three.stop().await
}
