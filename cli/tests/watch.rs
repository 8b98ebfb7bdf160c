//! Submitting and following against a fake server: the exit code is the outcome, whatever happens
//! on the way.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Fake, Home, ID, Ran, Reply, Request, TOKEN, eventually, job};

const OTHER: &str = "8fda68b7-b4de-85a6-99fd-57b019cf19ae";

fn state(state: &str) -> Value {
    job(ID, state, &json!({}))
}

fn failed(error_type: &str) -> Value {
    job(
        ID,
        "failed",
        &json!({"error": {"type": error_type, "title": "No room", "detail": "10/10 ports", "retryable": false}}),
    )
}

/// A server that tells one state after the other, the last one for ever, with tags.
fn script(states: Vec<Value>) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    move |request| {
        let number = request.number.min(states.len() - 1);
        Reply::ok(states[number].clone())
            .with("ETag", format!("\"e{number}\""))
            .with("Preference-Applied", "wait=25")
    }
}

#[test]
fn the_exit_code_is_the_outcome() {
    let table = [
        (state("succeeded"), 0, "succeeded"),
        (failed("provider-quota"), 10, "failed"),
        (failed("deadline"), 10, "failed"),
        (state("cancelled"), 11, "cancelled"),
        (failed("outcome-unknown"), 12, "outcome unknown"),
    ];
    for (end, code, word) in table {
        let fake = Fake::start(script(vec![state("queued"), state("running"), end]));
        let home = Home::new();
        let ran = home
            .run(&fake, &["job", "watch", ID])
            .expect(code)
            .says(&format!("lxabc01 {word} elapsed=1m34s"));
        assert_eq!(ran.stdout, "");
        let retry = format!("retry    vmctl job retry {ID}");
        assert_eq!(ran.stderr.contains(&retry), code == 10, "{}", ran.stderr);
        // Ended already: the same code.
        let ran = home.run(&fake, &["job", "wait", ID]).expect(code);
        assert_eq!(ran.stdout, format!("{ID}  {word}\n"));
        let ran = home
            .run(&fake, &["job", "wait", ID, "-o", "json"])
            .expect(code);
        assert_eq!(
            (
                ran.json()["exit_code"].as_i64(),
                ran.json()["job"]["id"].as_str()
            ),
            (Some(code.into()), Some(ID))
        );
        assert_eq!(
            home.run(&fake, &["-q", "job", "watch", ID])
                .expect(code)
                .stdout,
            ""
        );
    }
}

