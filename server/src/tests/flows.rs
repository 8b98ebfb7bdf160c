//! Flows at submission, and the jobs that a job has asked for.

use serde_json::{Value, json};
use vmctl_core::{
    Compensation, JobId, JobState,
    children::{Child, child_id, command as command_of},
    event::{Event, EventType},
};

use super::support::{MEMBER, OTHER, READER, Suite, next, vm};

fn step(name: &str) -> Value {
    json!({"name": name, "kind": "vm.create", "input": vm()})
}

fn flow(steps: &[Value]) -> Value {
    json!({"kind": "flow.run", "input": {"steps": steps}})
}

/// Submits a flow and says as its worker that it waits for its steps; returns its last message.
async fn waiting(suite: &Suite, names: &[&str]) -> Event {
    let mut work = suite.work("flow.run").await;
    let steps: Vec<_> = names.iter().map(|name| step(name)).collect();
    assert_eq!(suite.post("/v1/jobs", flow(&steps)).await.status, 202);
    let delivery = next(&mut work).await;
    let mut parent = Event::parse(&delivery.message.body).unwrap();
    parent.data.children = names.iter().map(|n| (*n).to_owned()).collect();
    parent.data.state = JobState::Waiting;
    parent.data.seq = 1;
    parent.data.compensation = Some(Compensation::Running);
    suite.say(&parent, EventType::Continued, |_| ()).await;
    delivery.ack().await.unwrap();
    parent
}

async fn submit_child(suite: &Suite, parent: &Event, name: &str) {
    let registry = &suite.app.registry;
    let kind = registry.get(&"vm.create".parse().unwrap()).unwrap();
    let child = Child::new(name, kind.kind.clone(), vm());
    let event = command_of(parent, &child, kind, "/worker/test", suite.app.now());
    let published = suite.app.bus.publisher.publish(event.to_message()).await;
    published.unwrap();
}

