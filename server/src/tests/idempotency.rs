//! Repeating a request by its `Idempotency-Key`.

use std::time::Duration;

use serde_json::Value;
use vmctl_core::memory::bus::ConfirmFailure;

use super::support::{MEMBER, OTHER, Reply, Suite, create, eventually, vm};

async fn keyed(suite: &Suite, key: &str, body: &Value) -> Reply {
    suite
        .request("POST", "/v1/jobs")
        .token(MEMBER)
        .header("Idempotency-Key", key)
        .json(body)
        .send()
        .await
}

async fn ready(suite: &Suite) -> u64 {
    use vmctl_core::bus::TopologyAdmin;
    suite
        .broker
        .inspect("work.vm.create")
        .await
        .unwrap()
        .unwrap()
        .ready
}

#[tokio::test(start_paused = true)]
async fn the_same_request_is_the_same_job_and_published_once() {
    let suite = Suite::start().await;
    let first = keyed(&suite, "k-1", &create()).await;
    assert_eq!(
        (first.status.as_u16(), first.header("idempotency-replayed")),
        (202, "false")
    );
    // Quoted and bare are one key.
    let again = keyed(&suite, "\"k-1\"", &create()).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (202, "true")
    );
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(ready(&suite).await, 1);
    assert_ne!(
        keyed(&suite, "k-2", &create()).await.json()["id"],
        first.json()["id"]
    );
    // Another project's key is another key.
    let other = suite
        .request("POST", "/v1/jobs")
        .token(OTHER)
        .header("Idempotency-Key", "k-1")
        .json(&create())
        .send()
        .await;
    assert_ne!(other.json()["id"], first.json()["id"]);
}

#[tokio::test(start_paused = true)]
async fn t07_the_id_survives_the_loss_of_the_store() {
    let suite = Suite::start().await;
    let id = keyed(&suite, "k", &create()).await.json()["id"].clone();
    suite.store.flush();
    suite.caught_up().await;
    let again = keyed(&suite, "k", &create()).await;
    assert_eq!((again.status.as_u16(), &again.json()["id"]), (202, &id));
    suite.store.set_down(true);
    let degraded = keyed(&suite, "k", &create()).await;
    assert_eq!(
        (degraded.status.as_u16(), &degraded.json()["id"]),
        (202, &id)
    );
    assert_eq!(degraded.header("x-degraded"), "cache");
}

