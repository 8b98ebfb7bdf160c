//! Callbacks: refused at submission, shown on the job, delivered again.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use axum::http::StatusCode;
use serde_json::{Value, json};
use vmctl_core::{
    JobState,
    callback::{Policy as Delivery, delivery},
    event::{Event, EventType},
    fact::{JobFact, Retention},
};
use vmctl_egress::{Guard, Policy, ResolveError, Resolver};

use super::support::{MEMBER, READER, Suite, another, create, next};

const URL: &str = "https://public.example/hook";

/// Knows three names.
struct Names;

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        match name {
            "public.example" => Ok(vec![[1, 1, 1, 1].into()]),
            "private.example" => Ok(vec![[1, 1, 1, 1].into(), [10, 0, 0, 1].into()]),
            "slow.example" => Err(ResolveError::Timeout),
            _ => Err(ResolveError::NotFound),
        }
    }
}

async fn suite() -> Suite {
    Suite::with(|config| {
        config.callbacks = Guard::with_resolver(Policy::default(), Arc::new(Names));
    })
    .await
}

fn with_callback(callback: Value) -> Value {
    let mut body = create();
    body["callback"] = callback;
    body
}

/// Submits a job with a callback and lets it end; says which delivery follows.
async fn ended(suite: &Suite) -> (String, Event) {
    let mut work = suite.work("vm.create").await;
    let reply = suite
        .post("/v1/jobs", with_callback(json!({"url": URL})))
        .await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    assert_eq!(
        reply.json()["callback"],
        json!({"state": "pending", "url": URL, "attempts": 0})
    );
    let taken = next(&mut work).await;
    let mut end = Event::parse(&taken.message.body).unwrap();
    suite.finish(taken).await;
    end.event_type = EventType::Succeeded;
    end.data.state = JobState::Succeeded;
    let id = end.subject.to_string();
    let fact = JobFact::from_event(end, None, Retention::default());
    let policy = Delivery::of(&suite.app.registry).unwrap();
    let command = delivery(&fact, &policy, "/reader/test", suite.app.now()).unwrap();
    suite.caught_up().await;
    (id, command)
}

