//! Jobs for later: `run_at`, and cancelling them before they are due.

use serde_json::json;
use vmctl_core::bus::RoutingKey;

use super::support::{Suite, create, next};

#[tokio::test(start_paused = true)]
async fn a_scheduled_job_passes_a_delay_and_is_queued_until_then() {
    let suite = Suite::start().await;
    let mut body = create();
    body["run_at"] = "2h".into();
    body["start_by"] = "10m".into();
    body["retry"] = json!({"max_attempts": 7});
    body["attempt_timeout"] = "90s".into();
    let reply = suite.post("/v1/jobs", body).await;
    assert_eq!(reply.status, 202);
    let job = reply.json();
    assert_eq!(job["state"], "queued");
    assert!(
        job["run_at"].is_string() && job["start_by"].is_string(),
        "{job}"
    );
    assert_eq!(job["max_attempts"], 7);
    assert_eq!(job["attempt_timeout_seconds"], 90);
    assert!(job["stall_after_seconds"].is_number());
    let delayed = suite.app.bus.admin.inspect("jobs.delay.1h").await.unwrap();
    assert_eq!(delayed.unwrap().ready, 1);
    let kind = suite.get("/v1/kinds/vm.create").await.json();
    assert_eq!(kind["retry"]["max_attempts_limit"], 20);
    assert_eq!(
        kind["retry"]["backoff_seconds"],
        json!([1.0, 5.0, 15.0, 60.0])
    );
    assert_eq!(kind["stall_after_seconds"], 480);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_job_is_cancelled_at_once_and_for_good() {
    let suite = Suite::start().await;
    let mut body = create();
    body["run_at"] = "6d".into();
    let id = suite.post("/v1/jobs", body).await.json()["id"].clone();
    let path = format!("/v1/jobs/{}/cancel", id.as_str().unwrap());
    for _ in 0..2 {
        let reply = suite.post(&path, json!({"reason": "not needed"})).await;
        assert_eq!(reply.status, 200);
        let job = reply.json();
        assert_eq!(job["state"], "cancelled");
        assert!(job["cancel_requested_at"].is_string() && job["started_at"].is_null());
        // Longer than its command can still be somewhere.
        assert!(
            job["expires_at"].as_str() > job["deadline"].as_str(),
            "{job}"
        );
        suite.caught_up().await;
    }
}

#[tokio::test(start_paused = true)]
async fn shortly_before_it_is_due_only_a_worker_ends_it() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let mut body = create();
    body["run_at"] = "50s".into();
    let id = suite.post("/v1/jobs", body).await.json()["id"].clone();
    let path = format!("/v1/jobs/{}/cancel", id.as_str().unwrap());
    let reply = suite.post(&path, json!({})).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["state"]),
        (202, &json!("queued"))
    );
    let message = next(&mut work).await.message;
    assert_eq!(message.routing_key, "delay.15s.job.vm.create");
    assert_ne!(
        message.routing_key,
        RoutingKey::job(&"vm.create".parse().unwrap()).as_str()
    );
}
