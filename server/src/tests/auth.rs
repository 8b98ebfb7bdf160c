//! Who may come in.

use std::sync::{Arc, Mutex, atomic::Ordering};

use serde_json::json;

use super::support::{MEMBER, OTHER, READER, Suite, UNSCOPED, create, vm};

#[tokio::test(start_paused = true)]
async fn t08_a_request_without_a_usable_token_is_401() {
    let suite = Suite::start().await;
    let call = || suite.request("GET", "/v1/jobs");
    call().send().await.is_problem(401, "token-missing");
    call()
        .header("Authorization", "Basic am9lOjEyMzQ=")
        .send()
        .await
        .is_problem(401, "token-missing");
    for bad in [&b""[..], b"unknown", b"a b", b"a\xff", &[b'a'; 8193]] {
        call()
            .header("X-TOKEN", bad)
            .send()
            .await
            .is_problem(401, "token-invalid");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_three_headers_carry_the_token_and_two_different_ones_are_400() {
    let suite = Suite::start().await;
    for (name, value) in [
        ("X-TOKEN", MEMBER.to_owned()),
        ("X-Auth-Token", MEMBER.to_owned()),
        ("Authorization", format!("Bearer {MEMBER}")),
    ] {
        let reply = suite
            .request("GET", "/v1/jobs")
            .header(name, value)
            .send()
            .await;
        assert_eq!(reply.status, 200, "{name}");
    }
    suite
        .request("GET", "/v1/jobs")
        .token(MEMBER)
        .header("X-Auth-Token", OTHER)
        .send()
        .await
        .is_problem(400, "bad-header");
}

#[tokio::test(start_paused = true)]
async fn t08_a_token_without_project_or_role_is_403() {
    let suite = Suite::start().await;
    for token in [UNSCOPED, "joe@demo:nobody"] {
        suite
            .request("GET", "/v1/jobs")
            .token(token)
            .send()
            .await
            .is_problem(403, "forbidden");
    }
    // A reader reads and does not submit.
    assert_eq!(
        suite
            .request("GET", "/v1/jobs")
            .token(READER)
            .send()
            .await
            .status,
        200
    );
    for (path, body) in [("/v1/jobs", create()), ("/v1/vm/", vm())] {
        let reply = suite
            .request("POST", path)
            .token(READER)
            .json(&body)
            .send()
            .await;
        reply.is_problem(403, "forbidden");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_without_the_identity_service_it_is_503_and_never_401() {
    let suite = Suite::start().await;
    suite.identity.down.store(true, Ordering::Relaxed);
    let problem = suite
        .get("/v1/jobs")
        .await
        .is_problem(503, "auth-unavailable");
    assert_eq!(problem["retryable"], true);
    let connect = json!({"login": "joe", "password": "1234"});
    suite
        .post("/v1/connect", connect)
        .await
        .is_problem(503, "auth-unavailable");
    // The cause is for the log only.
    assert!(!problem.to_string().contains("refused"));
    let state = suite.app.identity_state().unwrap();
    // Whoever looks at the server's health is told.
    assert!(state.unwrap_err().contains("refused"));
}

#[tokio::test(start_paused = true)]
async fn t08_a_bad_login_is_401_a_missing_field_400_and_the_sixth_attempt_429() {
    let suite = Suite::start().await;
    let login = async |body| {
        suite
            .request("POST", "/v1/connect")
            .json(&body)
            .send()
            .await
    };
    let problem = login(json!({"login": "joe"}))
        .await
        .is_problem(400, "validation");
    assert_eq!(problem["errors"][0]["pointer"], "/password");
    login(json!({"login": 1, "password": []}))
        .await
        .is_problem(400, "validation");
    login(json!({"login": "a\u{0}", "password": "x"}))
        .await
        .is_problem(400, "validation");
    for _ in 0..5 {
        login(json!({"login": "joe", "password": "wrong"}))
            .await
            .is_problem(401, "login-refused");
    }
    // The right password is not looked at any more.
    let reply = login(json!({"login": "joe", "password": "1234"})).await;
    reply.is_problem(429, "too-many-logins");
    assert!(reply.header("retry-after").parse::<u64>().unwrap() <= 60);
    login(json!({"login": "ann", "password": "x"}))
        .await
        .is_problem(401, "login-refused");
}

#[tokio::test(start_paused = true)]
async fn identity_headers_of_the_client_are_ignored() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let path = format!("/v1/jobs/{id}");
    let forged = suite
        .request("GET", &path)
        .token(OTHER)
        .header("X-Project-Id", "demo")
        .header("X-User-Id", "id-of-joe")
        .header("X-Roles", "admin")
        .header("X-Identity-Status", "Confirmed")
        .header("X-Service-Token", "x")
        .send()
        .await;
    forged.is_problem(404, "job-not-found");
    suite
        .request("GET", &path)
        .header("X-Project-Id", "demo")
        .header("X-Identity-Status", "Confirmed")
        .send()
        .await
        .is_problem(401, "token-missing");
}

#[tokio::test(start_paused = true)]
async fn the_token_is_in_no_message_and_no_record() {
    let suite = Suite::start().await;
    let canary = "joe@demo:member,canary-7f3a";
    for path in ["/v1/jobs", "/v1/vm/"] {
        let mut body = if path == "/v1/jobs" { create() } else { vm() };
        if path == "/v1/vm/" {
            body["vm_hostname"] = "lxother".into();
            body["token"] = canary.into();
        }
        let reply = suite
            .request("POST", path)
            .token(canary)
            .json(&body)
            .send()
            .await;
        assert_eq!(reply.status, 202);
    }
    let from = vmctl_core::bus::LogStart::First;
    let entries = suite
        .app
        .bus
        .log
        .read(from)
        .await
        .unwrap()
        .next_batch(1000)
        .await
        .unwrap();
    assert!(entries.len() >= 3);
    for entry in entries {
        let text = format!(
            "{:?} {}",
            entry.message,
            String::from_utf8_lossy(&entry.message.body)
        );
        // The role is there, the token is not.
        assert!(!text.contains(canary));
    }
    let list = suite.get("/v1/jobs").await;
    assert!(!String::from_utf8_lossy(&list.body).contains(canary));
}

/// Keeps everything that is logged.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn neither_token_nor_password_is_in_any_log_line() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // The runtime is this thread, so this is every task's subscriber.
    let _guard = tracing::subscriber::set_default(subscriber);
    let suite = Suite::start().await;
    let token = "joe@demo:member,canary-7f3a";
    let everything = async || {
        for (method, path) in [
            ("GET", "/v1/jobs"),
            ("GET", "/v1/jobs/7fda68b7-b4de-45a6-99fd-57b019cf19ae"),
            ("POST", "/v1/jobs"),
            ("POST", "/v1/vm/"),
            ("GET", "/v1/kinds"),
            ("GET", "/nowhere"),
            ("GET", "/test/panic"),
        ] {
            for body in [create(), vm(), json!({"token": token})] {
                let bearer = format!("Bearer {token}");
                let call = suite.request(method, path).token(token);
                call.header("Authorization", bearer)
                    .json(&body)
                    .send()
                    .await;
            }
        }
        let testtoken = json!({"token": token});
        suite
            .request("POST", "/v1/testtoken")
            .json(&testtoken)
            .send()
            .await;
        let login = json!({"login": "joe", "password": "canary-pass"});
        suite
            .request("POST", "/v1/connect")
            .json(&login)
            .send()
            .await;
    };
    everything().await;
    // A place that another test's thread met at the very moment of `set_default` is off until asked
    // again.
    tracing::callsite::rebuild_interest_cache();
    everything().await;
    suite.broker.set_down(true);
    everything().await;
    suite.store.set_down(true);
    everything().await;
    suite.identity.down.store(true, Ordering::Relaxed);
    everything().await;
    let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("answered") && text.contains("a handler panicked"));
    assert!(!text.contains("canary"), "{text}");
}
