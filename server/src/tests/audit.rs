//! Every request for a change leaves one entry in the log, and no secret.

use std::net::SocketAddr;

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use vmctl_api_types::{AuditEntry, AuditOutcome};
use vmctl_core::{
    audit,
    bus::LogStart,
    fact::{Fact, Retention, interpret},
};

use super::support::{MEMBER, OTHER, PATIENCE, READER, Suite, create, eventually, vm};

/// Waits for so many entries; the newest comes first.
async fn entries(suite: &Suite, count: usize) -> Vec<AuditEntry> {
    let all = || suite.app.audit.newest(1_000, |_| true).items;
    eventually("the entries are in the log", async || all().len() >= count).await;
    let found = all();
    assert_eq!(found.len(), count, "{found:#?}");
    found
}

/// Everything that is in the log, as text.
async fn log(suite: &Suite) -> Vec<(String, String)> {
    let mut reader = suite.app.bus.log.read(LogStart::First).await.unwrap();
    let next = reader.next_batch(10_000);
    let batch = tokio::time::timeout(PATIENCE, next).await.unwrap().unwrap();
    let text = |entry: vmctl_core::bus::LogEntry| {
        let message = entry.message;
        let body = String::from_utf8_lossy(&message.body).into_owned();
        (message.routing_key, format!("{:?}{body}", message.headers))
    };
    batch.into_iter().map(text).collect()
}