#[test]
fn off_a_terminal_there_is_one_line_for_each_change() {
    let progress = |percent: u32, number: u32, step: &str| {
        job(
            ID,
            "running",
            &json!({"progress": {"percent": percent, "step": step, "step_number": number, "steps": 4, "at": "2026-11-23T17:43:10Z"}}),
        )
    };
    let states = vec![
        state("queued"),
        progress(5, 1, "allocate"),
        progress(9, 1, "allocate"),
        progress(40, 2, "boot"),
        job(
            ID,
            "running",
            &json!({"cancel_requested_at": "2026-11-23T17:43:30Z"}),
        ),
        state("cancelled"),
    ];
    let fake = Fake::start(script(states));
    let ran = Home::new().run(&fake, &["job", "watch", ID]).expect(11);
    assert!(!ran.stderr.contains(['\r', '\u{1b}']), "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 5, "{ran:#?}");
    for (line, part) in lines.iter().zip([
        "queued",
        "running step=1/4 allocate 5%",
        "running step=2/4 boot 40%",
        "cancelling",
        "cancelled",
    ]) {
        let (stamp, rest) = line.split_once(' ').unwrap();
        assert!(stamp.len() == 20 && stamp.ends_with('Z'), "{line}");
        assert!(
            rest.starts_with(&format!("7fda68b7 lxabc01 {part}")),
            "{line}"
        );
    }
}

#[test]
fn polls_are_conditional_and_ask_to_wait() {
    let fake = Fake::start(|request| match request.number {
        0 => Reply::ok(state("running"))
            .with("ETag", "\"one\"")
            .with("Retry-After", "0"),
        1 => Reply::Json(304, Vec::new(), Value::Null)
            .with("ETag", "\"one\"")
            .with("Preference-Applied", "wait=25"),
        _ => Reply::ok(state("succeeded")).with("ETag", "\"two\""),
    });
    Home::new().run(&fake, &["job", "watch", ID]).expect(0);
    let seen = fake.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(
        (seen[0].header("prefer"), seen[0].header("if-none-match")),
        (None, None)
    );
    for request in &seen[1..] {
        assert_eq!(
            (request.header("prefer"), request.header("if-none-match")),
            (Some("wait=25"), Some("\"one\""))
        );
    }
}

#[test]
fn retry_after_is_honoured_by_a_server_that_does_not_wait() {
    let fake = Fake::start(|request| match request.number {
        0 => Reply::ok(state("running")).with("Retry-After", "1"),
        1 => Reply::problem(503, "state-unavailable", &json!({})).with("Retry-After", "1"),
        _ => Reply::ok(state("succeeded")),
    });
    let ran = Home::new().run(&fake, &["job", "watch", ID]).expect(0);
    assert!(ran.took >= Duration::from_secs(2), "{ran:?}");
}

#[test]
fn a_server_that_restarts_is_waited_for_and_said_once() {
    let fake = Fake::start(|request| match request.number {
        0 | 4 => Reply::ok(state("running")).with("Retry-After", "0"),
        1 => Reply::Raw(Vec::new()),
        2 => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{\"id\":".to_vec()),
        3 => Reply::Raw(
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nbad"
                .to_vec(),
        ),
        5 => Reply::problem(503, "state-rebuilding", &json!({})),
        _ => Reply::ok(state("succeeded")),
    });
    let ran = Home::new().run(&fake, &["job", "watch", ID]).expect(0);
    assert_eq!(ran.stderr.matches("connection lost").count(), 2, "{ran:#?}");
    assert_eq!(ran.stderr.matches("connected again").count(), 2, "{ran:#?}");
}

#[test]
fn a_job_that_is_gone_is_unknown_if_it_was_seen_and_not_found_else() {
    let fake = Fake::start(|request| match request.number {
        0 => Reply::ok(state("running")).with("Retry-After", "0"),
        _ => Reply::problem(410, "job-expired", &json!({})),
    });
    Home::new()
        .run(&fake, &["job", "watch", ID])
        .expect(12)
        .says("outcome unknown")
        .says("record is gone");

    let fake = Fake::start(|_| Reply::problem(404, "job-not-found", &json!({})));
    Home::new()
        .run(&fake, &["job", "watch", ID])
        .expect(6)
        .says("not found");
}

#[test]
fn a_refused_token_ends_the_watch_with_the_command_to_resume() {
    let fake = Fake::start(|request| match request.number {
        0 => Reply::ok(state("running")).with("Retry-After", "0"),
        _ => Reply::problem(401, "token-invalid", &json!({})),
    });
    let ran = Home::new().run(&fake, &["job", "watch", ID]).expect(4);
    ran.says("keep running")
        .says(&format!("vmctl job watch {ID}"));
}

#[test]
fn the_timeout_leaves_the_job_running() {
    let fake = Fake::start(|request| match request.number {
        0 => Reply::ok(state("running")).with("Retry-After", "0"),
        _ => Reply::Silence,
    });
    for command in ["watch", "wait"] {
        let ran = Home::new()
            .run(&fake, &["job", command, ID, "--timeout", "300ms"])
            .expect(8);
        assert!(ran.took < Duration::from_secs(5), "{ran:?}");
        ran.says("keeps running")
            .says(&format!("vmctl job watch {ID}"));
    }
}

#[test]
fn a_timeout_without_a_server_claims_nothing_about_the_job() {
    let fake = Fake::start(|_| Reply::Raw(Vec::new()));
    let ran = Home::new()
        .run(&fake, &["job", "watch", ID, "--timeout", "1s"])
        .expect(8)
        .says("The server cannot be reached; leaving stops no job.");
    assert!(!ran.stderr.contains("keeps running"), "{ran:?}");
}

#[test]
fn several_jobs_have_one_code_or_mixed() {
    let start = |other: &'static str| {
        Fake::start(move |request| {
            if request.path().ends_with(OTHER) {
                return match other {
                    "gone" => Reply::problem(404, "job-not-found", &json!({})),
                    state => Reply::ok(job(OTHER, state, &json!({}))),
                };
            }
            Reply::ok(state("succeeded"))
        })
    };
    for (other, code) in [("succeeded", 0), ("failed", 13), ("gone", 13)] {
        let ran = Home::new()
            .run(&start(other), &["job", "wait", ID, OTHER, "-o", "json"])
            .expect(code);
        let result = ran.json();
        assert_eq!(
            (
                result["exit_code"].as_i64(),
                result["items"][0]["outcome"].as_str()
            ),
            (Some(code.into()), Some("succeeded"))
        );
    }
}

#[test]
fn many_jobs_are_followed_with_bounded_concurrency() {
    let ids: Vec<String> = (0..60)
        .map(|n| format!("{n:08x}-b4de-85a6-99fd-57b019cf19ae"))
        .collect();
    let busy = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let peak = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (now, most) = (Arc::clone(&busy), Arc::clone(&peak));
    let fake = Fake::start(move |request| {
        let count = now.fetch_add(1, Ordering::SeqCst) + 1;
        most.fetch_max(count, Ordering::SeqCst);
        std::thread::park_timeout(Duration::from_millis(20));
        let id = request.path().rsplit('/').next().unwrap();
        let reply = Reply::ok(job(id, "succeeded", &json!({})));
        now.fetch_sub(1, Ordering::SeqCst);
        reply
    });
    let mut arguments = vec!["job", "wait"];
    arguments.extend(ids.iter().map(String::as_str));
    let ran = Home::new().run(&fake, &arguments).expect(0);
    assert_eq!(ran.stdout.lines().count(), 60);
    assert!(peak.load(Ordering::SeqCst) <= 17, "{peak:?} at once");
}

// Streams.

fn frames(frames: &[(&str, &str, Value)]) -> Vec<u8> {
    let mut text =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 3000\n\n".to_owned();
    for (id, event, data) in frames {
        let id = if id.is_empty() {
            String::new()
        } else {
            format!("id: {id}\n")
        };
        let data = data.to_string();
        text.extend([&*id, "event: ", event, "\ndata: ", &data, "\n\n"]);
    }
    text.into_bytes()
}

fn event(job: &str, word: &str, state: &str, progress: &Value) -> Value {
    json!({"specversion": "1.0", "id": "x", "type": format!("jobs.{word}.v1"), "source": "/", "subject": job,
        "time": "2026-11-23T17:43:01Z", "datacontenttype": "application/json",
        "data": {"kind": "vm.create", "state": state, "epoch": 0, "attempt": 1, "seq": 0, "progress": progress}})
}

fn boot(percent: u8) -> Value {
    json!({"percent": percent, "step": "boot", "step_number": 2, "steps": 4, "at": "2026-11-23T17:43:10Z"})
}

fn streams(fake: &Fake) -> Vec<Request> {
    let seen = fake.seen().into_iter();
    seen.filter(|request| request.path() == "/v1/events")
        .collect()
}

#[test]
fn jobs_are_followed_on_one_stream_and_their_records_say_how_they_ended() {
    let fake = Fake::streaming(|request| {
        if request.path() == "/v1/events" {
            return Reply::Hangs(frames(&[
                ("", "snapshot", state("queued")),
                ("1", "snapshot", job(OTHER, "queued", &json!({}))),
                (
                    "2",
                    "started",
                    event(ID, "started", "running", &Value::Null),
                ),
                ("", "progress", event(ID, "progress", "running", &boot(40))),
                (
                    "3",
                    "succeeded",
                    event(ID, "succeeded", "succeeded", &Value::Null),
                ),
                (
                    "4",
                    "failed",
                    event(OTHER, "failed", "failed", &Value::Null),
                ),
            ]));
        }
        if request.path().ends_with(OTHER) {
            return Reply::ok(job(OTHER, "cancelled", &json!({})));
        }
        let output = json!({"output": {"address": "10.0.0.7"}});
        Reply::ok(job(ID, "succeeded", &output))
    });
    let ran = Home::new()
        .run(&fake, &["job", "watch", ID, OTHER])
        .expect(13);
    for part in [
        "queued",
        "running",
        "step=2/4 boot 40%",
        "succeeded",
        "address 10.0.0.7",
        "cancelled",
    ] {
        assert!(ran.stderr.contains(part), "no {part} in {ran:#?}");
    }
    let asked = streams(&fake);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].target.ends_with(&format!("?job={ID}&job={OTHER}")));
    assert_eq!(asked[0].header("accept"), Some("text/event-stream"));
    assert_eq!(fake.seen().len(), 3);
}

