//! What only a real connection shows.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use tokio_util::sync::CancellationToken;
use vmctl_core::{bus::TopologyAdmin, topology::Topology};

use super::support::{Listening, MEMBER, PATIENCE, Suite, listen};

async fn connect(server: &Listening) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// Reads until the server closes.
async fn to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn ask(server: &Listening, request: &str) -> String {
    let mut stream = connect(server).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    to_end(&mut stream).await
}

async fn stop(server: Listening) {
    server.shutdown.cancel();
    timeout(PATIENCE, server.ended)
        .await
        .expect("it ends")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_takes_requests_until_others_have_seen_it() {
    let server = listen(|config| config.limits.drain_delay = Duration::from_secs(3_600));
    let mut kept = connect(&server).await;
    server.shutdown.cancel();
    let answer = ask(&server, "GET /v1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    kept.write_all(b"GET /v1 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let answer = to_end(&mut kept).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!server.ended.is_finished());
    server.ended.abort();

    let server = listen(|config| config.limits.drain_delay = Duration::from_millis(1));
    stop(server).await;
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_order() {
    let server = listen(|_| {});
    let answer = ask(
        &server,
        "GET /v1 HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n\
         GET /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    let statuses: Vec<_> = answer
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|part| &part[..3])
        .collect();
    assert_eq!(statuses, ["200", "404", "401"]);
    stop(server).await;
}

#[tokio::test]
async fn t08_what_hyper_refuses_is_a_problem_too() {
    let server = listen(|_| {});
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(9_000));
    let longer = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "a: b\r\n".repeat(10_000)
    );
    let some = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n",
        "a: b\r\n".repeat(80)
    );
    let large = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\na: {}\r\n\r\n",
        "b".repeat(40_000)
    );
    for (request, status, slug) in [
        (&*many, 431, "headers-too-large"),
        (&some, 431, "headers-too-large"),
        (&large, 431, "headers-too-large"),
        (
            &long.replace("Host: x", "Host: x\r\nConnection: close"),
            414,
            "uri-too-long",
        ),
        (&longer, 414, "uri-too-long"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "bad-request"),
        ("\x16\x03\x01\x02\x00\x01", 400, "bad-request"),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
            "bad-request",
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nX-TOKEN: a\x01b\r\n\r\n",
            400,
            "bad-request",
        ),
    ] {
        let answer = ask(&server, request).await;
        let head = &request[..request.len().min(40)];
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head:?}: {answer}"
        );
        assert!(
            answer.contains("application/problem+json"),
            "{head:?}: {answer}"
        );
        assert!(
            answer.contains(&format!("/problems/{slug}")),
            "{head:?}: {answer}"
        );
    }
    stop(server).await;
}

#[tokio::test]
async fn slow_and_silent_clients_are_closed() {
    let server = listen(|c| {
        c.limits.header_deadline = Duration::from_millis(300);
        c.limits.body_deadline = Duration::from_millis(300);
    });
    // Says nothing; says half a header; says nothing after an answer.
    for words in [
        "",
        "GET /v1 HTTP/1.1\r\nHo",
        "GET /v1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let started = Instant::now();
        let answer = ask(&server, words).await;
        assert_eq!(
            answer.contains("200 OK"),
            words.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    // One byte at a time does not help.
    let mut stream = connect(&server).await;
    let trickle = async {
        for byte in b"GET /v1 HTTP/1.1\r\nX-Slow: ".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("the server closes");
    // A body that stops gets an answer.
    let answer = ask(
        &server,
        "POST /v1/connect HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("/problems/request-timeout"));
    stop(server).await;
}

#[tokio::test]
async fn t08_a_body_that_is_announced_as_too_large_is_not_asked_for() {
    let server = listen(|_| {});
    let answer = ask(
        &server,
        "POST /v1/connect HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    stop(server).await;
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed() {
    let server = listen(|c| c.limits.connections = 1);
    let mut first = connect(&server).await;
    first
        .write_all(b"GET /v1 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = connect(&server).await;
    assert_eq!(to_end(&mut second).await, "");
    drop(first);
    // The place is free again as soon as the first one is gone.
    super::support::eventually("a place is free", async || {
        ask(
            &server,
            "GET /v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await
        .contains("200 OK")
    })
    .await;
    stop(server).await;
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_ends_in_time() {
    let server = listen(|c| c.limits.drain = Duration::from_millis(500));
    let address = server.address;
    let mut idle = connect(&server).await;
    let mut half = connect(&server).await;
    half.write_all(b"POST /v1/connect HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        .await
        .unwrap();
    let answer = ask(
        &server,
        "GET /v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.contains("200 OK"));
    let started = Instant::now();
    stop(server).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(to_end(&mut idle).await, "");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stream_outlives_the_deadline_of_requests_and_ends_with_the_server() {
    let server = listen(|c| {
        c.limits.header_deadline = Duration::from_millis(100);
        c.limits.stream_ping = Duration::from_millis(100);
    });
    let mut stream = connect(&server).await;
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: x\r\nX-TOKEN: {MEMBER}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    while text.matches(": ping\n\n").count() < 5 {
        let mut bytes = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap();
        let read = read.unwrap();
        assert_ne!(read, 0, "{text}");
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("content-type: text/event-stream\r\n"));
    assert!(text.contains("x-accel-buffering: no\r\n"));
    assert!(text.contains("event: snapshot\n"));
    let started = Instant::now();
    stop(server).await;
    let rest = to_end(&mut stream).await;
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn queues_of_another_form_end_the_server() {
    let (config, backends, (broker, ..)) = Suite::parts(|_| {});
    let kinds: Vec<_> = backends.registry.kinds().map(|k| k.kind.clone()).collect();
    let mut topology = Topology::new(&kinds);
    for queue in &mut topology.queues {
        if queue.name == "work.vm.create" {
            queue.delivery_limit = Some(99);
        }
    }
    broker.declare(&topology).await.unwrap();
    let server = config.build(backends).unwrap();
    let ended = timeout(PATIENCE, server.run(CancellationToken::new())).await;
    let error = ended.expect("it ends").unwrap_err();
    let text = crate::error::chain(&error);
    assert!(matches!(error, crate::RunError::Topology(_)), "{text}");
    assert!(text.contains("work.vm.create"), "{text}");
}
