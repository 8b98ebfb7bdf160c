//! What a project may not: names that are taken, and quotas.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Fake, Home, ID, Ran, Reply, Request, job};

const OTHER: &str = "7fda68b7-b4de-85a6-99fd-57b019cf19af";

const SUBMIT: [&str; 5] = [
    "job",
    "submit",
    "vm.delete",
    "--input",
    r#"{"vm_hostname":"lx1"}"#,
];

fn too_much(policy: &str, retry_after: &str) -> Reply {
    let more = json!({
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "detail": "the project has as many active jobs as it may have",
        "violated-policies": [policy],
        "retryable": true,
    });
    Reply::problem(429, "quota-exceeded", &more).with("Retry-After", retry_after)
}

fn accepted() -> Reply {
    Reply::Json(202, Vec::new(), job(ID, "queued", &json!({})))
}

fn keys(fake: &Fake) -> Vec<Option<String>> {
    let key = |seen: Request| seen.header("idempotency-key").map(str::to_owned);
    fake.seen().into_iter().map(key).collect()
}

fn quota(active: &Value, submit: &Value, incomplete: bool) -> Ran {
    let quota = json!({
        "project_id": "demo", "submit": submit, "active_jobs": active, "incomplete": incomplete,
    });
    let fake = Fake::start(move |request| {
        assert!(request.is("GET", "/v1/quota"));
        Reply::ok(quota.clone())
    });
    Home::new().run(&fake, &["quota"]).expect(0)
}

fn words(ran: &Ran) -> Vec<Vec<&str>> {
    let lines = ran.stdout.lines().skip(1);
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[test]
fn a_quota_says_what_may_be_what_is_and_what_is_left() {
    let submit = json!({"quota": 100, "window_seconds": 1, "remaining": 93});
    let ran = quota(&json!({"quota": 50, "used": 48}), &submit, false);
    assert_eq!(ran.stderr, "");
    assert_eq!(
        words(&ran),
        [
            vec!["submit", "100", "in", "1", "s", "7", "93"],
            vec!["active-jobs", "50", "48", "2"],
        ]
    );
    // Without limits; and more than there should be, in a view that is not complete.
    let ran = quota(&json!({"quota": null, "used": 3}), &json!(null), false);
    assert_eq!(
        words(&ran),
        [["active-jobs", "no", "limit", "3", "no", "limit"]]
    );
    let ran = quota(&json!({"quota": 2, "used": 3}), &json!(null), true);
    assert_eq!(words(&ran), [["active-jobs", "2", "3", "0"]]);
    ran.says("more jobs may be active");
}

#[test]
fn a_name_that_is_taken_names_the_job_that_has_it() {
    let fake = Fake::start(|_| {
        let more =
            json!({"job_id": OTHER, "detail": "vm:lx1 belongs to another job", "retryable": false});
        Reply::problem(409, "duplicate", &more)
    });
    let ran = Home::new().run(&fake, &SUBMIT).expect(7);
    let ran = ran.says("vm:lx1 belongs to another job");
    ran.says(&format!("vmctl job show {OTHER}   is the other job"));
    assert_eq!(fake.seen().len(), 1, "asking again changes nothing");
}

#[test]
fn a_short_pause_is_waited_for_and_the_same_job_asked_for_again() {
    let fake = Fake::start(|request| match request.number {
        0 => too_much("submit", "1"),
        _ => accepted(),
    });
    let ran = Home::new().run(&fake, &SUBMIT).expect(0);
    assert!(ran.took >= Duration::from_secs(1), "{ran:?}");
    let keys = keys(&fake);
    assert_eq!(keys.len(), 2);
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
}

#[test]
fn a_long_pause_is_said() {
    for (asked, said) in [
        ("40", "wait 40s and try again"),
        ("600", "wait 10m00s and try again"),
        ("tomorrow", "wait a little and try again"),
    ] {
        let fake = Fake::start(move |_| match asked {
            "tomorrow" => {
                Reply::problem(429, "too-many-logins", &json!({})).with("Retry-After", asked)
            }
            _ => too_much("active-jobs", asked),
        });
        let arguments: &[&str] = match asked {
            "tomorrow" => &["job", "show", ID],
            _ => &SUBMIT,
        };
        let ran = Home::new().run(&fake, arguments).expect(9).says(said);
        if asked != "tomorrow" {
            assert_eq!(fake.seen().len(), 1, "{asked}");
            let ran = ran.says("as many active jobs as it may have");
            ran.says("vmctl quota   shows what the project may have");
        }
    }
}
