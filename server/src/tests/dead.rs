//! `GET /v1/admin/dead` and `POST /v1/admin/dead/replay`.

use serde_json::{Value, json};
use vmctl_core::{
    JobState, clock,
    event::{Event, EventType},
};

use super::support::{MEMBER, OTHER, READER, Reply, Suite, create, eventually, next};

const ADMIN: &str = "ann@demo:admin";
const OPERATOR: &str = "root@operators:admin";

async fn suite() -> Suite {
    Suite::with(|config| config.admin_project = Some("operators".to_owned())).await
}

async fn list(suite: &Suite, token: &str, query: &str) -> Reply {
    let path = format!("/v1/admin/dead{query}");
    suite.request("GET", &path).token(token).send().await
}

async fn ids(suite: &Suite, token: &str, query: &str) -> Vec<String> {
    let reply = list(suite, token, query).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    let items = reply.json()["items"].as_array().unwrap().clone();
    let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
    items.iter().map(id).collect()
}

async fn replay(suite: &Suite, token: &str, body: Value) -> Reply {
    let call = suite.request("POST", "/v1/admin/dead/replay").token(token);
    call.json(&body).send().await
}

/// Submits a job for `token` whose worker says that it failed; returns its id.
async fn fail(suite: &Suite, token: &str, name: &str) -> String {
    let mut work = suite.work("vm.create").await;
    let mut body = create();
    body["input"]["vm_hostname"] = json!(name);
    let call = suite.request("POST", "/v1/jobs").token(token).json(&body);
    let id = call.send().await.json()["id"].as_str().unwrap().to_owned();
    let delivery = next(&mut work).await;
    let command = Event::parse(&delivery.message.body).unwrap();
    let failed = |event: &mut Event| event.data.state = JobState::Failed;
    suite.say(&command, EventType::Failed, failed).await;
    delivery.ack().await.unwrap();
    suite.caught_up().await;
    id
}

/// Submits a job whose command its workers give back until the broker gives it up; returns its id.
async fn crash(suite: &Suite) -> String {
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    // The first delivery, and five more.
    for _ in 0..=5 {
        next(&mut work).await.requeue().await.unwrap();
    }
    eventually("the broker has given it up", async || {
        ids(suite, ADMIN, "").await.contains(&id)
    })
    .await;
    id
}