#[test]
fn a_stream_that_is_cut_goes_on_behind_its_last_event() {
    let fake = Fake::streaming(|request| match request.number {
        0 => Reply::Raw(frames(&[("7", "snapshot", state("queued"))])),
        1 => Reply::Raw(frames(&[
            (
                "8",
                "started",
                event(ID, "started", "running", &Value::Null),
            ),
            ("", "progress", event(ID, "progress", "running", &boot(9))),
        ])),
        2 => Reply::Raw(frames(&[(
            "9",
            "succeeded",
            event(ID, "succeeded", "succeeded", &Value::Null),
        )])),
        _ => Reply::ok(state("succeeded")),
    });
    let ran = Home::new().run(&fake, &["job", "watch", ID]).expect(0);
    assert_eq!(ran.stderr.matches("running").count(), 2, "{ran:#?}");
    let last: Vec<_> = streams(&fake)
        .iter()
        .map(|request| request.header("last-event-id").map(str::to_owned))
        .collect();
    assert_eq!(last, [None, Some("7".into()), Some("8".into())]);
    assert_eq!(fake.seen().len(), 4);
}

#[test]
fn a_stream_that_is_cut_after_each_snapshot_is_polled_instead() {
    let fake = Fake::streaming(|request| match request.number {
        0..=3 => Reply::Raw(frames(&[("7", "snapshot", state("running"))])),
        4 => Reply::ok(state("running")).with("Retry-After", "0"),
        _ => Reply::ok(state("succeeded")),
    });
    let ran = Home::new().run(&fake, &["job", "watch", ID]).expect(0);
    assert_eq!(streams(&fake).len(), 4, "{ran:#?}");
    // Less and less often: half of 0.5, 1 and 2 s at the least.
    assert!(ran.took > Duration::from_millis(1_750), "{ran:?}");
}

