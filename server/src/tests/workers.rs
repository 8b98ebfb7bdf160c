//! `GET /v1/admin/workers`.

use std::time::Duration;

use serde_json::{Value, json};
use vmctl_api_types::{JobInHand, Presence, ServedKind, WorkerState};
use vmctl_core::{
    bus::Message,
    clock,
    presence::{GONE_AFTER, to_message},
};

use super::support::{MEMBER, Suite, eventually};
use crate::workers::MOST;

const ADMIN: &str = "ann@demo:admin";
const OPERATOR: &str = "root@ops:admin";

async fn start() -> Suite {
    Suite::with(|config| config.admin_project = Some("ops".to_owned())).await
}

async fn list(suite: &Suite, token: &str, query: &str) -> Value {
    let path = format!("/v1/admin/workers{query}");
    let reply = suite.request("GET", &path).token(token).send().await;
    assert_eq!(reply.status, 200);
    reply.json()
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap()).collect()
}

fn worker(suite: &Suite, name: &str) -> Presence {
    let now = suite.app.now();
    let served = |kind: &str, in_hand| ServedKind {
        kind: kind.parse().unwrap(),
        slots: 8,
        in_hand,
        consuming: true,
    };
    let job = |project: &str| JobInHand {
        id: clock::new_job_id(&*suite.app.clock),
        kind: "vm.create".parse().unwrap(),
        project_id: project.to_owned(),
        attempt: 1,
        since: now,
        heard_at: now,
    };
    Presence {
        name: name.to_owned(),
        app: "tester".to_owned(),
        version: "1.2.3".to_owned(),
        language: "python".to_owned(),
        started_at: now,
        state: WorkerState::Working,
        kinds: vec![served("vm.create", 2), served("vm.delete", 0)],
        jobs: vec![job("demo"), job("other")],
    }
}

fn said(suite: &Suite, presence: Presence) -> Message {
    let id = clock::new_uuid(&*suite.app.clock);
    to_message(presence, id, suite.app.now())
}

async fn say(suite: &Suite, presence: Presence) {
    tell(suite, said(suite, presence)).await;
}

async fn tell(suite: &Suite, message: Message) {
    let told = suite.app.bus.publisher.publish_tick(message).await;
    told.unwrap();
}

