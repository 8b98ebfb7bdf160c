//! `unique` in a submission, and host names of machines.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use vmctl_core::{
    JobState, clock,
    event::{Event, EventType},
    store::project::{Entry, ProjectLimits, ProjectStore as _, Run},
};

use super::support::{MEMBER, OTHER, Reply, Suite, create, next};

fn delete(host: &str, unique: &Value) -> Value {
    json!({"kind": "vm.delete", "input": {"vm_hostname": host}, "unique": unique})
}

async fn submit(suite: &Suite, token: &str, body: &Value) -> Reply {
    let call = suite.request("POST", "/v1/jobs").token(token);
    call.json(body).send().await
}

fn slug(reply: &Reply) -> String {
    reply.json()["type"].as_str().unwrap().to_owned()
}

/// Takes the next job of a queue and says that it has ended so.
async fn end(suite: &Suite, kind: &str, how: EventType, state: JobState) {
    let mut work = suite.work(kind).await;
    let delivery = next(&mut work).await;
    let command = Event::parse(&delivery.message.body).unwrap();
    suite.say(&command, how, |e| e.data.state = state).await;
    delivery.ack().await.unwrap();
    suite.caught_up().await;
}

#[tokio::test(start_paused = true)]
async fn t08_a_live_job_keeps_its_name_and_an_end_gives_it_back() {
    let suite = Suite::start().await;
    let unique = json!({"key": "k"});
    let first = submit(&suite, MEMBER, &delete("lx1", &unique)).await;
    assert_eq!(first.status, 202);
    let id = first.json()["id"].clone();
    let second = submit(&suite, MEMBER, &delete("lx2", &unique)).await;
    assert_eq!(
        (second.status.as_u16(), slug(&second).as_str()),
        (409, "/problems/duplicate")
    );
    assert_eq!(second.json()["job_id"], id);
    let other = submit(&suite, OTHER, &delete("lx2", &unique)).await;
    assert_eq!(other.status, 202);
    end(&suite, "vm.delete", EventType::Failed, JobState::Failed).await;
    let third = submit(&suite, MEMBER, &delete("lx2", &unique)).await;
    assert_eq!(third.status, 202);
    // The one that ended wants its name back, and another one has it now.
    let path = format!("/v1/jobs/{}/retry", id.as_str().unwrap());
    let retry = suite.request("POST", &path).token(MEMBER).send().await;
    assert_eq!(
        (retry.status.as_u16(), slug(&retry).as_str()),
        (409, "/problems/duplicate")
    );
    assert_eq!(retry.json()["job_id"], third.json()["id"]);
}

