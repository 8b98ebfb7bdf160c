//! Quotas of a project, and what a project that floods does to another.

use std::time::Duration;

use serde_json::json;
use vmctl_core::{
    event::Event,
    store::project::{ProjectLimits, Rate},
};

use super::support::{MEMBER, OTHER, Reply, Suite, another, eventually, next};
use crate::Config;

fn limits(active: u64, quota: u32) -> impl FnOnce(&mut Config) {
    move |config| {
        config.limits.project = ProjectLimits {
            active: Some(active),
            rate: Some(Rate {
                quota,
                window: Duration::from_secs(60),
            }),
        };
    }
}

async fn submit(suite: &Suite, token: &str) -> Reply {
    let call = suite.request("POST", "/v1/jobs").token(token);
    call.json(&another()).send().await
}

fn refused(reply: &Reply, policy: &str) {
    assert_eq!(reply.status, 429, "{reply:?}");
    let problem = reply.json();
    assert_eq!(
        problem["type"],
        "https://iana.org/assignments/http-problem-types#quota-exceeded"
    );
    assert_eq!(problem["violated-policies"], json!([policy]));
    assert!(reply.headers.contains_key("retry-after"));
    assert!(reply.headers.contains_key("ratelimit"));
}

#[tokio::test(start_paused = true)]
async fn t08_too_fast_is_429_until_there_is_room_again() {
    let suite = Suite::with(limits(100, 3)).await;
    for left in (0..3).rev() {
        let reply = submit(&suite, MEMBER).await;
        assert_eq!(reply.status, 202);
        let state = reply.headers["ratelimit"].to_str().unwrap();
        assert!(
            state.starts_with(&format!("\"submit\";r={left};t=")),
            "{state}"
        );
        assert_eq!(
            reply.headers["ratelimit-policy"],
            "\"submit\";q=3;w=60, \"active-jobs\";q=100;qu=\"concurrent-requests\""
        );
    }
    let reply = submit(&suite, MEMBER).await;
    refused(&reply, "submit");
    let wait: u64 = reply.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(submit(&suite, OTHER).await.status, 202);
    let compat = suite.request("POST", "/v1/vm/").token(MEMBER);
    let compat = compat.json(&another()["input"]).send().await;
    refused(&compat, "submit");
    tokio::time::advance(Duration::from_secs(wait)).await;
    assert_eq!(submit(&suite, MEMBER).await.status, 202);
    // By itself, when the store is away.
    suite.store.set_down(true);
    for _ in 0..3 {
        assert_eq!(submit(&suite, MEMBER).await.status, 202);
    }
    refused(&submit(&suite, MEMBER).await, "submit");
}

#[tokio::test(start_paused = true)]
async fn t08_an_active_job_more_than_allowed_is_429_until_one_ends() {
    let suite = Suite::with(limits(2, 100)).await;
    for _ in 0..2 {
        assert_eq!(submit(&suite, MEMBER).await.status, 202);
    }
    refused(&submit(&suite, MEMBER).await, "active-jobs");
    let quota = suite.get("/v1/quota").await.json();
    assert_eq!(quota["active_jobs"], json!({"quota": 2, "used": 2}));
    assert_eq!(quota["submit"]["quota"], 100);
    assert_eq!(quota["submit"]["remaining"], 98);
    let mut work = suite.work("vm.create").await;
    suite.finish(next(&mut work).await).await;
    suite.caught_up().await;
    assert_eq!(submit(&suite, MEMBER).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn a_replay_spends_nothing() {
    let suite = Suite::with(limits(1, 1)).await;
    let body = another();
    for _ in 0..3 {
        let call = suite.request("POST", "/v1/jobs").token(MEMBER);
        let reply = call.header("Idempotency-Key", "k").json(&body).send().await;
        assert_eq!(reply.status, 202);
    }
}

/// A project floods; another one submits 10 jobs. How many jobs come before its first and its last is
/// what it waits for.
#[tokio::test(start_paused = true)]
async fn a_project_that_floods_does_not_starve_another() {
    const SHARE: usize = 5;
    const BUSY: usize = 20;
    let suite = Suite::with(|config| {
        config.limits.fair_share = 5;
        config.limits.busy_queue = 20;
        config.limits.inspect_every = Duration::from_millis(100);
    })
    .await;
    let mut accepted = 0;
    for _ in 0..1_000 {
        // One every 50 ms: two between two looks.
        tokio::time::advance(Duration::from_millis(50)).await;
        tokio::task::yield_now().await;
        match submit(&suite, MEMBER).await {
            reply if reply.status == 202 => accepted += 1,
            reply => refused(&reply, "active-jobs"),
        }
    }
    eventually("the other project's jobs", async || {
        submit(&suite, OTHER).await.status == 202
    })
    .await;
    let mut work = suite.work("vm.create").await;
    let mut before = 0;
    loop {
        let delivery = next(&mut work).await;
        let command = Event::parse(&delivery.message.body).unwrap();
        delivery.ack().await.unwrap();
        if command.data.job.auth.project_id == "other" {
            break;
        }
        before += 1;
    }
    println!(
        "of 1000 jobs of a flood {accepted} were accepted, {before} came before the other project's first"
    );
    assert_eq!(before, accepted);
    assert!(before <= BUSY + SHARE + 4, "{before}");
}
