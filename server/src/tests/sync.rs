//! Synchronous kinds, with upstreams on real sockets.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};
use tower::ServiceExt;
use url::Url;
use vmctl_core::kinds::Registry;

use super::support::{MEMBER, OTHER, READER, Suite, eventually};
use crate::Config;

/// What an upstream has been asked.
#[derive(Debug, Clone)]
struct Asked {
    line: String,
    headers: HeaderMap,
    body: String,
}

/// An upstream that answers with a function of the request.
struct Upstream {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _serving: JoinSet<()>,
}

impl Upstream {
    async fn start(answer: impl Fn(&Asked) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let app = Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let asked = Asked {
                line: format!("{} {}", parts.method, parts.uri),
                headers: parts.headers,
                body: String::from_utf8(body.to_vec()).unwrap(),
            };
            noted.lock().unwrap().push(asked.clone());
            answer(&asked)
        });
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            asked,
            _serving: serving,
        }
    }

    fn url(&self) -> Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// An upstream that takes connections and says nothing.
async fn silent() -> (Url, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
                counted.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (url.parse().unwrap(), open, serving)
}

/// An address that nobody listens on.
async fn nobody() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    format!("http://{address}").parse().unwrap()
}

/// The built-in kinds, and `net.list` at these addresses.
fn registry(upstreams: &[Url], more: &str) -> Registry {
    let directory = tempfile::tempdir().unwrap();
    let upstreams: Vec<_> = upstreams
        .iter()
        .map(|url| format!("{url}nets/{{zone}}"))
        .collect();
    let file = format!(
        "kind = \"net.list\"\nsummary = \"Networks\"\nrequired_role = \"reader\"\nmode = \"sync\"\n\
         upstream = {upstreams:?}\nmethods = [\"GET\", \"POST\"]\n{more}\n\
         [input_schema]\nrequired = [\"zone\"]\n"
    );
    std::fs::write(directory.path().join("net.list.toml"), file).unwrap();
    Registry::with_directory(directory.path()).unwrap()
}

async fn suite(upstreams: &[Url], more: &str, change: impl FnOnce(&mut Config)) -> Suite {
    Suite::with_kinds(registry(upstreams, more), |config| {
        config.sync.token = Some("service-secret".into());
        change(config);
    })
    .await
}

fn ok(_: &Asked) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        "{\"items\":[]}",
    )
        .into_response()
}

const PATH: &str = "/v1/sync/net.list?zone=a%2Fb&q=x";