#[tokio::test(start_paused = true)]
async fn t08_the_other_job_is_returned_to_who_wants_that() {
    let suite = Suite::start().await;
    let unique = json!({"key": "k", "on_conflict": "return"});
    let first = submit(&suite, MEMBER, &delete("lx1", &unique)).await;
    let second = submit(&suite, MEMBER, &delete("lx2", &unique)).await;
    assert_eq!(second.status, 200);
    assert_eq!(second.json()["id"], first.json()["id"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_its_turn_is_accepted_and_shown() {
    let suite = Suite::start().await;
    let host = json!({"key": "vm:lxstring", "on_conflict": "queue"});
    assert_eq!(submit(&suite, MEMBER, &create()).await.status, 202);
    let delete_waits = submit(&suite, MEMBER, &delete("lxstring", &host)).await;
    assert_eq!(delete_waits.status, 202);
    let job = delete_waits.json();
    assert_eq!(job["state"], "queued");
    assert_eq!(job["in_line"], json!({"keys": ["vm:lxstring"]}));
    let mut again = create();
    again["unique"] = host.clone();
    assert_eq!(submit(&suite, MEMBER, &again).await.status, 202);
    // No worker gets them; whoever does not wait is refused.
    let ready = async |queue: &str| {
        suite
            .app
            .bus
            .admin
            .inspect(queue)
            .await
            .unwrap()
            .unwrap()
            .ready
    };
    assert_eq!(ready("work.vm.delete").await, 0);
    assert_eq!(ready("work.vm.create").await, 1);
    assert_eq!(ready("jobs.turn").await, 2);
    let refused = submit(&suite, MEMBER, &create()).await;
    assert_eq!(slug(&refused), "/problems/duplicate");
    let mut scheduled = delete("lxstring", &host);
    scheduled["run_at"] = json!("PT1H");
    let refused = submit(&suite, MEMBER, &scheduled).await;
    assert_eq!(refused.status, 422);
    let error = &refused.json()["errors"][0];
    assert_eq!(error["pointer"], "/unique/on_conflict");
    assert_eq!(error["code"], "unsupported");
}

/// A machine that is made, and that nobody is about to delete, would be waited for for ever.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_machine_that_is_made() {
    let suite = Suite::start().await;
    assert_eq!(submit(&suite, MEMBER, &create()).await.status, 202);
    end(
        &suite,
        "vm.create",
        EventType::Succeeded,
        JobState::Succeeded,
    )
    .await;
    let host = json!({"key": "vm:lxstring", "on_conflict": "queue"});
    let mut again = create();
    again["unique"] = host;
    let made = submit(&suite, MEMBER, &again).await;
    assert_eq!(
        (made.status.as_u16(), slug(&made).as_str()),
        (409, "/problems/duplicate")
    );
    // The one that deletes it is in nobody's way but its own, and those after it wait for it.
    let gone = submit(&suite, MEMBER, &delete("lxstring", &again["unique"])).await;
    assert_eq!(gone.status, 202);
    assert_eq!(submit(&suite, MEMBER, &again).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn a_machine_keeps_its_host_name_until_it_is_deleted() {
    let suite = Suite::start().await;
    let mut body = create();
    assert_eq!(submit(&suite, MEMBER, &body).await.status, 202);
    let compat = suite.request("POST", "/v1/vm/").token(MEMBER);
    let compat = compat.json(&body["input"]).send().await;
    assert_eq!(compat.status, 409);
    assert_eq!(compat.json()["request_error"], "duplicate hostname");
    let create_ends = end(
        &suite,
        "vm.create",
        EventType::Succeeded,
        JobState::Succeeded,
    );
    create_ends.await;
    body["input"]["vm_hostname"] = json!("lxSTRING");
    let made = submit(&suite, MEMBER, &body).await;
    assert_eq!(
        (made.status.as_u16(), slug(&made).as_str()),
        (409, "/problems/duplicate")
    );
    let gone = submit(&suite, MEMBER, &delete("lxstring", &Value::Null)).await;
    assert_eq!(gone.status, 202);
    end(
        &suite,
        "vm.delete",
        EventType::Succeeded,
        JobState::Succeeded,
    )
    .await;
    assert_eq!(submit(&suite, MEMBER, &body).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn of_many_at_once_one_wins() {
    let suite = Suite::start().await;
    let body = create();
    let all = (0..20).map(|_| submit(&suite, MEMBER, &body));
    let replies = futures::future::join_all(all).await;
    let won = replies.iter().filter(|reply| reply.status == 202).count();
    let lost = replies.iter().filter(|reply| reply.status == 409).count();
    assert_eq!((won, lost), (1, 19));
}

/// A server that dies between taking a name and publishing leaves a name with no job behind it.
#[tokio::test(start_paused = true)]
async fn a_name_without_a_job_is_no_conflict_for_long() {
    let suite = Suite::start().await;
    let now = suite.app.now();
    let entry = Entry {
        run: Run {
            job: clock::new_job_id(&*suite.app.clock),
            epoch: 0,
        },
        expires: clock::add(now, Duration::from_secs(3600)),
        keys: ["vm:lxstring".to_owned()].into(),
        frees: BTreeSet::new(),
        queue: false,
        limits: ProjectLimits::default(),
    };
    suite.store.enter("demo", &entry).await.unwrap();
    let young = submit(&suite, MEMBER, &create()).await;
    assert_eq!(young.status, 409);
    assert_eq!(young.json()["job_id"], json!(entry.run.job));
    tokio::time::advance(Duration::from_secs(40)).await;
    suite.caught_up().await;
    assert_eq!(submit(&suite, MEMBER, &create()).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_nobody_is_refused() {
    let suite = Suite::start().await;
    let body = create();
    assert_eq!(submit(&suite, MEMBER, &body).await.status, 202);
    suite.store.set_down(true);
    let second = submit(&suite, MEMBER, &body).await;
    assert_eq!(second.status, 202);
    assert_eq!(second.headers["x-degraded"], "cache");
}
