//! A job's log: read, and followed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use vmctl_core::{
    LogStream,
    event::{Event, EventType, SaidLine},
    lines::{LogChunk, MOST},
    store::FoldStore,
};

use super::support::{Frame, Frames, MEMBER, OTHER, Suite};

impl Suite {
    /// A worker's lines, as they arrive at the reader and at the server.
    async fn lines(&self, command: &Event, numbers: std::ops::RangeInclusive<u32>) {
        let texts: Vec<_> = numbers.map(|n| (n, format!("line {n}"))).collect();
        self.texts(command, &texts).await;
    }

    async fn texts(&self, command: &Event, texts: &[(u32, String)]) {
        let now = self.app.now();
        let mut event = command.clone();
        event.event_type = EventType::Log;
        let said = texts.iter().map(|(n, text)| SaidLine {
            n: *n,
            at: now,
            stream: LogStream::Stderr,
            text: text.clone(),
        });
        event.data.lines = said.collect();
        let chunk = LogChunk::of(&event, now).unwrap();
        let message = event.to_message();
        self.app.bus.publisher.publish_tick(message).await.unwrap();
        // The reader writes a moment later than the server hears of it.
        sleep(Duration::from_millis(30)).await;
        self.store.add_lines(&[chunk], now).await.unwrap();
    }

    async fn read_log(&self, id: &str, query: &str, accept: &str) -> super::support::Reply {
        let path = format!("/v1/jobs/{id}/logs{query}");
        let call = self.request("GET", &path).token(MEMBER);
        call.header("Accept", accept).send().await
    }

    async fn follow(&self, id: &str, query: &str, last: Option<&str>) -> Frames {
        let path = format!("/v1/jobs/{id}/logs{query}");
        let mut call = self.request("GET", &path).token(MEMBER);
        if let Some(last) = last {
            call = call.header("Last-Event-ID", last);
        }
        call.open().await
    }
}

