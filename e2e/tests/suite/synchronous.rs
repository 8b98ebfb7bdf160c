//! Synchronous kinds: machines that exist, asked of the workers, and another team's upstream.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use vmctl_daemon::testing::free_port;

use crate::support::{
    api::{Answer, Api, creation},
    receiver::{Receiver, answer},
    suite::{DRAIN, Suite},
    wait::eventually,
};

/// Of `vm.list` and `vm.show`: ten seconds, and time for a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// So many failures in a row open the breaker.
const FAILURES: usize = 5;

/// A place whose workers tell which machines exist, on one port.
async fn place(case: &str) -> Result<Option<Suite>> {
    let Some(mut suite) = Suite::new(case).await? else {
        return Ok(None);
    };
    let address = format!("127.0.0.1:{}", free_port());
    suite.set("VMCTL_WORKER_API_URL", format!("http://{address}"));
    suite.set("VMCTL_WORKER_API_LISTEN", address);
    suite.set("VMCTL_WORKER_API_TOKEN", "the-token-of-the-workers");
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    Ok(Some(suite))
}

async fn hostnames(api: &Api) -> Result<Vec<Value>> {
    let list = api.get("/v1/sync/vm.list").await?.expect(200)?;
    let items = list.body["items"].as_array().context("no list")?;
    Ok(items.iter().map(|vm| vm["vm_hostname"].clone()).collect())
}

async fn show(api: &Api, hostname: &Value) -> Result<Answer> {
    let hostname = hostname.as_str().context("no name")?;
    api.get(&format!("/v1/sync/vm.show?vm_hostname={hostname}"))
        .await
}

/// Has a machine made; its host name.
async fn machine(api: &Api) -> Result<(String, Value)> {
    let job = creation();
    let id = api.submit(&job).await?;
    api.until(&id, "succeeded").await?;
    Ok((id, job["input"]["vm_hostname"].clone()))
}

#[tokio::test]
async fn each_project_is_shown_its_machines_by_the_workers() -> Result<()> {
    let Some(mut suite) = place("machines").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let (joe, ann) = (
        suite.user(&three.server).await?,
        suite.stranger(&three.server).await?,
    );
    ensure!(hostnames(&joe).await?.is_empty());
    let ((id, his), (_, hers)) = (machine(&joe).await?, machine(&ann).await?);
    for (api, own) in [(&joe, &his), (&ann, &hers)] {
        let shown = hostnames(api).await?;
        ensure!(shown == std::slice::from_ref(own), "{shown:?}");
    }
    let shown = show(&joe, &his).await?.expect(200)?;
    ensure!(shown.body["job_id"] == id.as_str(), "{shown:?}");
    let foreign = show(&joe, &hers).await?.expect(404)?;
    ensure!(foreign.problem() == "machine-not-found", "{foreign:?}");

    // A server that shows the workers something else is not the user's fault.
    suite.set("VMCTL_WORKER_API_TOKEN", "another-token");
    let stranger = suite.start_ready("server").await?;
    let api = Api::new(&suite.http, &stranger, &joe.token);
    let refused = show(&api, &his).await?.expect(502)?;
    ensure!(refused.problem() == "upstream-failed", "{refused:?}");
    let log = stranger.log()?;
    ensure!(!log.contains("another-token"), "{log}");
    stranger.stop(DRAIN).await?;
    three.stop().await
}

