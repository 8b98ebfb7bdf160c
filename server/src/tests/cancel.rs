//! `POST /v1/jobs/{id}/cancel`.

use serde_json::{Value, json};
use vmctl_core::{
    bus::Feed,
    event::{Event, EventType},
    memory::bus::ConfirmFailure,
};

use super::support::{MEMBER, OTHER, READER, Reply, Suite, eventually, next};

async fn cancel(suite: &Suite, id: &str, body: Option<Value>) -> Reply {
    let path = format!("/v1/jobs/{id}/cancel");
    let call = suite.request("POST", &path).token(MEMBER);
    match body {
        Some(body) => call.json(&body).send().await,
        None => call.send().await,
    }
}

#[tokio::test(start_paused = true)]
async fn the_wish_is_an_event_a_flag_and_a_broadcast() {
    let suite = Suite::start().await;
    let mut control = suite
        .app
        .bus
        .consumer
        .subscribe(Feed::Control, "w")
        .await
        .unwrap();
    let id = suite.submit().await;
    let before = suite
        .get(&format!("/v1/jobs/{id}"))
        .await
        .header("etag")
        .to_owned();
    let reply = cancel(&suite, &id, Some(json!({"reason": "not needed"}))).await;
    assert_eq!(reply.status, 202);
    let job = reply.json();
    assert_eq!(job["state"], "queued");
    assert!(job["cancel_requested_at"].is_string());
    assert_ne!(reply.header("etag"), before);
    let message = control.next().await.unwrap();
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(
        (
            body["type"].as_str(),
            body["job_id"].as_str(),
            body["reason"].as_str()
        ),
        (Some("cancel"), Some(&*id), Some("not needed"))
    );
    // It is seen at once, and still when the log has been read.
    for _ in 0..2 {
        let found = suite.get(&format!("/v1/jobs/{id}")).await.json();
        assert_eq!(found["cancel_requested_at"], job["cancel_requested_at"]);
        suite.caught_up().await;
    }
    // Asking again changes nothing and tells the workers again.
    let again = cancel(&suite, &id, None).await;
    assert_eq!(again.status, 202);
    assert_eq!(
        again.json()["cancel_requested_at"],
        job["cancel_requested_at"]
    );
    assert!(control.next().await.is_some());
    let events = suite.get(&format!("/v1/jobs/{id}/events")).await.json();
    let asked = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["type"] == "cancel_requested");
    assert_eq!(asked.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn t08_an_ended_job_cannot_be_cancelled_and_a_cancelled_one_is_200() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let done = suite.submit().await;
    suite.finish(next(&mut work).await).await;
    let gone = suite.submit().await;
    // Held, or it comes again.
    let held = next(&mut work).await;
    let command = Event::parse(&held.message.body).unwrap();
    suite
        .say(&command, EventType::Cancelled, |e| {
            e.data.state = vmctl_core::JobState::Cancelled;
        })
        .await;
    let failed = suite.submit().await;
    let command = Event::parse(&next(&mut work).await.message.body).unwrap();
    suite
        .say(&command, EventType::Failed, |e| {
            e.data.state = vmctl_core::JobState::Failed;
        })
        .await;
    suite.caught_up().await;
    for (id, state) in [(&done, "succeeded"), (&failed, "failed")] {
        assert_eq!(
            suite.get(&format!("/v1/jobs/{id}")).await.json()["state"],
            state
        );
        let problem = cancel(&suite, id, None)
            .await
            .is_problem(409, "already-terminal");
        assert_eq!(problem["job_id"], **id);
    }
    let reply = cancel(&suite, &gone, None).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["state"]),
        (200, &json!("cancelled"))
    );
}

#[tokio::test(start_paused = true)]
async fn t08_a_stale_if_match_is_412() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let path = format!("/v1/jobs/{id}/cancel");
    let etag = suite
        .get(&format!("/v1/jobs/{id}"))
        .await
        .header("etag")
        .to_owned();
    let matching = async |tag: &str| {
        suite
            .request("POST", &path)
            .token(MEMBER)
            .header("If-Match", tag)
            .send()
            .await
    };
    matching("\"old\"")
        .await
        .is_problem(412, "precondition-failed");
    matching(&format!("W/{etag}"))
        .await
        .is_problem(412, "precondition-failed");
    assert_eq!(matching(&etag).await.status, 202);
    matching(&etag).await.is_problem(412, "precondition-failed");
    assert_eq!(matching("*").await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_submit_may_not_cancel() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let path = format!("/v1/jobs/{id}/cancel");
    let call = async |token: &str| suite.request("POST", &path).token(token).send().await;
    call(READER).await.is_problem(403, "forbidden");
    call(OTHER).await.is_problem(404, "job-not-found");
    assert!(suite.get(&format!("/v1/jobs/{id}")).await.json()["cancel_requested_at"].is_null());
}

#[tokio::test(start_paused = true)]
async fn t08_a_wrong_body_is_422_and_an_empty_one_is_none() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    for (body, slug) in [
        (json!([]), "validation"),
        (json!({"reason": 1}), "validation"),
        (json!({"reason": "x".repeat(257)}), "validation"),
        (json!({"reason": "a\u{0}"}), "validation"),
        (json!({"force": true}), "unknown-field"),
    ] {
        cancel(&suite, &id, Some(body)).await.is_problem(422, slug);
    }
    let path = format!("/v1/jobs/{id}/cancel");
    let text = suite
        .request("POST", &path)
        .token(MEMBER)
        .body("please")
        .send()
        .await;
    text.is_problem(415, "unsupported-media-type");
    assert_eq!(cancel(&suite, &id, Some(json!({}))).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn without_the_broker_the_wish_is_503() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    suite.broker.set_blocked(Some("disk"));
    cancel(&suite, &id, None)
        .await
        .is_problem(503, "bus-unavailable");
    suite.broker.set_blocked(None);
    let last = suite.app.marks.newest().map(|m| m.time);
    eventually("a mark", async || {
        suite.app.marks.newest().map(|m| m.time) != last
    })
    .await;
    suite.broker.fail_next_confirms(1, ConfirmFailure::Timeout);
    let problem = cancel(&suite, &id, None)
        .await
        .is_problem(503, "outcome-unknown");
    assert_eq!(problem["job_id"], id);
}