#[test]
fn what_does_not_stream_is_polled() {
    let refusal = |name: &str| match name {
        "404" => Reply::problem(404, "not-found", &json!({})),
        "406" => Reply::problem(406, "not-acceptable", &json!({})),
        "429" => Reply::problem(429, "too-many-streams", &json!({})),
        "501" => Reply::problem(501, "unknown", &json!({})),
        "503" => Reply::problem(503, "overloaded", &json!({})),
        "204" => Reply::Raw(b"HTTP/1.1 204 X\r\n\r\n".to_vec()),
        "json" => Reply::ok(json!({"items": []})),
        _ => Reply::Raw(Vec::new()),
    };
    for name in ["404", "406", "429", "501", "503", "204", "json", "cut"] {
        let fake = Fake::streaming(move |request| match request.number {
            0 => refusal(name),
            1 => Reply::ok(state("running")).with("Retry-After", "0"),
            _ => Reply::ok(state("succeeded")),
        });
        let ran = Home::new().run(&fake, &["job", "watch", ID]).expect(0);
        assert!(ran.stderr.contains("running"), "{name} {ran:#?}");
        assert_eq!(streams(&fake).len(), 1, "{name}");
        assert!(ran.took < Duration::from_secs(5), "{name} {ran:?}");
    }
}

#[test]
fn a_stream_that_works_and_then_is_refused_is_polled_too() {
    let fake = Fake::streaming(|request| match request.number {
        0 => Reply::Raw(frames(&[("7", "snapshot", state("running"))])),
        1..=3 => Reply::problem(503, "overloaded", &json!({})),
        4 => Reply::problem(410, "job-expired", &json!({})),
        other => panic!("{other}"),
    });
    // It was seen, so that its end is not known.
    let ran = Home::new().run(&fake, &["job", "watch", ID]).expect(12);
    assert_eq!(ran.stderr.matches("connection lost").count(), 1, "{ran:#?}");
    assert_eq!(streams(&fake).len(), 4);
}

