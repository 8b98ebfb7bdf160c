//! What is true of every answer.

use axum::{Router, http::StatusCode, routing};
use serde_json::json;
use vmctl_core::bus::BusState;

use super::support::{MEMBER, Suite, eventually};
use crate::{CheckState, Readiness, routes};

#[tokio::test(start_paused = true)]
async fn discovery_needs_no_token() {
    let suite = Suite::with(|c| {
        c.auth = vmctl_api_types::AuthDiscovery::Keystone {
            url: "http://k/v3".into(),
        };
    })
    .await;
    for path in ["/v1", "/v1/"] {
        let reply = suite.request("GET", path).send().await;
        assert_eq!(reply.status, 200);
        let body = reply.json();
        assert_eq!(body["hello"], "world");
        assert_eq!(body["product"], "vmctl");
        assert_eq!(
            body["auth"],
            json!({"type": "keystone", "url": "http://k/v3"})
        );
        assert_eq!(body["transports"][0], "event-stream");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_a_panic_is_a_500_with_the_request_id_and_nothing_else() {
    let suite = Suite::start().await;
    let reply = suite
        .request("GET", "/test/panic")
        .header("X-Request-Id", "abc")
        .send()
        .await;
    let problem = reply.is_problem(500, "internal");
    assert_eq!(problem["request_id"], "abc");
    let text = problem.to_string();
    assert!(!text.contains("panic of") && !text.contains(".rs"));
    assert_eq!(suite.get("/v1/kinds").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn every_answer_has_a_request_id_and_safe_headers() {
    let suite = Suite::start().await;
    for path in [
        "/v1",
        "/nowhere",
        "/v1/jobs",
        "/docs/",
        "/openapi.json",
        "/ui/",
    ] {
        let reply = suite.request("GET", path).send().await;
        assert!(reply.header("x-request-id").starts_with("req-"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(
            reply
                .header("content-security-policy")
                .contains("frame-ancestors 'none'")
        );
        assert!(!reply.header("cache-control").is_empty());
    }
    let kept = suite
        .request("GET", "/v1")
        .header("X-Request-Id", "mine-1")
        .send()
        .await;
    assert_eq!(kept.header("x-request-id"), "mine-1");
    let long = suite
        .request("GET", "/v1")
        .header("X-Request-Id", "a".repeat(129))
        .send()
        .await;
    assert!(long.header("x-request-id").starts_with("req-"));
}

#[tokio::test(start_paused = true)]
async fn the_page_is_served_from_here_and_loads_nothing_from_elsewhere() {
    let suite = Suite::start().await;
    let get = async |path: &str| {
        suite
            .request("GET", path)
            .header("Accept", "text/html,*/*;q=0.8")
            .send()
            .await
    };
    assert_eq!(get("/docs").await.status, StatusCode::SEE_OTHER);
    let page = get("/docs/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self';") && policy.contains("connect-src 'self'"));
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "{html}"
    );
    // An inline script would not run under the policy.
    assert!(!html.contains("<script>"));
    for asset in [
        "swagger-ui.css",
        "swagger-ui-bundle.js",
        "swagger-ui-standalone-preset.js",
    ] {
        assert_eq!(get(&format!("/docs/{asset}")).await.status, 200, "{asset}");
    }
    let script = get("/docs/swagger-initializer.js").await;
    assert!(String::from_utf8_lossy(&script.body).contains("/openapi.json"));
    get("/docs/nothing.js").await.is_problem(404, "not-found");
    let document = get("/openapi.json").await.json();
    assert_eq!(document, serde_json::to_value(crate::document()).unwrap());
    assert_eq!(
        document["components"]["securitySchemes"]["token"]["name"],
        "X-TOKEN"
    );
    let workers = get("/asyncapi.json").await.json();
    assert_eq!(workers, crate::asyncapi::document(&suite.app.registry));
}

/// The page fills the example of a body in, so that a visitor only has to press a button.
#[tokio::test(start_paused = true)]
async fn the_example_of_each_body_is_accepted() {
    let suite = Suite::start().await;
    let document = serde_json::to_value(crate::document()).unwrap();
    let id = suite.submit().await;
    for (method, path, schema, status) in [
        ("POST", "/v1/connect", "ConnectRequest", 200),
        ("POST", "/v1/vm/", "VmRequest", 202),
        ("DELETE", "/v1/vm/", "VmDeleteRequest", 202),
        ("POST", "/v1/jobs", "SubmitRequest", 202),
        (
            "POST",
            &format!("/v1/jobs/{id}/cancel"),
            "CancelRequest",
            202,
        ),
    ] {
        let mut example = document["components"]["schemas"][schema]["examples"][0].clone();
        if schema == "SubmitRequest" {
            // The machine of the request before has the name.
            example["input"]["vm_hostname"] = json!("lxother");
        }
        let reply = suite
            .request(method, path)
            .token(MEMBER)
            .json(&example)
            .send()
            .await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_server_says_503_and_health_answers_all_the_same() {
    let mut suite = Suite::with(|c| c.limits.requests = 0).await;
    let problem = suite.get("/v1/jobs").await.is_problem(503, "overloaded");
    assert_eq!(problem["retryable"], true);
    let health = Router::new()
        .route("/health/live", routing::get(async || "ok"))
        .route(
            "/health/ready",
            routing::get(async || (StatusCode::SERVICE_UNAVAILABLE, "bus: down")),
        );
    suite.router = routes::router(&suite.app, health);
    assert_eq!(
        suite.request("GET", "/health/live").send().await.status,
        200
    );
    // Its words are its own, whatever the status.
    let ready = suite.request("GET", "/health/ready").send().await;
    assert_eq!(
        (ready.status.as_u16(), &ready.body[..]),
        (503, &b"bus: down"[..])
    );
    suite
        .request("GET", "/health/nothing")
        .send()
        .await
        .is_problem(404, "not-found");
}

#[tokio::test(start_paused = true)]
async fn what_every_server_lacks_is_degraded() {
    let suite = Suite::start().await;
    let readiness = Readiness::new(std::sync::Arc::clone(&suite.app));
    let state = async |name: &str| {
        let checks = readiness.check().await;
        checks.into_iter().find(|c| c.name == name).unwrap().state
    };
    for name in ["bus", "marks", "clock", "store", "identity"] {
        assert_eq!(state(name).await, CheckState::Ok, "{name}");
    }
    suite.store.set_down(true);
    assert!(matches!(state("store").await, CheckState::Degraded(_)));
    suite.store.set_down(false);
    suite
        .identity
        .down
        .store(true, std::sync::atomic::Ordering::Relaxed);
    suite
        .get("/v1/jobs")
        .await
        .is_problem(503, "auth-unavailable");
    assert!(matches!(state("identity").await, CheckState::Degraded(_)));
    suite.broker.set_blocked(Some("memory"));
    assert_eq!(
        suite.app.bus.publisher.state(),
        BusState::Blocked("memory".into())
    );
    assert!(matches!(state("bus").await, CheckState::Degraded(_)));
    // The last mark is still young, then it is not.
    assert_eq!(state("marks").await, CheckState::Ok);
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    assert!(matches!(state("marks").await, CheckState::Degraded(_)));
    suite.broker.set_blocked(None);
    eventually("marks are confirmed again", async || {
        state("marks").await == CheckState::Ok
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_problem_type_can_be_looked_up() {
    let suite = Suite::start().await;
    for problem in vmctl_api_types::ProblemType::ALL {
        let reply = suite
            .request("GET", &format!("/problems/{}", problem.slug()))
            .send()
            .await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()["title"], problem.title());
    }
    suite
        .request("GET", "/problems/nothing")
        .send()
        .await
        .is_problem(404, "not-found");
}
