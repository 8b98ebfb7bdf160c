//! Requests that are broken before their meaning matters.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;

use super::support::{MEMBER, Reply, Suite, another, create, vm};

async fn raw(suite: &Suite, path: &str, body: impl Into<Body>) -> Reply {
    suite
        .request("POST", path)
        .token(MEMBER)
        .header("Content-Type", "application/json")
        .body(body)
        .send()
        .await
}

#[tokio::test(start_paused = true)]
async fn t08_what_is_not_one_json_document_is_400_with_line_and_column() {
    let suite = Suite::start().await;
    for path in ["/v1/jobs", "/v1/vm/", "/v1/connect", "/v1/testtoken"] {
        for body in [
            &b""[..],
            b"{",
            b"{} {}",
            b"hello",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":NaN}",
            b"{\"a\":1e999}",
        ] {
            let problem = raw(&suite, path, body)
                .await
                .is_problem(400, "malformed-json");
            let detail = problem["detail"].as_str().unwrap();
            assert!(
                detail.contains("line") && detail.contains("column"),
                "{detail}"
            );
        }
        let deep = "[".repeat(100_000 / 2);
        raw(&suite, path, deep)
            .await
            .is_problem(400, "malformed-json");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_a_key_that_is_there_twice_is_400() {
    let suite = Suite::start().await;
    for path in ["/v1/jobs", "/v1/vm/", "/v1/connect"] {
        let problem = raw(&suite, path, "{\"a\":1,\"a\":2}")
            .await
            .is_problem(400, "duplicate-key");
        assert_eq!(problem["errors"][0]["pointer"], "/a");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_a_body_that_is_not_declared_as_json_is_415() {
    let suite = Suite::start().await;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
    ] {
        let reply = suite
            .request("POST", "/v1/jobs")
            .token(MEMBER)
            .header("Content-Type", content_type)
            .body(create().to_string())
            .send()
            .await;
        reply.is_problem(415, "unsupported-media-type");
        assert_eq!(reply.header("accept-post"), "application/json");
    }
    let none = suite
        .request("POST", "/v1/vm/")
        .token(MEMBER)
        .body(vm().to_string())
        .send()
        .await;
    none.is_problem(415, "unsupported-media-type");
}

#[tokio::test(start_paused = true)]
async fn t08_an_answer_that_the_client_cannot_read_is_406() {
    let suite = Suite::start().await;
    let accept = async |accept| {
        suite
            .request("GET", "/v1/jobs")
            .token(MEMBER)
            .header("Accept", accept)
            .send()
            .await
    };
    accept("text/html").await.is_problem(406, "not-acceptable");
    accept("application/json;q=0")
        .await
        .is_problem(406, "not-acceptable");
    assert_eq!(accept("text/html, */*;q=0.1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn t08_a_body_of_64_kib_is_read_and_one_byte_more_is_413() {
    let suite = Suite::start().await;
    let padded = |n: usize| {
        let json = create().to_string();
        format!("{json}{}", " ".repeat(n - json.len()))
    };
    assert_eq!(raw(&suite, "/v1/jobs", padded(65_536)).await.status, 202);
    raw(&suite, "/v1/jobs", padded(65_537))
        .await
        .is_problem(413, "body-too-large");
    // Without a declared length, in many pieces.
    let pieces =
        stream::iter((0..65_537).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b" "))));
    let reply = raw(&suite, "/v1/jobs", Body::from_stream(pieces)).await;
    reply.is_problem(413, "body-too-large");
    let lies = suite
        .request("POST", "/v1/jobs")
        .token(MEMBER)
        .header("Content-Type", "application/json")
        .header("Content-Length", "99999999")
        .body("{}")
        .send()
        .await;
    lies.is_problem(413, "body-too-large");
    assert_eq!(lies.header("connection"), "close");
}

#[tokio::test(start_paused = true)]
async fn t08_a_body_that_trickles_is_408() {
    let suite = Suite::start().await;
    let started = tokio::time::Instant::now();
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    });
    let reply = raw(&suite, "/v1/jobs", Body::from_stream(trickle)).await;
    reply.is_problem(408, "request-timeout");
    assert_eq!(started.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn t08_a_body_that_breaks_off_is_400() {
    let suite = Suite::start().await;
    let broken = stream::iter([
        Ok(Bytes::from_static(b"{")),
        Err(std::io::Error::other("reset")),
    ]);
    let reply = raw(&suite, "/v1/jobs", Body::from_stream(broken)).await;
    let problem = reply.is_problem(400, "malformed-json");
    assert!(!problem.to_string().contains("reset"));
}

#[tokio::test(start_paused = true)]
async fn t08_a_long_uri_is_414_and_large_headers_are_431() {
    let suite = Suite::start().await;
    let long = format!("/v1/jobs?cursor={}", "a".repeat(8 * 1024));
    suite.get(&long).await.is_problem(414, "uri-too-long");
    let large = suite
        .request("GET", "/v1/jobs")
        .header("X-Large", vec![b'a'; 32 * 1024]);
    large.send().await.is_problem(431, "headers-too-large");
    let mut many = suite.request("GET", "/v1/jobs");
    for i in 0..65 {
        many = many.header(&format!("x-h{i}"), "a");
    }
    many.send().await.is_problem(431, "headers-too-large");
}

#[tokio::test(start_paused = true)]
async fn t08_only_the_canonical_spelling_of_an_id_is_one() {
    let suite = Suite::start().await;
    for id in [
        "nope",
        "0198F2A4-7C1E-7A00-8ABC-1F2E3D4C5B6A",
        "%7B0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a%7D",
        "urn:uuid:0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a",
        "0198f2a47c1e7a008abc1f2e3d4c5b6a",
        "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6",
        "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6aa",
        "..%2f..%2fetc",
        "%00",
        "%ff",
    ] {
        for path in [
            format!("/v1/jobs/{id}"),
            format!("/v1/vm/{id}"),
            format!("/v1/jobs/{id}/events"),
        ] {
            suite.get(&path).await.is_problem(400, "bad-id");
        }
        suite
            .request("POST", &format!("/v1/jobs/{id}/cancel"))
            .token(MEMBER)
            .send()
            .await
            .is_problem(400, "bad-id");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_a_wrong_path_is_404_and_a_wrong_method_405() {
    let suite = Suite::start().await;
    for path in [
        "/",
        "/v2/vm",
        "/v1/vms",
        "/v1/jobs/",
        "/v1/kinds/vm.create/x",
        "/health/live",
    ] {
        suite.get(path).await.is_problem(404, "not-found");
    }
    for (method, path, allow) in [
        ("PUT", "/v1/jobs", "GET,HEAD,POST"),
        ("GET", "/v1/vm/", "POST,DELETE"),
        ("PATCH", "/v1/vm", "POST,DELETE"),
        ("POST", "/v1/kinds", "GET,HEAD"),
        ("OPTIONS", "/v1/connect", "POST"),
        ("BREW", "/v1/connect", "POST"),
    ] {
        let reply = suite.request(method, path).token(MEMBER).send().await;
        reply.is_problem(405, "method-not-allowed");
        let mut allowed: Vec<_> = reply.header("allow").split(',').collect();
        let mut expected: Vec<_> = allow.split(',').collect();
        allowed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(allowed, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn t08_hostile_text_is_stored_as_it_is_or_refused_and_never_a_500() {
    let suite = Suite::start().await;
    for text in [
        "\u{202e}evil",
        "zero\u{200b}width",
        "\u{1f600}",
        "a\r\nSet-Cookie: x",
        "../../etc/passwd",
        "\u{1b}[31m",
        "${jndi:ldap://x}",
        "%s%n",
    ] {
        let mut body = another()["input"].take();
        body["vm_desc"] = text.into();
        let reply = suite.post("/v1/vm/", body).await;
        assert_eq!(reply.status, 202, "{text:?}");
        let uuid = reply.json()["uuid"].as_str().unwrap().to_owned();
        assert_eq!(
            suite.get(&format!("/v1/vm/{uuid}")).await.json()["vm_desc"],
            text
        );
        let mut body = vm();
        body["vm_hostname"] = text.into();
        suite
            .post("/v1/vm/", body)
            .await
            .is_problem(400, "validation");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_a_prefer_that_cannot_be_read_is_400() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let reply = suite
        .request("GET", &format!("/v1/jobs/{id}"))
        .token(MEMBER)
        .header("Prefer", "wait=soon")
        .send()
        .await;
    reply.is_problem(400, "bad-header");
}