#[tokio::test]
async fn workers_that_are_away_are_left_alone_until_they_are_back() -> Result<()> {
    let Some(suite) = place("breaker").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let (_, hostname) = machine(&api).await?;
    three.worker.kill()?;
    for _ in 0..FAILURES {
        let failed = show(&api, &hostname).await?.expect(502)?;
        ensure!(failed.problem() == "upstream-failed", "{failed:?}");
    }
    let open = show(&api, &hostname).await?.expect(503)?;
    ensure!(open.problem() == "upstream-unavailable", "{open:?}");
    ensure!(open.headers.contains_key("retry-after"), "{open:?}");

    let worker = suite.start_ready("worker").await?;
    let asked = Instant::now();
    eventually("the workers are asked again", async || {
        let answer = show(&api, &hostname).await;
        let answer = answer.map_err(|error| format!("{error:#}"))?;
        (answer.status == 200).then_some(()).ok_or(answer.text)
    })
    .await?;
    eprintln!("asked again after {:.1?}", asked.elapsed());

    // One that hangs is a timeout, and others are not held up by it.
    worker.signal("STOP")?;
    let asked = Instant::now();
    let late = show(&api, &hostname).await?.expect(504)?;
    ensure!(late.problem() == "upstream-timeout", "{late:?}");
    ensure!(asked.elapsed() < DEADLINE, "{:?}", asked.elapsed());
    worker.signal("CONT")?;
    show(&api, &hostname).await?.expect(200)?;
    worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}

#[tokio::test]
async fn a_kind_of_another_team_is_answered_by_its_upstream() -> Result<()> {
    let Some(mut suite) = Suite::new("upstream").await? else {
        return Ok(());
    };
    let (quick, slow) = (
        Receiver::start(|| answer(200, &[("content-type", "text/plain"), ("x-secret", "no")]))
            .await,
        Receiver::slow().await,
    );
    let kinds = suite.directory().join("kinds");
    fs::create_dir(&kinds)?;
    for (kind, upstream) in [("net.list", &quick), ("net.scan", &slow)] {
        let file = format!(
            "kind = {kind:?}\nsummary = \"Networks\"\nrequired_role = \"reader\"\nmode = \"sync\"\n\
             upstream = \"http://{}/v1/{{zone}}/networks\"\ntimeout = \"1s\"\n\
             [input_schema]\nrequired = [\"zone\"]\n",
            upstream.address
        );
        fs::write(kinds.join(format!("{kind}.toml")), file)?;
    }
    suite.set("VMCTL_KINDS_DIR", kinds.display().to_string());
    suite.set("VMCTL_SYNC_TOKEN", "the-token-of-the-server");
    let server = suite.start_ready("server").await?;
    let api = suite.user(&server).await?;

    let path = "/v1/sync/net.list?zone=a%2Fb&tag=x";
    let found = api.get(path).await?.expect(200)?;
    ensure!(found.text == "an answer", "{found:?}");
    ensure!(found.headers["content-type"] == "text/plain", "{found:?}");
    ensure!(!found.headers.contains_key("x-secret"), "{found:?}");
    let told = quick.hits().remove(0);
    ensure!(told.uri == "/v1/a%2Fb/networks?tag=x", "{told:?}");
    let bearer = "Bearer the-token-of-the-server";
    ensure!(told.header("authorization") == bearer, "{told:?}");
    ensure!(!told.header("x-project-id").is_empty(), "{told:?}");
    ensure!(
        !format!("{told:?}").contains(&api.token),
        "the token of the user"
    );

    let invalid = api.get("/v1/sync/net.list").await?.expect(422)?;
    ensure!(invalid.problem() == "validation", "{invalid:?}");
    let job = json!({"kind": "net.list", "input": {"zone": "a"}});
    let no_job = api.post("/v1/jobs", &job).await?.expect(422)?;
    ensure!(no_job.problem() == "sync-kind", "{no_job:?}");
    let nobody = Api::new(&suite.http, &server, "wrong");
    nobody
        .send(Method::GET, path, &[], None)
        .await?
        .expect(401)?;
    ensure!(quick.hits().len() == 1, "{:?}", quick.hits());

    let asked = Instant::now();
    let late = api.get("/v1/sync/net.scan?zone=a").await?.expect(504)?;
    ensure!(late.problem() == "upstream-timeout", "{late:?}");
    ensure!(asked.elapsed() < DEADLINE, "{:?}", asked.elapsed());
    slow.let_go();
    api.get("/v1/sync/net.scan?zone=a").await?.expect(200)?;
    server.stop(DRAIN).await
}
