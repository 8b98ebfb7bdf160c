//! What has failed for good is listed, and runs again when those who run the service say so.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    api::{self, Api, creation},
    effects::one_machine_each,
    suite::Suite,
    wait::eventually,
};

async fn dead(api: &Api) -> Result<Vec<Value>> {
    let page = api.get("/v1/admin/dead").await?.expect(200)?;
    Ok(page.body["items"].as_array().cloned().unwrap_or_default())
}

#[tokio::test]
async fn t11_what_is_parked_is_listed_after_a_flush_too_and_runs_again() -> Result<()> {
    let Some(mut suite) = Suite::new("dead").await? else {
        return Ok(());
    };
    let (token, project) = api::operator(&suite.http).await?;
    suite.set("VMCTL_ADMIN_PROJECT", project);
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    suite.set("VMCTL_SIMULATED_FAIL", "boot:1");
    let three = suite.start_three().await?;
    let user = suite.user(&three.server).await?;
    let operator = Api::new(&suite.http, &three.server, &token);

    let mut job = creation();
    job["retry"] = json!({"max_attempts": 1});
    let id = user.submit(&job).await?;
    user.until(&id, "failed").await?;
    let listed = dead(&operator).await?;
    ensure!(
        listed.len() == 1 && listed[0]["id"] == id.as_str(),
        "{listed:?}"
    );
    ensure!(listed[0]["replayable"] == true, "{listed:?}");
    let parked = async || {
        let queues = operator.get("/v1/admin/queues").await?.expect(200)?;
        let queues = queues.body["items"].as_array().cloned().unwrap_or_default();
        let dead = queues
            .into_iter()
            .find(|queue| queue["name"] == "jobs.dead");
        anyhow::Ok(dead.unwrap_or_default()["ready"].clone())
    };
    // It is in the log, where the view has it from, and in this queue: either may be the first.
    eventually("it is parked", async || {
        let ready = parked().await.map_err(|error| format!("{error:#}"))?;
        (ready == 1).then_some(()).ok_or(ready.to_string())
    })
    .await?;

    // The list is a view of the log as everything else.
    suite.redis.flush()?;
    eventually("it is listed again", async || {
        let listed = dead(&operator)
            .await
            .map_err(|error| format!("{error:#}"))?;
        (listed.len() == 1)
            .then_some(())
            .ok_or(format!("{listed:?}"))
    })
    .await?;

    let refused = user
        .post("/v1/admin/dead/replay", &json!({"ids": [id]}))
        .await?;
    ensure!(refused.status == 403, "{refused:?}");
    let body = json!({"kind": "vm.create"});
    eventually("it is replayed", async || {
        let result = operator.post("/v1/admin/dead/replay", &body).await;
        let result = result.map_err(|error| format!("{error:#}"))?.body;
        // While the view is rebuilt nobody knows whether it runs again already.
        let done = result["items"] == json!([{"id": id, "epoch": 1}]);
        done.then_some(()).ok_or(result.to_string())
    })
    .await?;
    let job = user.until(&id, "succeeded").await?;
    ensure!(job["epoch"] == 1 && job["attempt"] == 1, "{job}");
    ensure!(job["owner"]["user_name"] == "joe", "{job}");
    one_machine_each(&suite.machines(), &[id])?;
    ensure!(dead(&operator).await?.is_empty());
    // What was parked stays for whoever has to look at the message itself.
    ensure!(parked().await? == 1, "{}", parked().await?);
    three.stop().await
}
