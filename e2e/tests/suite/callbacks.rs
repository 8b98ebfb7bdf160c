//! Callbacks by the programs: a receiver that a private authority vouches for, that fails at first,
//! while workers are killed and Redis forgets.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use vmctl_daemon::testing::Authority;

use crate::support::{
    api::{Api, creation},
    receiver::{Hit, Receiver, answer},
    suite::{DRAIN, Suite},
    wait::eventually,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Waits until the receiver has had so many requests, and returns them.
async fn hits(receiver: &Receiver, count: usize) -> Result<Vec<Hit>> {
    eventually(&format!("{count} requests"), async || {
        let hits = receiver.hits();
        let there = hits.len() >= count;
        there
            .then_some(hits)
            .ok_or(receiver.hits().len().to_string())
    })
    .await
}

/// Waits until the job shows its callback so.
async fn shown(api: &Api, id: &str, wanted: Value) -> Result<Value> {
    eventually(&format!("the callback is {wanted}"), async || {
        let answer = api.job(id).await.map_err(|error| format!("{error:#}"))?;
        let callback = &answer.body["callback"];
        let wanted = wanted.as_object().into_iter().flatten();
        let is_so = wanted.clone().all(|(name, value)| &callback[name] == value);
        is_so.then(|| callback.clone()).ok_or(answer.text)
    })
    .await
}

/// Every request is the same callback, with a time and a signature of its own.
fn are_one(hits: &[Hit], job: &str) -> Result<Value> {
    let webhook = Webhook::new(SECRET)?;
    for hit in hits {
        webhook.verify(&hit.body, &hit.headers)?;
        ensure!(hit.body == hits[0].body, "another body: {hit:?}");
        let id = hit.header("webhook-id");
        ensure!(id == hits[0].header("webhook-id"), "another id: {hit:?}");
    }
    let event: Value = serde_json::from_slice(&hits[0].body)?;
    ensure!(event["id"] == hits[0].header("webhook-id"), "{event}");
    ensure!(event["subject"] == job, "{event}");
    ensure!(event["data"]["state"] == "succeeded", "{event}");
    Ok(event)
}

#[tokio::test]
async fn t16_a_callback_survives_its_workers_and_a_flush() -> Result<()> {
    let Some(mut suite) = Suite::new("callback").await? else {
        return Ok(());
    };
    let authority = Authority::new("of a test");
    let asked = AtomicUsize::new(0);
    let receiver = Receiver::start_as(&authority.issue(&["127.0.0.1"]), move || {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        answer(if number < 2 { 500 } else { 204 }, &[])
    })
    .await;
    let trusted = suite.directory().join("authorities.pem");
    fs::write(&trusted, authority.pem())?;
    let port = receiver.address.port();
    suite.set("VMCTL_CA_FILE", trusted.display().to_string());
    suite.set("VMCTL_CALLBACK_PORTS", port.to_string());
    suite.set("VMCTL_CALLBACK_ALLOW_NETWORKS", "127.0.0.0/8");
    suite.set("VMCTL_CALLBACK_SECRET", SECRET);
    // Long enough for a worker to be killed in between.
    suite.set("VMCTL_CALLBACK_SCHEDULE", "5s");
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let mut job = creation();
    job["callback"] = json!({"url": format!("https://127.0.0.1:{port}/hook"), "full": true});
    let id = api.submit(&job).await?;

    hits(&receiver, 1).await?;
    let once = json!({"state": "delivering", "attempts": 1, "last_status": 500});
    let callback = shown(&api, &id, once).await?;
    ensure!(callback["next_attempt_at"].is_string(), "{callback}");
    three.worker.kill()?;
    suite.redis.flush()?;
    let worker = suite.start("worker").await?;
    hits(&receiver, 2).await?;
    let twice = json!({"state": "delivering", "attempts": 2, "last_status": 500});
    shown(&api, &id, twice).await?;
    worker.kill()?;
    let worker = suite.start("worker").await?;

    let thrice = json!({"state": "delivered", "attempts": 3, "last_status": 204});
    shown(&api, &id, thrice.clone()).await?;
    let delivered = hits(&receiver, 3).await?;
    ensure!(delivered.len() == 3, "{delivered:?}");
    let event = are_one(&delivered, &id)?;
    ensure!(
        event["data"]["output"]["vm_hostname"] == job["input"]["vm_hostname"],
        "{event}"
    );
    suite.redis.flush()?;
    shown(&api, &id, thrice).await?;

    let callback = event["id"].as_str().context("no id")?;
    let path = format!("/v1/jobs/{id}/callbacks/{callback}/redeliver");
    api.post(&path, &json!({})).await?.expect(202)?;
    let all = hits(&receiver, 4).await?;
    shown(&api, &id, json!({"state": "delivered", "attempts": 1})).await?;
    are_one(&all, &id)?;
    ensure!(receiver.hits().len() == 4, "{:?}", receiver.hits());
    worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}