async fn heard(suite: &Suite, wanted: &[&str]) {
    eventually("the workers are these", async || {
        names(&list(suite, ADMIN, "").await) == wanted
    })
    .await;
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_listed_while_it_speaks() {
    let suite = start().await;
    say(&suite, worker(&suite, "w2")).await;
    say(&suite, worker(&suite, "w1")).await;
    heard(&suite, &["w1", "w2"]).await;
    let all = list(&suite, ADMIN, "").await;
    let first = &all["items"][0];
    assert_eq!(first["version"], "1.2.3");
    assert_eq!(first["kinds"][0]["in_hand"], 2);
    assert_eq!(first["state"], "working");
    assert!(first["heard_at"].is_string());
    pass(GONE_AFTER / 2).await;
    say(&suite, worker(&suite, "w1")).await;
    pass(GONE_AFTER / 2).await;
    heard(&suite, &["w1"]).await;
    let mut draining = worker(&suite, "w1");
    draining.state = WorkerState::Draining;
    say(&suite, draining).await;
    eventually("it drains", async || {
        list(&suite, ADMIN, "").await["items"][0]["state"] == "draining"
    })
    .await;
    let mut last = worker(&suite, "w1");
    last.state = WorkerState::Ended;
    say(&suite, last).await;
    heard(&suite, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_not_listened_for_long_says_so() {
    let suite = start().await;
    heard(&suite, &[]).await;
    let fresh = list(&suite, ADMIN, "").await;
    assert_eq!(fresh["complete"], false);
    assert!(fresh["since"].is_string());
    pass(GONE_AFTER).await;
    let settled = list(&suite, ADMIN, "").await;
    assert_eq!(
        (&settled["complete"], &settled["since"]),
        (&json!(true), &fresh["since"])
    );
    // While the broker is away nobody can be heard; then it begins anew.
    suite.broker.set_down(true);
    let deaf = list(&suite, ADMIN, "").await;
    assert_eq!(
        (&deaf["complete"], &deaf["since"]),
        (&json!(false), &Value::Null)
    );
    pass(GONE_AFTER).await;
    suite.broker.set_down(false);
    eventually("it listens again", async || {
        list(&suite, ADMIN, "").await["since"].is_string()
    })
    .await;
    assert_eq!(list(&suite, ADMIN, "").await["complete"], false);
    pass(GONE_AFTER).await;
    assert_eq!(list(&suite, ADMIN, "").await["complete"], true);
}

#[tokio::test(start_paused = true)]
async fn jobs_of_another_project_are_shown_to_the_operator_only() {
    let suite = start().await;
    say(&suite, worker(&suite, "w1")).await;
    heard(&suite, &["w1"]).await;
    for (token, expected) in [
        (ADMIN, json!(["demo"])),
        ("ann@other:admin", json!(["other"])),
        ("ann@third:admin", json!([])),
        (OPERATOR, json!(["demo", "other"])),
    ] {
        let list = list(&suite, token, "").await;
        let jobs = list["items"][0]["jobs"].as_array().unwrap().iter();
        let projects: Vec<_> = jobs.map(|job| job["project_id"].clone()).collect();
        assert_eq!(json!(projects), expected, "{token}");
        assert_eq!(list["items"][0]["kinds"][0]["in_hand"], 2);
    }
    let call = suite.request("GET", "/v1/admin/workers").token(MEMBER);
    call.send().await.is_problem(403, "forbidden");
}

#[tokio::test(start_paused = true)]
async fn workers_are_filtered_by_kind() {
    let suite = start().await;
    say(&suite, worker(&suite, "both")).await;
    let mut one = worker(&suite, "one");
    one.kinds.truncate(1);
    say(&suite, one).await;
    heard(&suite, &["both", "one"]).await;
    let deleting = list(&suite, ADMIN, "?kind=vm.delete").await;
    assert_eq!(names(&deleting), ["both"]);
    for bad in ["?kind=nonsense", "?x=1", "?kind=vm.create&kind=vm.delete"] {
        let path = format!("/v1/admin/workers{bad}");
        let call = suite.request("GET", &path).token(ADMIN);
        call.send().await.is_problem(400, "bad-query");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_hostile_worker_says_changes_nothing() {
    let suite = start().await;
    say(&suite, worker(&suite, "w1")).await;
    let mut late = worker(&suite, "w2");
    late.started_at = "2999-01-01T00:00:00Z".parse().unwrap();
    late.jobs[0].since = late.started_at;
    say(&suite, late).await;
    let good = said(&suite, worker(&suite, "w1"));
    let bodies = [
        &b""[..],
        b"no JSON",
        b"{\"data\": {\"name\": \"w9\"}}",
        &[0xff; 64],
        &vec![b'['; 100_000],
    ];
    for body in bodies {
        let body = bytes::Bytes::copy_from_slice(body);
        tell(
            &suite,
            Message {
                body,
                ..good.clone()
            },
        )
        .await;
    }
    // About a job, for all that its type says.
    let id = suite.submit().await;
    let correlation_id = id.clone();
    tell(
        &suite,
        Message {
            correlation_id,
            ..good.clone()
        },
    )
    .await;
    // Of a version that nobody knows yet.
    let message_type = "jobs.worker.v2".to_owned();
    tell(
        &suite,
        Message {
            message_type,
            ..good
        },
    )
    .await;
    heard(&suite, &["w1", "w2"]).await;
    let list = list(&suite, OPERATOR, "").await;
    let now = suite.app.now().to_string();
    assert!(list["items"][1]["started_at"].as_str().unwrap() <= now.as_str());
    assert!(list["items"][1]["jobs"][0]["since"].as_str().unwrap() <= now.as_str());
    assert_eq!(suite.get(&format!("/v1/jobs/{id}")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_names_takes_nobodys_place_and_is_told() {
    let suite = start().await;
    pass(GONE_AFTER).await;
    say(&suite, worker(&suite, "a-real-one")).await;
    heard(&suite, &["a-real-one"]).await;
    for n in 0..MOST + 100 {
        let mut small = worker(&suite, &format!("flood-{n:05}"));
        small.jobs.clear();
        say(&suite, small).await;
    }
    eventually("the list is full", async || {
        let list = list(&suite, ADMIN, "").await;
        names(&list).len() == MOST && list["complete"] == false
    })
    .await;
    assert_eq!(names(&list(&suite, ADMIN, "").await)[0], "a-real-one");
    pass(GONE_AFTER).await;
    say(&suite, worker(&suite, "another")).await;
    heard(&suite, &["another"]).await;
    assert_eq!(list(&suite, ADMIN, "").await["complete"], true);
}
