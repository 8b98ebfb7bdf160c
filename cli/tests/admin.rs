//! `vmctl admin`, against a server that answers what a test says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use serde_json::json;
use support::{Fake, Home, ID, Reply};

const OTHER: &str = "7fda68b7-b4de-85a6-99fd-57b019cf19af";

#[test]
fn dead_jobs_are_listed_over_pages_and_filtered() {
    let fake = Fake::start(|request| {
        assert!(request.is("GET", "/v1/admin/dead"));
        let first = !request.target.contains("cursor=");
        let (id, next) = if first {
            (ID, json!("more"))
        } else {
            (OTHER, json!(null))
        };
        Reply::ok(json!({"items": [{
            "id": id, "kind": "vm.create", "project_id": "demo", "epoch": 0, "attempt": 1,
            "died_at": "2026-11-24T02:00:00Z", "expires_at": "2026-11-25T02:00:00Z", "replayable": first,
            "error": {"type": "delivery-limit", "title": "its workers went down", "retryable": false},
        }], "next_cursor": next, "incomplete": !first}))
    });
    let home = Home::new();
    let ran = home.run(
        &fake,
        &["admin", "dead", "list", "--error", "delivery-limit"],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.contains(ID) && ran.stdout.contains(OTHER),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains("delivery-limit: its workers went down"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("jobs may be missing"), "{ran:?}");
    let targets: Vec<_> = fake.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets[0], "/v1/admin/dead?limit=50&error=delivery-limit");
    assert_eq!(
        targets[1],
        "/v1/admin/dead?limit=49&error=delivery-limit&cursor=more"
    );
}

#[test]
fn a_replay_says_what_became_of_each_job() {
    let fake = Fake::start(|request| {
        assert!(request.is("POST", "/v1/admin/dead/replay"));
        assert_eq!(request.json(), json!({"ids": [ID, OTHER]}));
        Reply::ok(
            json!({"items": [{"id": ID, "epoch": 1}, {"id": OTHER, "problem": {
            "type": "/problems/not-retryable", "title": "The job cannot be run again", "status": 409,
            "detail": "its command cannot be read",
        }}], "more": false}),
        )
    });
    let ran = Home::new().run(&fake, &["admin", "dead", "replay", ID, OTHER]);
    assert_eq!(ran.code, 7, "{ran:?}");
    assert_eq!(
        ran.stdout,
        format!("{ID}  run 1\n{OTHER}  not replayed: its command cannot be read\n")
    );
}

#[test]
fn a_replay_by_what_holds_for_jobs_says_that_there_are_more() {
    let fake = Fake::start(|request| {
        assert_eq!(request.json(), json!({"kind": "vm.create", "limit": 1}));
        Reply::ok(json!({"items": [{"id": ID, "epoch": 2}], "more": true}))
    });
    let home = Home::new();
    let arguments = [
        "admin",
        "dead",
        "replay",
        "--kind",
        "vm.create",
        "--limit",
        "1",
    ];
    let ran = home.run(&fake, &arguments);
    assert_eq!((ran.code, ran.stdout), (0, format!("{ID}  run 2\n")));
    assert!(ran.stderr.contains("there are more"));
    // Nothing is replayed without saying what.
    for arguments in [
        &["admin", "dead", "replay"][..],
        &["admin", "dead", "replay", ID, "--kind", "vm.create"],
    ] {
        assert_eq!(home.run(&fake, arguments).code, 2);
    }
    assert_eq!(fake.seen().len(), 1);
}

#[test]
fn queues_are_a_table() {
    let fake = Fake::start(|request| {
        assert!(request.is("GET", "/v1/admin/queues"));
        Reply::ok(json!({"items": [
            {"name": "work.vm.create", "state": "present", "ready": 3, "consumers": 2, "max_length": 1000},
            {"name": "jobs.dead", "state": "missing"},
        ]}))
    });
    let ran = Home::new().run(&fake, &["admin", "queues"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let words = |n: usize| -> Vec<String> {
        let line = ran.stdout.lines().nth(n).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(words(1), ["work.vm.create", "present", "3", "2", "1000"]);
    assert_eq!(words(2), ["jobs.dead", "missing", "-", "-", "-"]);
}

#[test]
fn workers_are_a_table_of_what_they_serve_or_of_their_jobs() {
    let worker = |name: &str, state: &str, consuming: bool| {
        json!({
            "name": name, "app": "vmctl-worker", "version": "0.1.0", "language": "rust",
            "started_at": "2026-11-24T02:00:00Z", "heard_at": "2026-11-24T02:00:00Z", "state": state,
            "kinds": [{"kind": "vm.create", "slots": 8, "in_hand": 2, "consuming": consuming}],
            "jobs": [{
                "id": ID, "kind": "vm.create", "project_id": "demo", "attempt": 2,
                "since": "2026-11-24T02:00:00Z", "heard_at": "2026-11-24T02:00:00Z",
            }],
        })
    };
    let fake = Fake::start(move |request| {
        let all = !request.target.contains("kind=");
        assert!(request.is("GET", "/v1/admin/workers"));
        let workers = [
            worker("w1", "working", true),
            worker("w2", "working", false),
            worker("w3", "draining", false),
        ];
        Reply::ok(json!({"items": workers, "since": "2026-11-24T02:00:00Z", "complete": all}))
    });
    let home = Home::new();
    let ran = home.run(&fake, &["admin", "workers"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{ran:?}");
    for (line, state) in lines[1..]
        .iter()
        .zip(["working", "not consuming", "draining"])
    {
        assert!(line.contains(&format!("  {state}  ")), "{line}");
        assert!(line.contains("2/8") && line.contains("vmctl-worker 0.1.0 (rust)"));
    }
    let ran = home.run(
        &fake,
        &["admin", "workers", "--kind", "vm.create", "--jobs"],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout.matches(ID).count(), 3, "{ran:?}");
    assert!(ran.stderr.contains("not heard every worker yet"), "{ran:?}");
    let targets: Vec<_> = fake.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(
        targets,
        ["/v1/admin/workers", "/v1/admin/workers?kind=vm.create"]
    );
}

#[test]
fn who_may_not_is_told() {
    let fake = Fake::start(|_| {
        Reply::problem(
            403,
            "forbidden",
            &json!({"detail": "this needs the role admin"}),
        )
    });
    let ran = Home::new().run(&fake, &["admin", "dead", "list"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.stderr.contains("this needs the role admin"));
}
