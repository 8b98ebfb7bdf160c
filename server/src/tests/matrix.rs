//! Every documented route with every kind of caller. A new route without an expectation fails.

use serde_json::{Value, json};

use super::support::{MEMBER, OTHER, READER, Suite, UNSCOPED, create, vm};

/// What a route asks of its caller; who has one has those before it.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
enum Needs {
    Nothing,
    Token,
    Reader,
    Member,
    Admin,
}

/// How to call one operation so that only the caller decides; `{id}` is a job of project `demo`.
fn case(operation: &str) -> (Needs, Option<Value>) {
    match operation {
        "discover" | "get_problem" => (Needs::Nothing, None),
        "connect" => (
            Needs::Nothing,
            Some(json!({"login": "joe", "password": "1234"})),
        ),
        "test_token" => (Needs::Nothing, Some(json!({"token": MEMBER}))),
        "list_kinds" | "get_kind" | "list_profiles" | "list_regions" => (Needs::Token, None),
        "get_vm" | "list_jobs" | "get_job" | "get_job_result" | "list_job_events"
        | "list_job_children" | "get_job_logs" | "stream_events" | "list_job_callbacks" | "get_quota"
        // Nobody is told where the workers are, and `vm.list` is only to be read.
        | "get_sync" | "post_sync" | "put_sync" | "patch_sync" | "delete_sync" => {
            (Needs::Reader, None)
        }
        "create_vm" => (Needs::Member, Some(vm())),
        "delete_vm" => (Needs::Member, Some(json!({"vm_hostname": "lx1"}))),
        "submit_job" => (Needs::Member, Some(create())),
        "cancel_job" | "retry_job" | "redeliver_job_callback" => (Needs::Member, None),
        "list_audit" | "list_dead" | "list_queues" | "list_workers" => (Needs::Admin, None),
        "replay_dead" => (Needs::Admin, Some(json!({"kind": "vm.create"}))),
        other => panic!("{other} has no row in the matrix"),
    }
}

#[tokio::test(start_paused = true)]
async fn t09_every_route_asks_for_what_it_needs() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let document = serde_json::to_value(crate::document()).unwrap();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            let (needs, body) = case(name);
            let names_a_job = path.contains("{id}") || path.contains("{uuid}");
            let path = path
                .replace("{id}", &id)
                .replace("{cid}", &id)
                .replace("{uuid}", &id)
                .replace("{kind}", "vm.create")
                .replace("{name}", "vm.list")
                .replace("{slug}", "forbidden");
            assert_eq!(
                operation["security"].is_array(),
                needs != Needs::Nothing,
                "{name}"
            );
            for (token, most) in [
                (None, Needs::Nothing),
                (Some(UNSCOPED), Needs::Token),
                (Some("joe@demo:nobody"), Needs::Token),
                (Some(READER), Needs::Reader),
                (Some(MEMBER), Needs::Member),
                (Some("ann@demo:admin"), Needs::Admin),
                (Some(OTHER), Needs::Member),
                (Some("root@other:admin"), Needs::Admin),
            ] {
                let allowed = needs <= most;
                let mut call = suite.request(&method.to_uppercase(), &path);
                if let Some(token) = token {
                    call = call.token(token);
                }
                if let Some(body) = &body {
                    call = call.json(body);
                }
                let reply = call.send().await;
                let label = format!("{name} as {token:?}");
                let foreign = token.is_some_and(|t| t.contains("@other"));
                match reply.status.as_u16() {
                    429 => assert_eq!(name, "connect", "{label}"),
                    200 | 202 => {
                        assert!(allowed && !(foreign && names_a_job), "{label} was let in");
                    }
                    405 | 503 => assert!(name.ends_with("_sync") && allowed, "{label}"),
                    // The job is live, or the machine of the request before has the name.
                    409 => assert!(
                        allowed
                            && (matches!(name, "create_vm" | "submit_job")
                                || (name == "retry_job" && !foreign)),
                        "{label}"
                    ),
                    401 => assert!(token.is_none() && needs != Needs::Nothing, "{label}"),
                    403 => assert!(token.is_some() && !allowed, "{label}"),
                    // The job has no callback.
                    404 if name == "redeliver_job_callback" => {
                        assert!(allowed, "{label}");
                    }
                    404 => assert!(foreign && names_a_job, "{label}"),
                    other => panic!("{label}: {other}"),
                }
                // The status is one that the document promises.
                let status = reply.status.as_str();
                assert!(
                    operation["responses"][status].is_object(),
                    "{label}: {status}"
                );
            }
            operations += 1;
        }
    }
    assert_eq!(operations, 34);
}