#[tokio::test(start_paused = true)]
async fn t08_a_flow_is_accepted_under_both_names_and_its_limits_are_refused() {
    let suite = Suite::start().await;
    let mut body = flow(&[step("a"), step("b")]);
    let accepted = suite.post("/v1/jobs", body.clone()).await;
    assert_eq!(
        (accepted.status.as_u16(), &accepted.json()["kind"]),
        (202, &json!("flow.run"))
    );
    body["kind"] = json!("flow");
    assert_eq!(
        suite.post("/v1/jobs", body).await.json()["kind"],
        "flow.run"
    );

    let many: Vec<_> = (0..51).map(|n| json!({"name": format!("s{n}"), "kind": "vm.delete", "input": {"vm_hostname": "lx"}})).collect();
    let deep = (0..5).fold(
        step("a"),
        |inner, _| json!({"name": "a", "kind": "flow.run", "input": {"steps": [inner]}}),
    );
    let group =
        |n| json!({"name": format!("g{n}"), "kind": "flow.run", "input": {"steps": many[..50]}});
    let wide: Vec<_> = (0..20).map(group).collect();
    let mut dangling = step("b");
    dangling["input"]["vm_desc"] = json!({"$ref": "/done/z/output"});
    for (steps, code) in [
        (many.as_slice(), "max-items"),
        (&[deep], "max-depth"),
        (&[dangling], "reference"),
        (&[], "min-items"),
        (&wide, "max-jobs"),
    ] {
        let problem = suite
            .post("/v1/jobs", flow(steps))
            .await
            .is_problem(422, "validation");
        let codes: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["code"].clone())
            .collect();
        assert!(codes.contains(&json!(code)), "{codes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_too_large_a_message_is_refused_where_bodies_may_be_larger() {
    let suite = Suite::with(|config| config.limits.body_bytes = 1_000_000).await;
    let large = json!({"kind": "flow.run", "input": {"steps": [step("a")], "vars": {"x": "y".repeat(300_000)}}});
    suite
        .post("/v1/jobs", large)
        .await
        .is_problem(413, "body-too-large");
}

#[tokio::test(start_paused = true)]
async fn a_named_flow_is_checked_with_its_input() {
    let suite = Suite::start().await;
    let mut body = json!({"kind": "vm.provision", "input": {"vm": vm(), "playbook": "site.yml"}});
    assert_eq!(suite.post("/v1/jobs", body.clone()).await.status, 202);
    body["input"]["vm"]["vm_hostname"] = json!("web");
    let problem = suite
        .post("/v1/jobs", body)
        .await
        .is_problem(422, "validation");
    assert_eq!(problem["errors"][0]["pointer"], "/input");
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("/steps/0/input/vm_hostname: "),
        "{detail}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_children_of_a_job_are_listed_in_order_to_its_project_alone() {
    let suite = Suite::start().await;
    let parent = waiting(&suite, &["a", "b", "c"]).await;
    for name in ["b", "a"] {
        submit_child(&suite, &parent, name).await;
    }
    suite.caught_up().await;
    let path = format!("/v1/jobs/{}", parent.subject);
    let job = suite.get(&path).await.json();
    assert_eq!(
        (&job["state"], &job["children"], &job["compensation"]),
        (&json!("waiting"), &json!(3), &json!("running"))
    );
    let list = suite.get(&format!("{path}/children")).await.json();
    let items = list["items"].as_array().unwrap();
    let names: Vec<_> = items.iter().map(|job| job["step"].clone()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        (&list["incomplete"], &list["next_cursor"]),
        (&json!(true), &json!(null))
    );
    let id = JobId::to_string(&parent.subject);
    assert_eq!(
        (&items[0]["parent_id"], &items[0]["root_id"]),
        (&json!(id), &json!(id))
    );

    let page = suite.get(&format!("{path}/children?limit=1")).await.json();
    assert_eq!(page["next_cursor"], "1");
    let page = suite
        .get(&format!("{path}/children?limit=1&cursor=1"))
        .await
        .json();
    assert_eq!(page["items"][0]["step"], "b");
    suite
        .get(&format!("{path}/children?cursor=x"))
        .await
        .is_problem(400, "bad-query");

    let of = async |token| {
        let path = format!("{path}/children");
        suite.request("GET", &path).token(token).send().await
    };
    assert_eq!(of(READER).await.status, 200);
    of(OTHER).await.is_problem(404, "job-not-found");
    let none = suite
        .get(&format!(
            "/v1/jobs/{}/children",
            child_id(parent.subject, 0, "a")
        ))
        .await;
    assert_eq!(none.json()["items"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_child_is_not_retried_but_by_its_parent() {
    let suite = Suite::start().await;
    let parent = waiting(&suite, &["a"]).await;
    let mut work = suite.work("vm.create").await;
    submit_child(&suite, &parent, "a").await;
    let delivery = next(&mut work).await;
    let command = Event::parse(&delivery.message.body).unwrap();
    suite
        .say(&command, EventType::Failed, |e| {
            e.data.state = JobState::Failed;
        })
        .await;
    suite.caught_up().await;
    let path = format!("/v1/jobs/{}/retry", command.subject);
    let reply = suite.request("POST", &path).token(MEMBER).send().await;
    let problem = reply.is_problem(409, "not-retryable");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains(&parent.subject.to_string())
    );
}

#[tokio::test(start_paused = true)]
async fn lists_are_filtered_by_parent_and_by_root() {
    let suite = Suite::start().await;
    suite.submit().await;
    let parent = waiting(&suite, &["a", "b"]).await;
    submit_child(&suite, &parent, "a").await;
    submit_child(&suite, &parent, "b").await;
    let child = child_id(parent.subject, 0, "a");
    // A child that has asked for something itself.
    let mut inner = parent.clone();
    inner.subject = child;
    inner.data.job.id = child;
    inner.data.job.root_id = Some(parent.subject);
    submit_child(&suite, &inner, "deep").await;
    suite.caught_up().await;
    let ids = async |token: &str, query: &str| {
        let path = format!("/v1/jobs?{query}");
        let reply = suite.request("GET", &path).token(token).send().await;
        let list = reply.json();
        let items = list["items"].as_array().unwrap().iter();
        let mut ids: Vec<JobId> = items
            .map(|job| job["id"].as_str().unwrap().parse().unwrap())
            .collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<JobId>| {
        ids.sort();
        ids
    };
    let (root, b) = (parent.subject, child_id(parent.subject, 0, "b"));
    let deep = child_id(child, 0, "deep");
    for (query, expected) in [
        (format!("parent={root}"), vec![child, b]),
        (format!("parent={child}"), vec![deep]),
        (format!("parent={deep}"), vec![]),
        (format!("root={root}"), vec![root, child, b, deep]),
        (format!("root={root}&kind=flow.run"), vec![root]),
        (format!("root={root}&parent={child}"), vec![deep]),
    ] {
        assert_eq!(ids(MEMBER, &query).await, sorted(expected), "{query}");
        assert_eq!(ids(OTHER, &query).await, [], "{query}");
    }
    for name in ["parent", "root"] {
        for bad in ["x", "", "00000000-0000-0000-0000-000000000000%00"] {
            let reply = suite.get(&format!("/v1/jobs?{name}={bad}")).await;
            reply.is_problem(400, "bad-id");
        }
        let twice = suite
            .get(&format!("/v1/jobs?{name}={root}&{name}={root}"))
            .await;
        twice.is_problem(400, "bad-query");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_of_a_flow_has_its_host_name_like_one_that_was_submitted() {
    let suite = Suite::start().await;
    let parent = waiting(&suite, &["a"]).await;
    submit_child(&suite, &parent, "a").await;
    suite.caught_up().await;
    let create = json!({"kind": "vm.create", "input": vm()});
    let second = suite.post("/v1/jobs", create.clone()).await;
    let problem = second.is_problem(409, "duplicate");
    assert_eq!(problem["job_id"], json!(child_id(parent.subject, 0, "a")));
    // The job that made it has ended, and its machine lives.
    let mut work = suite.work("vm.create").await;
    let delivery = next(&mut work).await;
    let command = Event::parse(&delivery.message.body).unwrap();
    let made = |event: &mut Event| event.data.state = JobState::Succeeded;
    suite.say(&command, EventType::Succeeded, made).await;
    delivery.ack().await.unwrap();
    suite.caught_up().await;
    let second = suite.post("/v1/jobs", create.clone()).await;
    second.is_problem(409, "duplicate");
    // What the flow's undo asks for frees it.
    let registry = &suite.app.registry;
    let kind = registry.get(&"vm.delete".parse().unwrap()).unwrap();
    let input = json!({"vm_hostname": vm()["vm_hostname"], "machine": command.subject});
    let undo = Child::new("undo/a/1", kind.kind.clone(), input);
    let undo = command_of(&parent, &undo, kind, "/worker/test", suite.app.now());
    suite.say(&undo, EventType::Succeeded, made).await;
    suite.caught_up().await;
    assert_eq!(suite.post("/v1/jobs", create).await.status, 202);
}