#[tokio::test]
async fn what_an_upstream_is_told_and_what_is_kept_from_it() {
    let upstream = Upstream::start(ok).await;
    let suite = suite(&[upstream.url()], "", |_| {}).await;
    let reply = suite
        .request("GET", PATH)
        .token(MEMBER)
        .header("X-Auth-Token", MEMBER)
        .header("Authorization", format!("Bearer {MEMBER}"))
        .header("Cookie", "session=1")
        .header("Connection", "keep-alive, X-Hop")
        .header("X-Hop", "1")
        .header("TE", "trailers")
        .header("Proxy-Authorization", "Basic eA==")
        .header("X-Project-Id", "forged")
        .header("X-Roles", "admin")
        .header("X-Service-Token", "forged")
        .header("X-Forwarded-For", "10.0.0.1")
        .header("X-Request-Id", "req-1")
        .header("Accept", "text/csv")
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .send()
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(reply.json(), json!({"items": []}));
    let [asked] = &upstream.asked()[..] else {
        panic!("asked once");
    };
    assert_eq!(asked.line, "GET /nets/a%2Fb?q=x");
    let header = |name: &str| asked.headers.get(name).map(|v| v.to_str().unwrap());
    for (name, value) in [
        ("x-project-id", "demo"),
        ("x-user-id", "id-of-joe"),
        ("x-roles", "member"),
        ("x-request-id", "req-1"),
        ("authorization", "Bearer service-secret"),
        ("accept", "text/csv"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
    ] {
        assert_eq!(header(name), Some(value), "{name}");
    }
    for name in [
        "x-token",
        "x-auth-token",
        "cookie",
        "x-hop",
        "te",
        "proxy-authorization",
        "x-service-token",
        "x-forwarded-for",
        "connection",
    ] {
        assert_eq!(header(name), None, "{name}");
    }
    let all = format!("{:?}{}", asked.headers, asked.body);
    assert!(!all.contains(MEMBER), "the token stays here: {all}");
}

#[tokio::test]
async fn a_body_passes_as_it_came_and_answers_pass_with_the_headers_of_the_list() {
    let upstream = Upstream::start(|asked| {
        if asked.line.starts_with("POST") {
            let headers = [
                ("content-type", "text/plain"),
                ("etag", "\"1\""),
                ("set-cookie", "a=b"),
                ("server", "secret/1.0"),
                ("location", "http://internal/"),
            ];
            return (StatusCode::CONFLICT, headers, "in use").into_response();
        }
        StatusCode::NO_CONTENT.into_response()
    })
    .await;
    let suite = suite(&[upstream.url()], "", |_| {}).await;
    let text = r#"{"zone": "z", "big": 123456789012345678901234567890, "one": 1.0}"#;
    let post = || suite.request("POST", "/v1/sync/net.list").token(READER);
    let reply = post()
        .header("Content-Type", "application/json")
        .body(text)
        .send()
        .await;
    assert_eq!(
        (reply.status.as_u16(), &reply.body[..]),
        (409, &b"in use"[..])
    );
    assert_eq!(
        (reply.header("content-type"), reply.header("etag")),
        ("text/plain", "\"1\"")
    );
    for name in ["set-cookie", "server", "location"] {
        assert_eq!(reply.header(name), "", "{name}");
    }
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(upstream.asked()[0].line, "POST /nets/z");
    assert_eq!(upstream.asked()[0].body, text);
    assert_eq!(suite.get(PATH).await.status, StatusCode::NO_CONTENT);

    let refused = suite
        .request("POST", PATH)
        .token(READER)
        .json(&json!({"zone": "z"}));
    refused.send().await.is_problem(400, "bad-query");
    let refused = post().json(&json!({}));
    let problem = refused.send().await.is_problem(422, "validation");
    assert_eq!(problem["errors"][0]["pointer"], "/zone");
    let big = post().json(&json!({"zone": "z", "pad": "x".repeat(70_000)}));
    big.send().await.is_problem(413, "body-too-large");
    assert_eq!(
        upstream.asked().len(),
        2,
        "what is refused is not passed on"
    );
}

#[tokio::test]
async fn who_may_not_ask_and_what_cannot_be_asked() {
    let upstream = Upstream::start(ok).await;
    let suite = suite(&[upstream.url()], "", |_| {}).await;
    let get = |path: &'static str| suite.request("GET", path);
    get(PATH).send().await.is_problem(401, "token-missing");
    let reply = get(PATH).token("joe@demo:nobody").send().await;
    reply.is_problem(403, "forbidden");
    let none = get("/v1/sync/net.none").token(MEMBER).send().await;
    none.is_problem(404, "not-found");
    let job = get("/v1/sync/vm.create").token(MEMBER).send().await;
    job.is_problem(404, "not-found");
    let twice = get("/v1/sync/net.list?zone=a&zone=b")
        .token(MEMBER)
        .send()
        .await;
    twice.is_problem(400, "bad-query");
    let dots = get("/v1/sync/net.list?zone=..").token(MEMBER).send().await;
    dots.is_problem(422, "validation");
    let method = suite.request("DELETE", PATH).token(MEMBER).send().await;
    method.is_problem(405, "method-not-allowed");
    assert_eq!(method.header("allow"), "GET, POST");
    assert!(upstream.asked().is_empty());
    // It is no job, and says so.
    let job = suite
        .post("/v1/jobs", json!({"kind": "net.list", "input": {}}))
        .await;
    job.is_problem(422, "sync-kind");
    let kinds = suite.get("/v1/kinds").await.json();
    let mode = |name: &str| {
        let items = kinds["items"].as_array().unwrap();
        items.iter().find(|k| k["kind"] == name).unwrap()["mode"].clone()
    };
    assert_eq!(
        (mode("net.list"), mode("vm.create")),
        (json!("sync"), json!("async"))
    );
    let kind = suite.get("/v1/kinds/net.list").await.json();
    assert_eq!(kind["methods"], json!(["GET", "POST"]));
    assert!(!kind.to_string().contains(&upstream.address.to_string()));
}

#[tokio::test]
async fn answers_that_would_mislead_are_the_upstreams_fault() {
    let secret = Upstream::start(ok).await;
    let elsewhere = format!("http://{}/", secret.address);
    let upstream = Upstream::start(move |asked| match &asked.line[asked.line.len() - 1..] {
        "r" => (StatusCode::FOUND, [("location", elsewhere.clone())]).into_response(),
        "a" => StatusCode::UNAUTHORIZED.into_response(),
        _ => Body::from(vec![b'x'; 5_000]).into_response(),
    })
    .await;
    let suite = suite(&[upstream.url()], "", |c| c.limits.sync_body_bytes = 4_000).await;
    for zone in ["r", "a", "l"] {
        let reply = suite.get(&format!("/v1/sync/net.list?zone={zone}")).await;
        reply.is_problem(502, "upstream-failed");
    }
    assert!(secret.asked().is_empty(), "a redirect is not followed");
}

#[tokio::test]
async fn an_upstream_that_fails_is_left_alone_and_then_tried_once() {
    let healthy = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let state = Arc::clone(&healthy);
    let upstream = Upstream::start(move |asked| {
        if state.load(Ordering::SeqCst) {
            return ok(asked);
        }
        (StatusCode::INTERNAL_SERVER_ERROR, "oops").into_response()
    })
    .await;
    let suite = suite(&[upstream.url()], "", |config| {
        config.limits.sync_failures = 3;
        config.limits.sync_open = Duration::from_millis(300);
    })
    .await;
    for _ in 0..3 {
        let reply = suite.get(PATH).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body[..]),
            (500, &b"oops"[..])
        );
    }
    let reply = suite.get(PATH).await;
    reply.is_problem(503, "upstream-unavailable");
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(upstream.asked().len(), 3);
    healthy.store(true, Ordering::SeqCst);
    eventually("it is tried again", async || {
        suite.get(PATH).await.status == StatusCode::OK
    })
    .await;
    assert_eq!(suite.get(PATH).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_silent_upstream_is_a_timeout_within_the_deadline() {
    let (url, _, _serving) = silent().await;
    let suite = suite(&[url], "timeout = \"200ms\"", |_| {}).await;
    suite.get(PATH).await.is_problem(504, "upstream-timeout");
}

#[tokio::test]
async fn addresses_are_tried_in_turn_and_a_write_is_not_sent_twice() {
    let (hangs, _, _serving) = silent().await;
    let upstream = Upstream::start(ok).await;
    let all = [nobody().await, hangs.clone(), upstream.url()];
    let suite = suite(&all, "timeout = \"2s\"", |_| {}).await;
    assert_eq!(suite.get(PATH).await.status, StatusCode::OK);
    let post = suite.post("/v1/sync/net.list", json!({"zone": "z"})).await;
    post.is_problem(504, "upstream-timeout");
    let posted = upstream
        .asked()
        .iter()
        .any(|asked| asked.line.starts_with("POST"));
    assert!(!posted, "the silent one may have done it");

    let none = self::suite(&[nobody().await], "", |_| {}).await;
    none.get(PATH).await.is_problem(502, "upstream-failed");
}

#[tokio::test]
async fn so_many_at_once_and_a_client_that_leaves_ends_its_exchange() {
    let (url, open, _serving) = silent().await;
    let suite = suite(&[url], "timeout = \"50s\"", |c| c.limits.sync_in_flight = 1).await;
    let request = axum::http::Request::get(PATH).header("X-TOKEN", MEMBER);
    let leaving = suite
        .router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap());
    let leaving = tokio::spawn(leaving);
    let connections = |n| {
        let open = Arc::clone(&open);
        async move || open.load(Ordering::SeqCst) == n
    };
    eventually("it is connected", connections(1)).await;
    let reply = suite.get(PATH).await;
    reply.is_problem(503, "upstream-unavailable");
    assert_eq!(reply.header("retry-after"), "1");
    leaving.abort();
    eventually("the exchange is over", connections(0)).await;
}

