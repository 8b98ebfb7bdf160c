//! Rules of a file, over HTTP.

use serde_json::json;

use super::support::{MEMBER, OTHER, Suite};
use crate::policy::Policy;

const OPERATOR: &str = "root@ops:admin";
const ADMIN_OF_OTHER: &str = "root@other:admin";

fn rules(text: &str) -> Policy {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Policy::from_file(file.path()).unwrap()
}

async fn start(text: &str) -> Suite {
    let policy = rules(text);
    Suite::with(|config| {
        config.policy = policy;
        config.admin_project = Some("ops".to_owned());
    })
    .await
}

async fn ask(suite: &Suite, method: &str, path: &str, token: &str) -> (u16, String) {
    let reply = suite.request(method, path).token(token).send().await;
    let body = String::from_utf8_lossy(&reply.body).into_owned();
    (reply.status.as_u16(), body)
}

#[tokio::test(start_paused = true)]
async fn a_rule_lets_the_operators_look_and_nobody_else() {
    let suite = start("\"job:get\": \"role:reader and rule:owner or rule:operator\"\n").await;
    let id = suite.submit().await;
    let job = format!("/v1/jobs/{id}");
    for (token, status) in [
        (MEMBER, 200),
        (OPERATOR, 200),
        (ADMIN_OF_OTHER, 404),
        (OTHER, 404),
    ] {
        let (got, body) = ask(&suite, "GET", &job, token).await;
        assert_eq!(got, status, "{token}: {body}");
    }
    // One action alone: its output and a cancel are others.
    for (method, path) in [
        ("GET", format!("{job}/result")),
        ("POST", format!("{job}/cancel")),
    ] {
        assert_eq!(ask(&suite, method, &path, OPERATOR).await.0, 404, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_reaches_further_reaches_everything_of_the_job() {
    let suite = start(
        "\"job:cancel\": \"rule:owner or rule:operator\"\n\"job:stream\": \"rule:owner or rule:operator\"\n\
         \"job:children\": \"rule:owner or rule:operator\"\n",
    )
    .await;
    let id = suite.submit().await;
    let children = format!("/v1/jobs/{id}/children");
    assert_eq!(ask(&suite, "GET", &children, OPERATOR).await.0, 200);
    let stream = format!("/v1/events?job={id}");
    let call = suite.request("GET", &stream).token(OPERATOR);
    let reply = call.header("Accept", "text/event-stream").send().await;
    assert_eq!(reply.status, 200);
    let cancel = format!("/v1/jobs/{id}/cancel");
    assert_eq!(ask(&suite, "POST", &cancel, ADMIN_OF_OTHER).await.0, 404);
    assert_eq!(ask(&suite, "POST", &cancel, OPERATOR).await.0, 202);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_do_it_to_a_job_of_its_own_gets_the_same_answer_for_every_id() {
    let suite = start("\"job:logs\": \"role:auditor and rule:owner\"\n").await;
    let id = suite.submit().await;
    for id in [id.as_str(), "7fda68b7-b4de-45a6-99fd-57b019cf19ae"] {
        for token in [MEMBER, OTHER] {
            let path = format!("/v1/jobs/{id}/logs");
            let reply = suite.request("GET", &path).token(token).send().await;
            let problem = reply.is_problem(403, "forbidden");
            assert_eq!(problem["detail"], "the policy does not allow job:logs");
        }
    }
    let path = format!("/v1/jobs/{id}/logs");
    assert_eq!(ask(&suite, "GET", &path, "joe@demo:auditor").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn only_who_has_asked_for_a_job_may_cancel_it() {
    let suite = start("\"job:cancel\": \"rule:owner and user_id:%(user_id)s\"\n").await;
    let id = suite.submit().await;
    let path = format!("/v1/jobs/{id}/cancel");
    // One of the same project is told of the job and not let near it.
    let reply = suite
        .request("POST", &path)
        .token("ann@demo:admin")
        .send()
        .await;
    let problem = reply.is_problem(403, "forbidden");
    assert_eq!(problem["detail"], "the policy does not allow job:cancel");
    assert_eq!(ask(&suite, "POST", &path, "joe@other:member").await.0, 404);
    assert_eq!(ask(&suite, "POST", &path, MEMBER).await.0, 202);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_the_project_needs_the_right_to_all_of_it() {
    let suite = start("\"job:stream\": \"rule:owner and user_id:%(user_id)s\"\n").await;
    let id = suite.submit().await;
    let ask = async |path: &str| {
        let call = suite.request("GET", path).token(MEMBER);
        call.header("Accept", "text/event-stream")
            .send()
            .await
            .status
    };
    assert_eq!(ask(&format!("/v1/events?job={id}")).await, 200);
    assert_eq!(ask("/v1/events").await, 403);
}

#[tokio::test(start_paused = true)]
async fn a_kinds_own_role_is_asked_for_besides() {
    let suite = start("\"job:create\": \"@\"\n\"kind:list\": \"role:admin\"\n").await;
    let reply = suite
        .request("POST", "/v1/jobs")
        .token("rita@demo:reader")
        .json(&json!({"kind": "vm.create"}))
        .send()
        .await;
    let problem = reply.is_problem(403, "forbidden");
    assert_eq!(problem["detail"], "this needs the role member");
    let reply = suite.request("GET", "/v1/kinds").token(MEMBER).send().await;
    reply.is_problem(403, "forbidden");
}