#[tokio::test(start_paused = true)]
async fn t11_a_crash_loop_is_listed_with_its_reason_and_replayed() {
    let suite = suite().await;
    let id = crash(&suite).await;
    let page = list(&suite, ADMIN, "").await.json();
    let item = &page["items"][0];
    assert_eq!(
        (&item["kind"], &item["project_id"], &item["epoch"]),
        (&json!("vm.create"), &json!("demo"), &json!(0))
    );
    assert_eq!(item["error"]["type"], "delivery-limit");
    assert_eq!(
        (&item["replayable"], &page["incomplete"]),
        (&json!(true), &json!(false))
    );

    let mut work = suite.work("vm.create").await;
    let reply = replay(&suite, ADMIN, json!({"ids": [id]})).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()),
        (
            200,
            json!({"items": [{"id": id, "epoch": 1}], "more": false})
        )
    );
    assert_eq!(ids(&suite, ADMIN, "").await, Vec::<String>::new());
    // It runs for who had asked for it, from the first attempt.
    let delivery = next(&mut work).await;
    let command = Event::parse(&delivery.message.body).unwrap();
    assert_eq!(
        (command.event_type, command.data.epoch, command.data.attempt),
        (EventType::Redriven, 1, 1)
    );
    assert_eq!(command.data.job.auth.user_name, "joe");
    suite.finish(delivery).await;
    suite.caught_up().await;
    let job = suite.get(&format!("/v1/jobs/{id}")).await.json();
    assert_eq!(
        (&job["state"], &job["epoch"]),
        (&json!("succeeded"), &json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn t11_what_nobody_can_read_is_listed_and_cannot_be_replayed() {
    let suite = suite().await;
    let id = clock::new_uuid(&*suite.app.clock).to_string();
    let mut work = suite.work("vm.create").await;
    suite.submit().await;
    let delivery = next(&mut work).await;
    let command = Event::parse(&delivery.message.body).unwrap();
    let mut poison = command.to_message();
    poison.body = "{".into();
    poison.correlation_id.clone_from(&id);
    suite.app.bus.publisher.publish(poison).await.unwrap();
    suite.finish(delivery).await;
    next(&mut work).await.reject().await.unwrap();
    drop(work);
    eventually("it is listed", async || {
        ids(&suite, OPERATOR, "").await == [id.clone()]
    })
    .await;
    // Nobody knows whose it is, so an admin of a project does not see it.
    assert_eq!(ids(&suite, ADMIN, "").await, Vec::<String>::new());
    let page = list(&suite, OPERATOR, "").await.json();
    let item = &page["items"][0];
    assert_eq!(
        (&item["replayable"], &item["kind"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(item["error"]["type"], "malformed");

    let result = replay(&suite, OPERATOR, json!({"ids": [id]})).await.json();
    let problem = &result["items"][0]["problem"];
    assert_eq!(problem["type"], "/problems/not-retryable");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("cannot be read")
    );
    // It is in the way of nothing else.
    let other = fail(&suite, MEMBER, "lxother").await;
    let result = replay(&suite, OPERATOR, json!({"error": "malformed"}))
        .await
        .json();
    assert_eq!(result, json!({"items": [], "more": false}));
    let result = replay(&suite, OPERATOR, json!({"kind": "vm.create"}))
        .await
        .json();
    assert_eq!(result["items"], json!([{"id": other, "epoch": 1}]));
}

#[tokio::test(start_paused = true)]
async fn an_admin_sees_and_runs_the_own_project_and_one_project_all() {
    let suite = suite().await;
    let own = fail(&suite, MEMBER, "lxown").await;
    let foreign = fail(&suite, OTHER, "lxforeign").await;
    assert_eq!(ids(&suite, ADMIN, "").await, std::slice::from_ref(&own));
    assert_eq!(
        ids(&suite, OPERATOR, "").await,
        [foreign.clone(), own.clone()]
    );
    assert_eq!(
        ids(&suite, OPERATOR, "?project=demo").await,
        std::slice::from_ref(&own)
    );
    assert_eq!(
        ids(&suite, OPERATOR, "?kind=vm.delete").await,
        Vec::<String>::new()
    );
    list(&suite, ADMIN, "?project=other")
        .await
        .is_problem(403, "forbidden");
    for token in [READER, MEMBER] {
        list(&suite, token, "").await.is_problem(403, "forbidden");
        let refused = replay(&suite, token, json!({"ids": [own]})).await;
        refused.is_problem(403, "forbidden");
    }

    let result = replay(&suite, ADMIN, json!({"ids": [foreign, own]}))
        .await
        .json();
    assert_eq!(
        result["items"][0]["problem"]["type"],
        "/problems/job-not-found"
    );
    assert_eq!(result["items"][1]["epoch"], 1);
    let again = replay(&suite, ADMIN, json!({"ids": [own]})).await.json();
    let problem = &again["items"][0]["problem"];
    assert_eq!(problem["type"], "/problems/not-retryable");
    assert_eq!(problem["detail"], "the job is queued");
    let asked = replay(&suite, ADMIN, json!({"project_id": "other"})).await;
    asked.is_problem(403, "forbidden");
    let result = replay(&suite, OPERATOR, json!({"project_id": "other"}))
        .await
        .json();
    assert_eq!(result["items"], json!([{"id": foreign, "epoch": 1}]));
    // Each job that was named has an entry that says who asked.
    eventually("the audit has all", async || {
        let all = suite
            .app
            .audit
            .newest(1_000, |entry| entry.data.what == "replay")
            .items;
        all.len() == 4 && all.iter().all(|entry| entry.data.who.is_some())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pages_and_replays_are_bounded() {
    let suite = suite().await;
    let mut all = Vec::new();
    for n in 0..5 {
        all.insert(0, fail(&suite, MEMBER, &format!("lxdead{n}")).await);
    }
    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = list(&suite, ADMIN, &query).await.json();
        let items = page["items"].as_array().unwrap();
        seen.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, all);
    let body = json!({"kind": "vm.create", "limit": 2});
    for (left, more) in [(3, true), (1, true), (0, false)] {
        let result = replay(&suite, ADMIN, body.clone()).await.json();
        assert_eq!(result["more"], json!(more));
        assert_eq!(ids(&suite, ADMIN, "").await.len(), left);
    }
    let id = &all[0];
    for bad in [
        json!({}),
        json!([]),
        json!([[id]]),
        json!({"ids": ["x"]}),
        json!({"ids": [id], "kind": "vm.create"}),
        json!({"ids": vec![id; 101]}),
        json!({"kind": "vm.create", "limit": 0}),
        json!({"kind": "vm.create", "limit": 101}),
        json!({"kind": "vm.create", "more": true}),
        json!({"error": ""}),
    ] {
        let refused = replay(&suite, ADMIN, bad).await;
        refused.is_problem(422, "validation");
    }
    for bad in [
        "?limit=0",
        "?cursor=x",
        "?error=",
        "?state=failed",
        "?kind=x",
    ] {
        list(&suite, ADMIN, bad).await.is_problem(400, "bad-query");
    }
}