#[test]
fn a_silent_stream_is_left_within_bounds() {
    // Nothing at all, behind a proxy that collects; and nothing any more, not even a heartbeat.
    for begin in [Vec::new(), vec![("7", "snapshot", state("running"))]] {
        let told = !begin.is_empty();
        let fake = Fake::streaming(move |request| match request.path() {
            "/v1/events" if told => Reply::Hangs(frames(&begin)),
            "/v1/events" => Reply::Silence,
            _ => Reply::ok(state("succeeded")),
        });
        let ran = Home::new()
            .run(&fake, &["--http-timeout", "500ms", "job", "wait", ID])
            .expect(0);
        assert!(ran.took < Duration::from_secs(15), "{ran:?}");
        assert_eq!(streams(&fake).len(), if told { 2 } else { 1 });
    }
}

// Logs.

fn line(number: u32, text: &str) -> Value {
    json!({"id": format!("0.1.0.{number}"), "time": "2026-11-23T17:43:10Z", "stream": "log", "text": text})
}

fn lines(lines: &[Value]) -> Reply {
    let body: Vec<_> = lines.iter().map(Value::to_string).collect();
    let body = body.join("\n");
    Reply::Raw(format!("HTTP/1.1 200 OK\r\nContent-Type: application/jsonl\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

#[test]
fn a_log_is_shown_without_what_steers_a_terminal() {
    let fake = Fake::start(|request| {
        assert_eq!(request.target, format!("/v1/jobs/{ID}/logs?tail=2"));
        assert_eq!(
            request.header("accept"),
            Some("application/jsonl, application/problem+json")
        );
        lines(&[line(1, "one"), line(2, "\u{1b}[2Jtwo\u{7}\u{202e}\rthree")])
    });
    let home = Home::new();
    let ran = home
        .run(&fake, &["job", "logs", ID, "--tail", "2"])
        .expect(0);
    assert_eq!(ran.stdout, "one\n[2Jtwo three\n");
    let ran = home
        .run(&fake, &["job", "logs", ID, "--tail", "2", "-o", "json"])
        .expect(0);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{7}']), "{ran:?}");
    let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last, line(2, "\u{1b}[2Jtwo\u{7}\u{202e}\rthree"));
}

#[test]
fn a_log_is_followed_behind_its_last_line_and_ends_with_the_job() {
    let fake = Fake::start(|request| match request.number {
        0 => Reply::Raw(frames(&[("0.1.0.1", "log", line(1, "one"))])),
        _ => Reply::Raw(frames(&[
            ("", "gap", json!({"reason": "3 lines were dropped"})),
            ("0.1.0.5", "log", line(5, "five")),
            ("", "end", json!({"state": "failed"})),
        ])),
    });
    let ran = Home::new()
        .run(&fake, &["job", "logs", ID, "--follow"])
        .expect(0);
    assert_eq!(ran.stdout, "one\nfive\n");
    ran.says("3 lines were dropped");
    let seen = fake.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].header("last-event-id"), Some("0.1.0.1"));
}

#[test]
fn a_tail_is_followed_without_missing_what_comes_before_its_first_line() {
    // Nothing is wanted of what is there, and the streams are cut before they bring anything.
    let fake = Fake::start(|request| match request.number {
        0 => lines(&[line(1, "old"), line(2, "older")]),
        1..=4 => Reply::Raw(frames(&[("0.1.0.2", "", json!(null))])),
        5 => Reply::ok(state("running")),
        6 => lines(&[
            line(1, "old"),
            line(2, "older"),
            line(3, "three"),
            line(4, "four"),
        ]),
        7 => Reply::ok(state("succeeded")),
        _ => lines(&[line(3, "three"), line(4, "four"), line(5, "five")]),
    });
    let ran = Home::new()
        .run(&fake, &["job", "logs", ID, "--tail", "0", "-f"])
        .expect(0);
    assert_eq!(ran.stdout, "three\nfour\nfive\n");
    ran.says("the stream does not hold");
    let seen = fake.seen();
    assert_eq!(seen.len(), 9);
    for request in &seen {
        assert!(!request.target.contains("tail"), "{}", request.target);
    }
    for stream in &seen[1..=4] {
        assert_eq!(stream.header("last-event-id"), Some("0.1.0.2"));
    }
    // Of an empty log everything is still to come.
    let fake = Fake::start(|request| match request.number {
        0 => lines(&[]),
        _ => Reply::Raw(frames(&[
            ("0.1.0.1", "log", line(1, "one")),
            ("0.1.0.2", "log", line(2, "two")),
            ("", "end", json!({"state": "succeeded"})),
        ])),
    });
    let ran = Home::new()
        .run(&fake, &["job", "logs", ID, "--tail", "1", "-f"])
        .expect(0);
    assert_eq!(ran.stdout, "one\ntwo\n");
    assert_eq!(fake.seen()[1].header("last-event-id"), Some("0.0.0.0"));
}