#[tokio::test]
async fn the_workers_credential_goes_to_the_workers_only() {
    let (other, workers) = (Upstream::start(ok).await, Upstream::start(ok).await);
    let suite = suite(&[other.url()], "", |config| {
        config.sync.workers = vec![workers.url()];
        config.sync.workers_token = Some("workers-secret".into());
    })
    .await;
    assert_eq!(suite.get(PATH).await.status, StatusCode::OK);
    let shown = suite
        .request("GET", "/v1/sync/vm.show?vm_hostname=lx1")
        .token(OTHER);
    assert_eq!(shown.send().await.status, StatusCode::OK);
    // The project is the token's; nobody can name another.
    let forged = suite.get("/v1/sync/vm.list?project=other").await;
    forged.is_problem(422, "validation");
    let token = |asked: &Asked| {
        asked.headers[header::AUTHORIZATION]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(token(&other.asked()[0]), "Bearer service-secret");
    let asked = &workers.asked()[..];
    assert_eq!(
        (asked.len(), token(&asked[0])),
        (1, "Bearer workers-secret".to_owned())
    );
    assert_eq!(asked[0].line, "GET /machines/lx1");
    assert_eq!(asked[0].headers["x-project-id"], "other");
    let none = Suite::start().await;
    none.get("/v1/sync/vm.list")
        .await
        .is_problem(503, "kind-unavailable");
}
