//! The client against peers that are not Keystone, or not well: what is never sent, what is never
//! believed, and how long it takes at most.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, helpers included"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{by_password, client, totp};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vmctl_keystone::{Client, Error, Options, Outcome, Scope, Token, TokenInfo};

const TOKEN: &str = r#"{"token": {"methods": ["password"],
    "user": {"id": "u1", "name": "joe", "domain": {"id": "default", "name": "Default"}},
    "project": {"id": "p1", "name": "demo", "domain": {"id": "default", "name": "Default"}},
    "roles": [{"id": "r1", "name": "member"}], "audit_ids": ["a1"],
    "issued_at": "2026-11-23T19:48:14.000000Z", "expires_at": "2026-11-23T20:48:14.000000Z"}}"#;

/// A server that answers each connection's first request with the same bytes and closes it.
struct Peer {
    url: String,
    connections: Arc<AtomicUsize>,
}

/// What a peer does after it has sent its bytes.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Hang,
    /// Closes when a second request comes on the same connection: to the client, the connection
    /// looked alive until then.
    CloseOnNext,
}

impl Peer {
    async fn start(answer: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v3", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let (answer, count) = (Arc::new(answer.into()), connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, answer.clone(), then));
            }
        });
        Self { url, connections }
    }

    async fn answering(status: &str, headers: &str, body: &str) -> Self {
        Self::start(message(status, headers, body), Then::Close).await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn client(&self) -> Client {
        client(&self.url, &Options::default())
    }

    async fn validate(&self) -> Result<Option<TokenInfo>, Error> {
        let token = Token::parse("t").unwrap();
        self.client().validate(&token, &token).await
    }

    async fn log_in(&self) -> Result<Outcome, Error> {
        self.client()
            .authenticate(&by_password("joe", "1234", Scope::UserDefault))
            .await
    }
}