/// A route that is added without an entry fails here.
#[tokio::test(start_paused = true)]
async fn every_mutating_route_leaves_an_entry() {
    let suite = Suite::with(|config| config.limits.audit_strangers = 1_000).await;
    let document = serde_json::to_value(crate::document()).unwrap();
    let mut expected = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let concrete = path.replace("{name}", "vm.list").replace(['{', '}'], "");
            let call = suite.request(&method, &concrete).json(&json!({}));
            let reply = call.send().await;
            assert_ne!(
                reply.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            let safe = matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS");
            // It says whose token it is, and changes nothing.
            if !safe && path != "/v1/testtoken" {
                expected.push(format!("{method} {path}"));
            }
        }
    }
    let found = entries(&suite, expected.len()).await;
    let mut routes: Vec<_> = found.iter().map(|entry| entry.data.route.clone()).collect();
    routes.sort();
    expected.sort();
    assert_eq!(routes, expected);
    for entry in found {
        assert_eq!(entry.data.outcome, AuditOutcome::Refused, "{entry:?}");
        assert!(!entry.data.what.is_empty() && entry.data.problem.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_says_who_what_and_how_it_ended() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    suite.post("/v1/vm/", vm()).await;
    let cancel = format!("/v1/jobs/{id}/cancel");
    suite.post(&cancel, json!({"reason": "why-canary"})).await;
    let call = |token| suite.request("POST", &cancel).token(token);
    call(READER).send().await.is_problem(403, "forbidden");
    call(OTHER).send().await.is_problem(404, "job-not-found");
    let retry = suite.post(&format!("/v1/jobs/{id}/retry"), json!({})).await;
    retry.is_problem(409, "not-retryable");
    let checked = suite.post("/v1/jobs?validate_only=true", create()).await;
    assert_eq!(checked.status, StatusCode::OK);
    let login = json!({"login": "joe", "password": "1234"});
    assert_eq!(
        suite.post("/v1/connect", login).await.status,
        StatusCode::OK
    );

    let mut found = entries(&suite, 7).await;
    found.sort_by_key(|entry| entry.id);
    let row = |entry: &AuditEntry| {
        let who = entry.data.who.as_ref();
        (
            entry.data.what.clone(),
            entry.data.outcome.as_str(),
            entry.data.status.unwrap(),
            who.map_or("", |who| &who.user_name).to_owned(),
        )
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    let expected = [
        ("submit", "accepted", 202, "joe"),
        ("submit", "accepted", 202, "joe"),
        ("cancel", "accepted", 202, "joe"),
        ("cancel", "refused", 403, "rita"),
        ("cancel", "refused", 404, "eve"),
        ("retry", "refused", 409, "joe"),
        ("login", "accepted", 200, "joe"),
    ];
    let expected = expected
        .map(|(what, outcome, status, who)| (what.to_owned(), outcome, status, who.to_owned()));
    assert_eq!(rows, expected);
    let data = &found[2].data;
    assert_eq!(data.route, "POST /v1/jobs/{id}/cancel");
    assert_eq!(data.job_id.unwrap().to_string(), id);
    assert_eq!(data.kind.as_ref().unwrap().as_str(), "vm.create");
    let who = data.who.as_ref().unwrap();
    assert_eq!(
        (who.project_id.as_deref(), &who.roles[..]),
        (Some("demo"), &["member".to_owned()][..])
    );
    assert_eq!(who.methods, ["password"]);
    assert!(data.request_id.starts_with("req-"));
    assert_eq!(found[1].data.kind.as_ref().unwrap().as_str(), "vm.create");
    assert!(found[1].data.job_id.is_some());
    assert_eq!(
        found[4].data.problem.as_deref(),
        Some("/problems/job-not-found")
    );
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_any_message() {
    let suite = Suite::start().await;
    let mut job = create();
    job["input"]["vm_desc"] = json!("input-canary");
    assert_eq!(
        suite.post("/v1/jobs", job).await.status,
        StatusCode::ACCEPTED
    );
    for login in ["joe", "login-canary"] {
        let body = json!({"login": login, "password": "password-canary"});
        suite
            .post("/v1/connect", body)
            .await
            .is_problem(401, "login-refused");
    }
    let right = json!({"login": "joe", "password": "1234"});
    assert_eq!(
        suite.post("/v1/connect", right).await.status,
        StatusCode::OK
    );
    let token = suite
        .request("POST", "/v1/jobs?token=query-canary")
        .token("token-canary");
    token
        .json(&create())
        .send()
        .await
        .is_problem(401, "token-invalid");
    entries(&suite, 5).await;
    let (audits, others): (Vec<_>, Vec<_>) = log(&suite)
        .await
        .into_iter()
        .partition(|(key, _)| key.starts_with("audit."));
    assert_eq!(audits.len(), 5);
    for (key, text) in audits.iter().chain(&others) {
        for canary in [
            "password-canary",
            "login-canary",
            "query-canary",
            "token-canary",
            MEMBER,
        ] {
            assert!(!text.contains(canary), "{key}: {text}");
        }
        assert!(
            !(key.starts_with("audit.") && text.contains("input-canary")),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_no_event_of_a_job() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let entry = entries(&suite, 1).await.remove(0);
    let mut reader = suite.app.bus.log.read(LogStart::First).await.unwrap();
    let batch = reader.next_batch(10_000).await.unwrap();
    let audited = batch.iter().find(|e| audit::is_audit(&e.message)).unwrap();
    assert_eq!(interpret(audited, Retention::default()), Fact::Other);
    assert_eq!(audit::parse(&audited.message), Some(entry));
    let document: Value = serde_json::from_slice(&audited.message.body).unwrap();
    assert_eq!(document["type"], "jobs.audit.v1");
    assert_eq!(document["specversion"], "1.0");
    assert_eq!(audited.message.routing_key, "audit.submit");
    suite.caught_up().await;
    let events = suite.get(&format!("/v1/jobs/{id}/events")).await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
}

#[tokio::test(start_paused = true)]
async fn an_admin_sees_the_own_project_and_one_project_sees_all() {
    let suite = Suite::with(|config| config.admin_project = Some("operators".to_owned())).await;
    suite.submit().await;
    let foreign = suite.request("POST", "/v1/jobs").token(OTHER);
    assert_eq!(
        foreign.json(&create()).send().await.status,
        StatusCode::ACCEPTED
    );
    suite
        .request("POST", "/v1/jobs")
        .json(&create())
        .send()
        .await;
    entries(&suite, 3).await;
    let seen = async |token: &str, query: &str| {
        let path = format!("/v1/admin/audit{query}");
        suite.request("GET", &path).token(token).send().await
    };
    let users = async |token: &str| {
        let list = seen(token, "").await.json();
        assert!(list["since"].is_string(), "{list}");
        let items = list["items"].as_array().unwrap().clone();
        let user = |item: &Value| item["data"]["who"]["user_name"].as_str().map(str::to_owned);
        let mut users: Vec<_> = items.iter().map(user).collect();
        users.sort();
        users
    };
    let name = |text: &str| Some(text.to_owned());
    assert_eq!(users("ann@demo:admin").await, [name("joe")]);
    assert_eq!(users("ann@other:admin").await, [name("eve")]);
    assert_eq!(
        users("root@operators:admin").await,
        [None, name("eve"), name("joe")]
    );
    let one = seen("root@operators:admin", "?limit=1").await.json();
    assert_eq!(one["items"][0]["data"]["status"], 401);
    seen(MEMBER, "").await.is_problem(403, "forbidden");
    seen("ann@demo:admin", "?what=x")
        .await
        .is_problem(400, "bad-query");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_an_outcome_that_is_not_known() {
    let suite = Suite::with(|config| {
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let request = Request::post("/v1/jobs")
        .extension(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 1))))
        .header("X-Forwarded-For", "203.0.113.9, 198.51.100.7")
        .header("X-TOKEN", MEMBER)
        .header("Prefer", "wait=60")
        .header("Content-Type", "application/json")
        .body(Body::from(create().to_string()))
        .unwrap();
    let waiting = tokio::spawn(suite.router.clone().oneshot(request));
    // It is accepted, and waits for its end.
    let submitted = async || {
        log(&suite)
            .await
            .iter()
            .any(|(key, _)| key == "job.vm.create")
    };
    eventually("the command is in the log", submitted).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    waiting.abort();
    let entry = entries(&suite, 1).await.remove(0);
    assert_eq!(entry.data.outcome, AuditOutcome::Unknown);
    assert_eq!(entry.data.status, None);
    assert!(entry.data.job_id.is_some(), "{entry:?}");
    assert_eq!(entry.data.from, Some([198, 51, 100, 7].into()));
}

#[tokio::test(start_paused = true)]
async fn strangers_cannot_fill_the_log() {
    let suite = Suite::with(|config| config.limits.audit_strangers = 3).await;
    for _ in 0..50 {
        let call = suite.request("POST", "/v1/jobs").json(&create());
        call.send().await.is_problem(401, "token-missing");
    }
    suite.submit().await;
    let found = entries(&suite, 4).await;
    assert_eq!(
        found
            .iter()
            .filter(|entry| entry.data.who.is_none())
            .count(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn entries_wait_for_the_broker_in_a_bounded_queue_and_no_answer_waits_for_them() {
    let suite = Suite::with(|config| config.limits.audit_queue = 2).await;
    suite.broker.set_down(true);
    for _ in 0..20 {
        let reply = suite.post("/v1/jobs", create()).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    suite.broker.set_down(false);
    // What the queue holds, and one in each publisher's hands.
    let kept = 2 + crate::audit::LANES;
    suite.caught_up().await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    suite.app.audit.wait_until_published(deadline).await;
    let audits = log(&suite).await.into_iter();
    let audits = audits.filter(|(key, _)| key == "audit.submit").count();
    assert!((1..=kept).contains(&audits), "{audits}");
}
