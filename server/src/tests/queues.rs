//! `GET /v1/admin/queues`.

use serde_json::{Value, json};

use super::support::{MEMBER, Suite, eventually, next};

const ADMIN: &str = "ann@demo:admin";

async fn queue(suite: &Suite, name: &str) -> Value {
    let call = suite.request("GET", "/v1/admin/queues").token(ADMIN);
    let reply = call.send().await;
    assert_eq!(reply.status, 200);
    let items = reply.json()["items"].as_array().unwrap().clone();
    let found = items.into_iter().find(|item| item["name"] == name);
    found.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_kind_says_what_waits_for_its_workers() {
    let suite = Suite::start().await;
    suite.submit().await;
    let is = async |depth: u64, consumers: u32| {
        let wanted = json!({"depth": depth, "consumers": consumers});
        eventually("the server has looked again", async || {
            suite.get("/v1/kinds/vm.create").await.json()["queue"] == wanted
        })
        .await;
    };
    is(1, 0).await;
    let mut work = suite.work("vm.create").await;
    let delivery = next(&mut work).await;
    is(0, 1).await;
    drop((delivery, work));
    is(1, 0).await;
    let list = suite.get("/v1/kinds").await.json();
    assert!(
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|kind| kind["queue"].is_null())
    );
    // What was seen before the broker was away says nothing about now.
    suite.broker.set_down(true);
    eventually("it is forgotten", async || {
        suite.get("/v1/kinds/vm.create").await.json()["queue"].is_null()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn queues_say_what_waits_who_takes_and_what_is_missing() {
    let suite = Suite::start().await;
    suite.submit().await;
    let waiting = queue(&suite, "work.vm.create").await;
    assert_eq!(
        (&waiting["state"], &waiting["ready"], &waiting["consumers"]),
        (&json!("present"), &json!(1), &json!(0))
    );
    assert_eq!(waiting["max_length"], 1_000_000);
    let _work = suite.work("vm.create").await;
    assert_eq!(queue(&suite, "work.vm.create").await["consumers"], 1);
    assert_eq!(queue(&suite, "jobs.dead").await["ready"], 0);
    suite
        .app
        .bus
        .admin
        .delete_queue("jobs.delay.1h")
        .await
        .unwrap();
    let gone = queue(&suite, "jobs.delay.1h").await;
    assert_eq!(
        (&gone["state"], &gone["ready"]),
        (&json!("missing"), &Value::Null)
    );

    let call = suite.request("GET", "/v1/admin/queues").token(MEMBER);
    call.send().await.is_problem(403, "forbidden");
    let call = suite.request("GET", "/v1/admin/queues?x=1").token(ADMIN);
    call.send().await.is_problem(400, "bad-query");
}