fn message(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// Reads one whole request, answers, and does what comes then.
async fn serve(mut stream: TcpStream, answer: Arc<Vec<u8>>, then: Then) {
    let _ = read_request(&mut stream).await;
    let _ = stream.write_all(&answer).await;
    match then {
        Then::Close => {}
        Then::CloseOnNext => {
            let _ = stream.read(&mut [0; 16]).await;
        }
        // Ends when the client goes.
        Then::Hang => {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await?;
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if count == 0 || is_whole(&text) {
            return Ok(text);
        }
    }
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    body.len() >= length
}

fn protocol_status(result: &Result<impl std::fmt::Debug, Error>) -> Option<u16> {
    match result {
        Err(Error::Protocol { status, .. }) => Some(*status),
        _ => None,
    }
}

fn keystone_error(code: u16) -> String {
    format!(r#"{{"error": {{"code": {code}, "message": "m", "title": "t"}}}}"#)
}

#[test]
fn codes_are_those_of_rfc_6238() {
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let expected = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (20_000_000_000, "353130"),
    ];
    for (seconds, code) in expected {
        assert_eq!(
            totp::code(secret, Timestamp::from_second(seconds).unwrap()),
            code
        );
    }
}

#[tokio::test]
async fn a_peer_that_closes_without_saying_so_is_called_again_on_a_new_connection() {
    let peer = Peer::start(message("200 OK", "", TOKEN), Then::CloseOnNext).await;
    let client = peer.client();
    let token = Token::parse("t").unwrap();
    for call in 1..=20 {
        let info = client.validate(&token, &token).await.unwrap().unwrap();
        assert_eq!(info.user.name, "joe");
        assert_eq!(peer.connections(), call);
    }
}

#[tokio::test]
async fn answers_that_are_not_keystones_are_never_bad_credentials() {
    let html = "<html>hello</html>";
    for status in [
        "200 OK",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
    ] {
        let peer = Peer::answering(status, "Content-Type: text/html\r\n", html).await;
        let expected = status[..3].parse().ok();
        let result = peer.validate().await;
        assert_eq!(protocol_status(&result), expected, "{result:?}");
        // A login succeeds with 201.
        let result = peer.log_in().await;
        assert_eq!(protocol_status(&result), expected, "{result:?}");
    }
}

#[tokio::test]
async fn keystones_own_errors_by_status() {
    let is = |result: Result<Option<TokenInfo>, Error>, code: u16| match (code, result) {
        (404, Ok(None))
        | (401, Err(Error::Refused))
        | (403, Err(Error::Forbidden))
        | (400, Err(Error::Invalid(_)))
        | (418, Err(Error::Protocol { status: 418, .. })) => {}
        (_, other) => panic!("{code}: {other:?}"),
    };
    for code in [400, 401, 403, 404, 418] {
        let body = keystone_error(code);
        let peer = Peer::answering(&format!("{code} Reason"), "", &body).await;
        is(peer.validate().await, code);
    }
}

#[tokio::test]
async fn a_login_whose_answer_is_incomplete_is_not_a_login() {
    let header = "X-Subject-Token: abc\r\n";
    let without_expiry = TOKEN.replace("expires_at", "elsewhere");
    let cases = [
        ("201 Created", header, without_expiry.as_str()),
        ("201 Created", header, "{}"),
        ("201 Created", header, "<html>"),
        ("201 Created", header, ""),
        ("201 Created", "", TOKEN),
        ("201 Created", "X-Subject-Token: a b\r\n", TOKEN),
        ("200 OK", header, TOKEN),
        ("401 Unauthorized", "Openstack-Auth-Receipt: r\r\n", "{}"),
    ];
    for (status, headers, body) in cases {
        let result = Peer::answering(status, headers, body).await.log_in().await;
        assert_eq!(
            protocol_status(&result),
            status[..3].parse().ok(),
            "{headers}{body}"
        );
    }
    let result = Peer::answering("201 Created", header, TOKEN)
        .await
        .log_in()
        .await;
    assert!(
        matches!(result, Ok(Outcome::Authenticated(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn redirections_are_not_followed() {
    let target = Peer::answering("200 OK", "", TOKEN).await;
    let header = format!("Location: {}/auth/tokens\r\n", target.url);
    let peer = Peer::answering("307 Temporary Redirect", &header, "").await;
    let result = peer.validate().await;
    assert_eq!(protocol_status(&result), Some(307), "{result:?}");
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn unavailable_says_how_long_to_wait() {
    let peer = Peer::answering("503 Service Unavailable", "Retry-After: 7\r\n", "<html>").await;
    let error = peer.validate().await.unwrap_err();
    assert!(error.is_transient());
    let Error::Unavailable {
        status: 503,
        retry_after,
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
    for status in [
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
    ] {
        let error = Peer::answering(status, "", "")
            .await
            .log_in()
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Unavailable {
                    retry_after: None,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_body_of_5_mb_is_not_read() {
    let body = "a".repeat(5_000_000);
    let announced = Peer::answering("200 OK", "", &body).await;
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for peer in [announced, Peer::start(chunked, Then::Hang).await] {
        let result = peer.validate().await;
        assert_eq!(protocol_status(&result), Some(200), "{result:?}");
    }
}

#[tokio::test]
async fn a_peer_that_stops_talking_costs_the_deadline_and_no_more() {
    let silent = Peer::start("", Then::Hang).await;
    let slow_head = Peer::start("HTTP/1.1 200 OK\r\n", Then::Hang).await;
    let slow_body = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"token\":";
    let slow_body = Peer::start(slow_body, Then::Hang).await;
    let options = Options {
        timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let token = Token::parse("t").unwrap();
    for peer in [silent, slow_head, slow_body] {
        let started = Instant::now();
        let result = client(&peer.url, &options).validate(&token, &token).await;
        assert!(matches!(result, Err(Error::Transport(_))), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn broken_connections_are_failures_of_the_way() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/v3", listener.local_addr().unwrap())
    };
    let cut = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 1000\r\n\r\n{\"error\"";
    let not_http = Peer::start("SSH-2.0-OpenSSH\r\n", Then::Close).await;
    let cut = Peer::start(cut, Then::Close).await;
    let mute = Peer::start("", Then::Close).await;
    for url in [&closed, &not_http.url, &cut.url, &mute.url] {
        let login = by_password("joe", "1234", Scope::UserDefault);
        let error = client(url, &Options::default())
            .authenticate(&login)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Transport(_)), "{error:?}");
        assert!(error.is_transient());
    }
    // An https address whose peer speaks plain HTTP, likewise.
    let peer = Peer::answering("200 OK", "", TOKEN).await;
    let url = peer.url.replace("http:", "https:");
    let token = Token::parse("t").unwrap();
    let result = client(&url, &Options::default())
        .validate(&token, &token)
        .await;
    assert!(matches!(result, Err(Error::Transport(_))), "{result:?}");
}

#[tokio::test]
async fn a_malformed_id_is_refused_before_any_call() {
    let peer = Peer::answering("204 No Content", "", "").await;
    let token = Token::parse("t").unwrap();
    let result = peer
        .client()
        .delete_application_credential(&token, "..", "a/b")
        .await;
    assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn requests_carry_the_tokens_in_headers_and_ask_for_no_catalog() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap()
    });
    let (service, subject) = (
        Token::parse("service").unwrap(),
        Token::parse("subject").unwrap(),
    );
    let _ = client(&url, &Options::default())
        .validate(&service, &subject)
        .await;
    let request = seen.await.unwrap();
    let (line, headers) = request.split_once("\r\n").unwrap();
    assert!(line.starts_with("GET /v3/auth/tokens?nocatalog"), "{line}");
    assert!(
        !line.contains("service") && !line.contains("subject"),
        "{line}"
    );
    assert!(headers.contains("x-auth-token: service\r\n"), "{headers}");
    assert!(
        headers.contains("x-subject-token: subject\r\n"),
        "{headers}"
    );
}

#[tokio::test]
async fn messages_hold_neither_secrets_nor_answers() {
    let body = keystone_error(403).replace("\"m\"", "\"hunter2\"");
    let cases = [
        Peer::answering("403 Forbidden", "", &body).await,
        Peer::answering("200 OK", "", "hunter2").await,
        Peer::start("hunter2", Then::Close).await,
    ];
    let token = Token::parse("s3cret").unwrap();
    for peer in cases {
        let error = peer.client().validate(&token, &token).await.unwrap_err();
        let printed = format!("{error} {error:?}");
        assert!(
            !printed.contains("hunter2") && !printed.contains("s3cret"),
            "{printed}"
        );
    }
}

#[tokio::test]
async fn a_proxy_is_used_when_asked_for() {
    let proxy = Peer::answering("200 OK", "", TOKEN).await;
    let options = Options {
        proxy: Some(proxy.url.parse().unwrap()),
        ..Options::default()
    };
    let token = Token::parse("t").unwrap();
    let info = client("http://id.invalid/v3", &options)
        .validate(&token, &token)
        .await
        .unwrap();
    assert_eq!(info.unwrap().user.name, "joe");
    assert_eq!(proxy.connections(), 1);
}