#[tokio::test(start_paused = true)]
async fn t08_a_key_with_another_body_is_422() {
    let suite = Suite::start().await;
    assert_eq!(keyed(&suite, "k", &create()).await.status, 202);
    let mut other = create();
    other["input"]["vm_hostname"] = "lxother".into();
    keyed(&suite, "k", &other)
        .await
        .is_problem(422, "idempotency-mismatch");
    assert_eq!(ready(&suite).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_takes_no_key_and_a_full_queue_refuses_no_repetition() {
    let suite = Suite::with(|c| c.limits.queue_ready = 1).await;
    let done = keyed(&suite, "done", &create()).await;
    assert_eq!(done.status, 202);
    eventually("the full queue is noticed", async || {
        let kind = "vm.create".parse().unwrap();
        suite.app.admission.check(&kind, 1).is_err()
    })
    .await;
    keyed(&suite, "k", &create())
        .await
        .is_problem(503, "queue-full");
    let again = keyed(&suite, "done", &create()).await;
    assert_eq!((again.status.as_u16(), again.body), (202, done.body));
    let mut work = suite.work("vm.create").await;
    suite.finish(super::support::next(&mut work).await).await;
    let mut other = create();
    other["input"]["vm_hostname"] = "lxother".into();
    eventually("the queue takes more", async || {
        let reply = keyed(&suite, "k", &other).await;
        assert_ne!(reply.status, 422, "{reply:?}");
        reply.status == 202
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn t08_unusable_keys_are_400() {
    let suite = Suite::start().await;
    for key in ["", "\"open", &"k".repeat(256), "caf\u{e9}"] {
        keyed(&suite, key, &create())
            .await
            .is_problem(400, "bad-header");
    }
    assert_eq!(keyed(&suite, &"k".repeat(255), &create()).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn after_an_unknown_outcome_the_key_publishes_again_under_the_same_id() {
    let suite = Suite::start().await;
    suite.set_reading(false);
    let last = suite.app.marks.newest().map(|m| m.time);
    eventually("a mark", async || {
        suite.app.marks.newest().map(|m| m.time) != last
    })
    .await;
    suite.broker.fail_next_confirms(1, ConfirmFailure::Timeout);
    let problem = keyed(&suite, "k", &create())
        .await
        .is_problem(503, "outcome-unknown");
    let again = keyed(&suite, "k", &create()).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (202, "false")
    );
    assert_eq!(again.json()["id"], problem["job_id"]);
    assert_eq!(ready(&suite).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_ended_is_replayed_as_200() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    keyed(&suite, "k", &create()).await;
    suite.finish(super::support::next(&mut work).await).await;
    suite.caught_up().await;
    let again = keyed(&suite, "k", &create()).await;
    assert_eq!(
        (again.status.as_u16(), &*again.json()["state"].to_string()),
        (200, "\"succeeded\"")
    );
    assert_eq!(again.header("retry-after"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t07_fifty_requests_at_once_are_one_job() {
    let suite = std::sync::Arc::new(Suite::start().await);
    let calls = (0..50).map(|_| {
        let suite = std::sync::Arc::clone(&suite);
        tokio::spawn(async move { keyed(&suite, "k", &create()).await })
    });
    let mut ids = std::collections::HashSet::new();
    let mut replayed = 0;
    for call in calls.collect::<Vec<_>>() {
        let reply = call.await.unwrap();
        assert_eq!(reply.status, 202, "{reply:?}");
        ids.insert(reply.json()["id"].as_str().unwrap().to_owned());
        replayed += u32::from(reply.header("idempotency-replayed") == "true");
    }
    assert_eq!((ids.len(), replayed), (1, 49));
    assert_eq!(ready(&suite).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_a_key_is_not_refused_while_another_request_tries_it() {
    let suite = std::sync::Arc::new(Suite::start().await);
    assert_eq!(keyed(&suite, "k", &create()).await.status, 202);
    let mut other = create();
    other["input"]["vm_hostname"] = "lxother".into();
    let calls = (0..40).map(|n| {
        let (suite, owner) = (std::sync::Arc::clone(&suite), n % 3 != 0);
        let body = if owner { create() } else { other.clone() };
        tokio::spawn(async move { (owner, keyed(&suite, "k", &body).await) })
    });
    for call in calls.collect::<Vec<_>>() {
        let (owner, reply) = call.await.unwrap();
        if owner {
            assert_eq!(reply.status, 202, "{reply:?}");
        } else {
            reply.is_problem(422, "idempotency-mismatch");
        }
    }
    assert_eq!(ready(&suite).await, 1);
}

#[tokio::test(start_paused = true)]
async fn t08_a_twin_of_a_request_without_an_outcome_is_409() {
    let suite = Suite::start().await;
    let fingerprint = "sha256:x";
    let patience = Duration::from_secs(2);
    let twins = &suite.app.twins;
    let first = twins
        .turn("name", fingerprint, patience)
        .await
        .ok()
        .unwrap();
    let started = tokio::time::Instant::now();
    let second = twins
        .turn("name", fingerprint, patience)
        .await
        .err()
        .unwrap();
    assert_eq!(
        second.problem().problem_type,
        "/problems/idempotency-in-flight"
    );
    assert_eq!(started.elapsed(), patience);
    // What is stored judges another request; it is not asked while the first one may change that.
    let other = twins.turn("name", "sha256:y", patience).await;
    assert_eq!(
        other.err().unwrap().problem().problem_type,
        "/problems/idempotency-in-flight"
    );
    drop(first);
    assert!(twins.turn("name", fingerprint, patience).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_compat_routes_take_keys_too() {
    let suite = Suite::start().await;
    let call = async || {
        suite
            .request("POST", "/v1/vm/")
            .token(MEMBER)
            .header("Idempotency-Key", "k")
            .json(&vm())
            .send()
            .await
    };
    let (first, again) = (call().await, call().await);
    assert_eq!(first.json(), again.json());
    assert_eq!(again.header("idempotency-replayed"), "true");
    // One key on two routes is two jobs.
    assert_ne!(
        keyed(&suite, "k", &create()).await.json()["id"],
        first.json()["uuid"]
    );
}