fn texts(frames: &[Frame]) -> Vec<&str> {
    frames
        .iter()
        .map(|f| f.data["text"].as_str().unwrap_or(&f.event))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_log_is_read_as_text_or_as_json_lines() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.started(&command).await;
    let nothing = suite.read_log(&id, "", "*/*").await;
    assert_eq!((nothing.status.as_u16(), nothing.body.len()), (200, 0));
    suite.lines(&command, 1..=3).await;
    suite
        .texts(
            &command,
            &[(
                4,
                "\u{1b}[2Jred\tend\r\u{0}\u{202e}\u{2066}\u{feff}".to_owned(),
            )],
        )
        .await;

    let text = suite.read_log(&id, "", "*/*").await;
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(text.body, "line 1\nline 2\nline 3\n[2Jred\tend\n");
    assert_eq!(
        suite.read_log(&id, "?tail=1", "text/plain").await.body,
        "[2Jred\tend\n"
    );
    assert_eq!(suite.read_log(&id, "?tail=0", "text/plain").await.body, "");
    let all = suite
        .read_log(&id, "?tail=99999999999999999999", "text/plain")
        .await;
    assert_eq!(all.body, text.body);

    let json = suite.read_log(&id, "?tail=2", "application/jsonl").await;
    assert_eq!(json.header("content-type"), "application/jsonl");
    let lines: Vec<Value> = std::str::from_utf8(&json.body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["id"], &lines[0]["stream"], &lines[0]["text"]),
        (&json!("0.1.0.3"), &json!("stderr"), &json!("line 3"))
    );
    assert_eq!(
        lines[1]["text"],
        "\u{1b}[2Jred\tend\r\u{0}\u{202e}\u{2066}\u{feff}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_log_is_found_and_refused_as_its_job_is() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.started(&command).await;
    suite.lines(&command, 1..=1).await;
    suite.caught_up().await;
    let sse = "text/event-stream";
    for (query, accept, status, slug) in [
        ("?tail=-1", "*/*", 400, "bad-query"),
        ("?tail=", "*/*", 400, "bad-query"),
        ("?tail=1&tail=2", "*/*", 400, "bad-query"),
        ("?follow=maybe", "*/*", 400, "bad-query"),
        ("?lines=3", "*/*", 400, "bad-query"),
        ("", "application/xml", 406, "not-acceptable"),
        ("?follow", "application/json", 406, "not-acceptable"),
    ] {
        let reply = suite.read_log(&id, query, accept).await;
        reply.is_problem(status, slug);
    }
    let absent = "7fda68b7-b4de-45a6-99fd-57b019cf19ae";
    for accept in ["*/*", sse] {
        suite
            .read_log("42", "", accept)
            .await
            .is_problem(400, "bad-id");
        suite
            .read_log(absent, "", accept)
            .await
            .is_problem(404, "job-not-found");
        let path = format!("/v1/jobs/{id}/logs");
        let foreign = suite
            .request("GET", &path)
            .token(OTHER)
            .header("Accept", accept);
        foreign.send().await.is_problem(404, "job-not-found");
    }
    suite.set_reading(false);
    suite.store.flush();
    for accept in ["*/*", sse] {
        let reply = suite.read_log(&id, "", accept).await;
        reply.is_problem(503, "state-rebuilding");
    }
    suite.store.set_down(true);
    for accept in ["*/*", sse] {
        let reply = suite.read_log(&id, "", accept).await;
        reply.is_problem(503, "state-unavailable");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_is_followed_up_to_its_last_line() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.started(&command).await;
    suite.lines(&command, 1..=3).await;
    let mut log = suite.follow(&id, "?follow=true&tail=2", None).await;
    for n in 2..=3 {
        let line = log.is("log").await;
        assert_eq!(
            (line.id, &line.data["text"]),
            (format!("0.1.0.{n}"), &json!(format!("line {n}")))
        );
    }
    let begun = Instant::now();
    suite.lines(&command, 4..=4).await;
    log.is("log").await;
    assert!(begun.elapsed() < Duration::from_millis(200), "{begun:?}");
    // What the worker or the broker has dropped is said.
    suite.lines(&command, 8..=8).await;
    assert_eq!(log.is("gap").await.data["reason"], "3 lines were dropped");
    log.is("log").await;
    // The end may be faster than the last lines.
    suite.succeeded(&command).await;
    suite.caught_up().await;
    suite.lines(&command, 9..=9).await;
    assert_eq!(log.is("log").await.id, "0.1.0.9");
    assert_eq!(log.is("end").await.data, json!({"state": "succeeded"}));
    assert_eq!(log.next().await, None);

    // Behind each line, the rest; behind the last one, nothing any more.
    let rest = suite.follow(&id, "", Some("0.1.0.4")).await.rest().await;
    assert_eq!(texts(&rest), ["gap", "line 8", "line 9", "end"]);
    sleep(Duration::from_secs(60)).await;
    let path = format!("/v1/jobs/{id}/logs?follow");
    let call = suite.request("GET", &path).token(MEMBER);
    let call = call.header("Accept", "text/event-stream");
    let reply = call.header("Last-Event-ID", "0.1.0.9").send().await;
    assert_eq!(reply.status, 204);
    // What names no line is no error.
    let all = suite
        .follow(&id, "?tail=1", Some("nonsense"))
        .await
        .rest()
        .await;
    assert_eq!(texts(&all), ["line 9", "end"]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_cut_after_every_line_shows_each_once() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.started(&command).await;
    let mut seen = Vec::new();
    let mut last: Option<String> = None;
    for n in 1..=20 {
        let mut log = suite.follow(&id, "", last.as_deref()).await;
        suite.lines(&command, n..=n).await;
        let line = log.is("log").await;
        last = Some(line.id.clone());
        seen.push(line);
    }
    suite.succeeded(&command).await;
    let rest = suite.follow(&id, "", last.as_deref()).await.rest().await;
    assert_eq!(texts(&rest), ["end"]);
    let expected: Vec<_> = (1..=20).map(|n| format!("line {n}")).collect();
    assert_eq!(texts(&seen), expected);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_far_behind_is_told_of_what_is_gone() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.started(&command).await;
    for n in 0..5 {
        suite.lines(&command, n * 100 + 1..=n * 100 + 100).await;
    }
    let mut log = suite.follow(&id, "", Some("0.1.0.7")).await;
    let gone = 500 - MOST - 7;
    assert_eq!(
        log.is("gap").await.data["reason"],
        format!("{gone} lines were dropped")
    );
    for _ in 0..MOST {
        log.is("log").await;
    }
    suite.succeeded(&command).await;
    log.is("end").await;
}