#[tokio::test(start_paused = true)]
async fn t08_a_callback_that_may_not_be_called_is_422() {
    let suite = suite().await;
    for url in [
        "http://public.example/",
        "https://joe:1234@public.example/",
        "https://public.example:22/",
        "https://private.example/",
        "https://nobody.example/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::ffff:169.254.169.254]/",
        "https://localhost./",
        "not a URL",
        "",
    ] {
        let body = with_callback(json!({"url": url}));
        for path in ["/v1/jobs", "/v1/jobs?validate_only=true"] {
            let problem = suite
                .post(path, body.clone())
                .await
                .is_problem(422, "callback-forbidden");
            assert_eq!(problem["errors"][0]["pointer"], "/callback/url", "{url}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(!detail.contains("10.0"), "{detail}");
        }
    }
    // Who does not answer holds up nobody: the worker looks again.
    for url in [URL, "https://slow.example/", "https://1.1.1.1/"] {
        let mut body = another();
        body["callback"] = json!({"url": url});
        let reply = suite.post("/v1/jobs", body).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_every_wrong_member_of_a_callback_is_named() {
    let suite = suite().await;
    for (callback, expected) in [
        (json!("x"), json!([["/callback", "type"]])),
        (json!({}), json!([["/callback/url", "required"]])),
        (json!({"url": 1}), json!([["/callback/url", "type"]])),
        (
            json!({"url": URL, "events": ["started"], "full": 1, "secret_ref": "../x"}),
            json!([
                ["/callback/events", "enum"],
                ["/callback/full", "type"],
                ["/callback/secret_ref", "pattern"]
            ]),
        ),
    ] {
        let reply = suite.post("/v1/jobs", with_callback(callback)).await;
        let mut found: Vec<Value> = reply.is_problem(422, "validation")["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| json!([error["pointer"], error["code"]]))
            .collect();
        found.sort_by_key(ToString::to_string);
        assert_eq!(Value::from(found), expected);
    }
    let unknown = with_callback(json!({"url": URL, "headers": {}}));
    let problem = suite
        .post("/v1/jobs", unknown)
        .await
        .is_problem(422, "unknown-field");
    assert_eq!(problem["errors"][0]["pointer"], "/callback/headers");
}

#[tokio::test(start_paused = true)]
async fn the_kind_that_delivers_is_the_suites_own() {
    let suite = suite().await;
    let body = json!({"kind": "callback.deliver", "input": {}});
    suite
        .post("/v1/jobs", body)
        .await
        .is_problem(422, "unknown-kind");
    suite
        .get("/v1/kinds/callback.deliver")
        .await
        .is_problem(404, "not-found");
    let kinds = suite.get("/v1/kinds").await.json();
    assert!(!kinds.to_string().contains("callback.deliver"));
}

#[tokio::test(start_paused = true)]
async fn another_callback_under_the_same_key_is_another_request() {
    let suite = suite().await;
    let post = async |callback: Value| {
        let call = suite.request("POST", "/v1/jobs").token(MEMBER);
        call.header("Idempotency-Key", "k")
            .json(&with_callback(callback))
            .send()
            .await
    };
    let first = post(json!({"url": URL})).await;
    let again = post(json!({"url": URL, "secret_ref": "default"})).await;
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = post(json!({"url": "https://1.1.1.1/"})).await;
    other.is_problem(422, "idempotency-mismatch");
}

#[tokio::test(start_paused = true)]
async fn an_ended_job_shows_how_its_callback_stands() {
    let suite = suite().await;
    let (id, command) = ended(&suite).await;
    let path = format!("/v1/jobs/{id}");
    let list = format!("{path}/callbacks");
    let shown = async || suite.get(&path).await.json()["callback"].clone();
    // Its delivery is not known yet.
    assert_eq!(
        shown().await,
        json!({"state": "delivering", "url": URL, "attempts": 0})
    );

    suite
        .app
        .bus
        .publisher
        .publish(command.to_message())
        .await
        .unwrap();
    suite
        .say(&command, EventType::Retry, |event| {
            event.data.state = JobState::Retrying;
            event.data.attempt = 2;
            event.data.not_before = Some(event.time);
            event.data.error = serde_json::from_value(json!(
                {"type": "http-503", "title": "the receiver did not take it", "retryable": true}
            ))
            .unwrap();
        })
        .await;
    suite.caught_up().await;
    let status = shown().await;
    assert_eq!(
        (
            &status["state"],
            &status["attempts"],
            &status["last_status"]
        ),
        (&json!("delivering"), &json!(1), &json!(503))
    );
    assert!(status["next_attempt_at"].is_string());
    let item = suite.get(&list).await.json()["items"][0].clone();
    assert_eq!(item["id"], json!(command.subject));
    assert_eq!(
        (&item["epoch"], &item["job_state"]),
        (&json!(0), &json!("retrying"))
    );
    assert_eq!(item["error"]["type"], "http-503");
    suite
        .request("POST", &format!("{list}/{}/redeliver", command.subject))
        .token(MEMBER)
        .send()
        .await
        .is_problem(409, "not-retryable");

    // Its receiver is busy: that attempt has not been made.
    suite
        .say(&command, EventType::Continued, |event| {
            event.data.state = JobState::Running;
            (event.data.attempt, event.data.seq) = (2, 1);
            event.data.not_before = Some(event.time);
        })
        .await;
    suite.caught_up().await;
    let status = shown().await;
    assert_eq!(
        (&status["state"], &status["attempts"]),
        (&json!("delivering"), &json!(1))
    );
    assert!(status["next_attempt_at"].is_string());

    suite
        .say(&command, EventType::Succeeded, |event| {
            event.data.state = JobState::Succeeded;
            event.data.attempt = 2;
            event.data.output = Some(json!({"status": 204}));
        })
        .await;
    suite.caught_up().await;
    assert_eq!(
        shown().await,
        json!({"state": "delivered", "url": URL, "attempts": 2, "last_status": 204})
    );
    // Its tag has not changed, and yet the job is sent.
    let etag = suite.get(&path).await.header("etag").to_owned();
    let call = suite.request("GET", &path).token(MEMBER);
    let again = call.header("If-None-Match", etag).send().await;
    assert_eq!(again.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_callback_is_delivered_again_by_hand() {
    let suite = suite().await;
    let (id, command) = ended(&suite).await;
    suite
        .app
        .bus
        .publisher
        .publish(command.to_message())
        .await
        .unwrap();
    suite
        .say(&command, EventType::Succeeded, |event| {
            event.data.state = JobState::Succeeded;
            event.data.output = Some(json!({"status": 200}));
        })
        .await;
    suite.caught_up().await;
    let path = format!("/v1/jobs/{id}/callbacks/{}/redeliver", command.subject);
    let call = suite.request("POST", &path).token(READER).send().await;
    call.is_problem(403, "forbidden");
    let mut work = suite.work("callback.deliver").await;
    next(&mut work).await.ack().await.unwrap();
    let reply = suite.request("POST", &path).token(MEMBER).send().await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    assert_eq!(reply.json()["state"], "delivering");
    let again = Event::parse(&next(&mut work).await.message.body).unwrap();
    assert_eq!(again.event_type, EventType::Redriven);
    assert_eq!((again.subject, again.data.epoch), (command.subject, 1));
    assert_eq!(again.data.job.input, command.data.job.input);

    let other = format!("/v1/jobs/{id}/callbacks/{id}/redeliver");
    let reply = suite.request("POST", &other).token(MEMBER).send().await;
    reply.is_problem(404, "job-not-found");
    let bad = format!("/v1/jobs/{id}/callbacks/x/redeliver");
    let reply = suite.request("POST", &bad).token(MEMBER).send().await;
    reply.is_problem(400, "bad-id");
}