#[test]
fn a_log_that_nobody_streams_is_read_until_the_job_has_ended() {
    let fake = Fake::start(|request| {
        if request.header("accept") == Some("text/event-stream") {
            return Reply::problem(406, "not-acceptable", &json!({}));
        }
        match request.number {
            0 | 1 => Reply::ok(state("running")),
            2 => lines(&[line(1, "one")]),
            _ if request.path().ends_with("/logs") => lines(&[line(1, "one"), line(2, "two")]),
            _ => Reply::ok(state("succeeded")),
        }
    });
    let ran = Home::new().run(&fake, &["job", "logs", ID, "-f"]).expect(0);
    assert_eq!(ran.stdout, "one\ntwo\n");
    let fake = Fake::start(|_| Reply::problem(404, "job-not-found", &json!({})));
    for follow in ["--follow", "--tail=5"] {
        Home::new()
            .run(&fake, &["job", "logs", ID, follow])
            .expect(6);
    }
}

// Submitting.

fn create(more: &[&'static str]) -> Vec<&'static str> {
    let mut arguments = vec!["vm", "create", "--profile", "Micro"];
    arguments.extend(more);
    arguments
}

fn regions(request: &Request) -> Option<Reply> {
    request
        .is("GET", "/v1/regions")
        .then(|| Reply::ok(json!({"items": [{"name": "GreaterParis"}, {"name": "North"}]})))
}

fn submissions(fake: &Fake) -> Vec<Request> {
    fake.seen()
        .into_iter()
        .filter(|request| request.method == "POST")
        .collect()
}

#[test]
fn what_is_left_out_is_filled_in_and_said() {
    let fake = Fake::start(|request| {
        regions(request).unwrap_or_else(|| Reply::Json(202, Vec::new(), state("queued")))
    });
    let home = Home::new();
    let ran = home.run(&fake, &create(&[])).expect(0);
    assert_eq!(ran.stdout, format!("{ID}\n"));
    let body = submissions(&fake)[0].json();
    let hostname = body["input"]["vm_hostname"].as_str().unwrap();
    assert!(
        hostname.starts_with("lx") && hostname.len() == 10,
        "{hostname}"
    );
    assert_eq!(body["kind"], "vm.create");
    for (key, value) in [
        ("vm_region", "GreaterParis"),
        ("app_env", "DEV"),
        ("app_trigram", "vmc"),
        ("vm_desc", ""),
        ("vm_profile", "Micro"),
    ] {
        assert_eq!(body["input"][key], value, "{key}");
    }
    ran.says(&format!("filled in: region GreaterParis, hostname {hostname}, env DEV, trigram vmc, description empty"))
        .says(&format!("vmctl job watch {ID}"));
    assert_eq!(home.read(".local/state/vmctl/last-job"), format!("{ID}\n"));
    home.run(&fake, &["job", "cancel", "@last"]).expect(0);
    let ran = home.run(&fake, &create(&["-q"])).expect(0);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_lost_answer_is_asked_again_under_the_same_key_and_name() {
    let fake = Fake::start(|request| {
        regions(request).unwrap_or_else(|| match request.number {
            1 => Reply::Raw(Vec::new()),
            2 => Reply::problem(
                503,
                "outcome-unknown",
                &json!({"job_id": ID, "retryable": true}),
            ),
            3 => Reply::problem(409, "idempotency-in-flight", &json!({})).with("Retry-After", "0"),
            _ => Reply::Json(202, Vec::new(), state("queued")),
        })
    });
    let ran = Home::new().run(&fake, &create(&[])).expect(0);
    assert_eq!(ran.stdout, format!("{ID}\n"));
    let sent = submissions(&fake);
    assert_eq!(sent.len(), 4);
    for again in &sent[1..] {
        assert_eq!(again.body, sent[0].body);
        assert_eq!(
            again.header("idempotency-key"),
            sent[0].header("idempotency-key")
        );
    }
    assert!(sent[0].header("idempotency-key").unwrap().len() > 20);
}

#[test]
fn two_runs_have_two_keys_unless_told_otherwise() {
    let fake = Fake::start(|request| {
        regions(request).unwrap_or_else(|| Reply::Json(202, Vec::new(), state("queued")))
    });
    let home = Home::new();
    for arguments in [
        create(&[]),
        create(&[]),
        create(&["--idempotency-key", "mine"]),
    ] {
        home.run(&fake, &arguments).expect(0);
    }
    let keys: Vec<_> = submissions(&fake)
        .iter()
        .map(|r| r.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[2], "mine");
}

#[test]
fn a_doubtful_submission_says_so_and_how_to_repeat_it() {
    let fake = Fake::start(|request| {
        regions(request).unwrap_or_else(|| match request.number {
            1 => Reply::Raw(Vec::new()),
            _ => Reply::problem(422, "validation", &json!({"detail": "too late"})),
        })
    });
    let ran = Home::new().run(&fake, &create(&[])).expect(12);
    let key = submissions(&fake)[0]
        .header("idempotency-key")
        .unwrap()
        .to_owned();
    assert_eq!(ran.stdout, "");
    ran.says("it is not known whether the job was accepted")
        .says(&format!("--idempotency-key {key}"));
}

#[test]
fn waiting_follows_the_new_job_to_its_end() {
    let fake = Fake::start(|request| {
        if let Some(reply) = regions(request) {
            return reply;
        }
        match request.number {
            1 => Reply::Json(202, Vec::new(), state("queued")).with("ETag", "\"zero\""),
            // The view is behind: not there yet.
            2 => Reply::problem(404, "job-not-found", &json!({})),
            3 => Reply::ok(state("running")).with("Retry-After", "0"),
            _ => Reply::ok(job(
                ID,
                "succeeded",
                &json!({"output": {"address": "10.0.0.7", "n": 3}}),
            )),
        }
    });
    let ran = Home::new().run(&fake, &create(&["--wait"])).expect(0);
    assert_eq!(ran.stdout, format!("{ID}\n"));
    ran.says("queued")
        .says("running")
        .says("succeeded")
        .says("address 10.0.0.7")
        .says("n 3");
    assert_eq!(fake.seen()[2].header("if-none-match"), Some("\"zero\""));
}

#[test]
fn deleting_is_a_job_too_and_json_is_one_document() {
    let fake = Fake::start(|request| match request.method.as_str() {
        "POST" => Reply::Json(202, Vec::new(), state("queued")),
        _ => Reply::ok(failed("gone")),
    });
    let home = Home::new();
    let ran = home
        .run(&fake, &["vm", "rm", "lxabc01", "--wait", "-o", "json"])
        .expect(10);
    assert_eq!(ran.json()["outcome"], "failed");
    let sent = submissions(&fake)[0].json();
    assert_eq!(
        (sent["kind"].as_str(), &sent["input"]),
        (Some("vm.delete"), &json!({"vm_hostname": "lxabc01"}))
    );
    assert_eq!(
        home.run(&fake, &["vm", "delete", "lxabc01", "-o", "json"])
            .expect(0)
            .json()["state"],
        "queued"
    );
}

#[test]
fn a_replayed_key_of_an_ended_job_ends_at_once() {
    let fake = Fake::start(|_| Reply::ok(state("succeeded")));
    Home::new()
        .run(
            &fake,
            &[
                "vm",
                "delete",
                "lxabc01",
                "--wait",
                "--idempotency-key",
                "k",
            ],
        )
        .expect(0);
    assert_eq!(fake.seen().len(), 1);
}

// Signals.

#[cfg(unix)]
mod signals {
    use super::*;

    fn kill(signal: &str, child: &Child) {
        assert!(
            Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    fn end(child: Child) -> (Output, Duration) {
        let started = Instant::now();
        (child.wait_with_output().unwrap(), started.elapsed())
    }

    /// Starts a watch and waits until it has shown the job.
    fn watching(home: &Home, fake: &Fake) -> (Child, BufReader<std::process::ChildStderr>) {
        let mut command = home.command(&["job", "watch", ID]);
        let mut child = command
            .env("VMCTL_ENDPOINT", fake.url())
            .env("VMCTL_TOKEN", TOKEN)
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("running"), "{line}");
        fake.wait_for(2);
        (child, stderr)
    }

    fn held() -> Fake {
        Fake::start(|request| match request.number {
            0 => Reply::ok(state("running")).with("Retry-After", "0"),
            _ => Reply::Silence,
        })
    }

    #[test]
    fn leaving_says_how_to_come_back_and_touches_no_job() {
        for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
            let (home, fake) = (Home::new(), held());
            let (child, mut stderr) = watching(&home, &fake);
            kill(signal, &child);
            let (output, took) = end(child);
            assert_eq!(output.status.code(), Some(code));
            assert!(took < Duration::from_secs(2), "{took:?}");
            let mut rest = String::new();
            std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
            assert!(
                rest.contains(&format!("Detached. Job {ID} keeps running.")),
                "{rest}"
            );
            assert!(
                rest.contains(&format!("resume   vmctl job watch {ID}")),
                "{rest}"
            );
            assert!(
                rest.contains(&format!("cancel   vmctl job cancel {ID}")),
                "{rest}"
            );
            assert!(submissions(&fake).is_empty());
        }
    }

    #[test]
    fn leaving_during_a_submission_says_that_it_may_have_arrived() {
        let fake = Fake::start(|_| Reply::Silence);
        let home = Home::new();
        let mut command = home.command(&["vm", "delete", "lxabc01"]);
        let child = command
            .env("VMCTL_ENDPOINT", fake.url())
            .env("VMCTL_TOKEN", TOKEN)
            .spawn()
            .unwrap();
        fake.wait_for(1);
        kill("-INT", &child);
        let started = Instant::now();
        Ran::from(child.wait_with_output().unwrap(), started)
            .expect(130)
            .says("may have been accepted")
            .says("--idempotency-key vmctl-");
    }

    /// A process that does not outlive a failed test.
    struct Ends(Child);

    impl Drop for Ends {
        fn drop(&mut self) {
            // One that has ended already needs no signal.
            let _ = self.0.kill();
        }
    }

    /// A reader that takes nothing blocks the first signal's message; the second one must end it.
    #[test]
    fn a_second_signal_ends_at_once() {
        let done = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&done);
        // Each answer is a change, so that lines fill the pipe that nobody reads.
        let fake = Fake::start(move |request| {
            let padding = "x".repeat(900);
            let state = if stop.load(Ordering::SeqCst) {
                "succeeded"
            } else {
                "running"
            };
            Reply::ok(job(ID, state, &json!({"progress": {"percent": 1, "step": format!("{}{padding}", request.number), "at": "2026-11-23T17:43:10Z"}})))
                .with("ETag", format!("\"e{}\"", request.number)).with("Preference-Applied", "wait=25")
        });
        let home = Home::new();
        let mut command = home.command(&["--http-timeout", "1s", "job", "watch", ID]);
        let child = command
            .env("VMCTL_ENDPOINT", fake.url())
            .env("VMCTL_TOKEN", TOKEN)
            .spawn()
            .unwrap();
        let mut child = Ends(child);
        let mut last = 0;
        let mut since = Instant::now();
        // The pipe is full when requests stop coming.
        eventually("a full pipe", || {
            let now = fake.seen().len();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            now > 40 && since.elapsed() > Duration::from_secs(2)
        });
        kill("-INT", &child.0);
        eventually("the first signal", || {
            // Pending signals are consumed by the listener; /proc says when none is left.
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id()))
                .unwrap_or_default();
            status
                .lines()
                .filter(|line| line.starts_with("ShdPnd"))
                .all(|line| line.trim_end().ends_with("0000000000000000"))
        });
        assert!(child.0.try_wait().unwrap().is_none(), "it was not blocked");
        eventually("the end", || {
            kill("-INT", &child.0);
            child.0.try_wait().unwrap().is_some()
        });
        assert_eq!(child.0.wait().unwrap().code(), Some(130));
        done.store(true, Ordering::SeqCst);
    }
}
