//! Deliveries of callbacks: real requests to receivers on this machine.
use std::{
    io::Write as _,
    net::IpAddr,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{
    receiver::{Receiver, answer},
    site::{OLD, SECRET, Site, error_type, policy, verify},
};
use async_trait::async_trait;
use axum::http::Method;
use serde_json::{Value, json};
use vmctl_core::{
    JobState, clock,
    event::{Event, EventType},
};
use vmctl_daemon::testing::services;
use vmctl_egress::{Guard, ResolveError, Resolver};

/// How long the next attempt waits, in seconds.
fn wait(event: &Event) -> i64 {
    event
        .data
        .not_before
        .unwrap()
        .duration_since(event.time)
        .as_secs()
}

#[tokio::test]
async fn t16_a_receiver_with_the_standardwebhooks_crate_verifies() {
    let receiver = Receiver::with_status(204).await;
    let site = Site::new(&[&receiver]).await;
    let command = site.command(&receiver.url(), 1);
    let end = site.attempt(&command).await;
    assert_eq!(end.event_type, EventType::Succeeded, "{:?}", end.data.error);
    assert_eq!(end.data.output, Some(json!({"status": 204})));
    let hits = receiver.hits();
    assert_eq!(hits.len(), 1);
    let hit = &hits[0];
    assert_eq!(hit.method, Method::POST);
    assert_eq!(hit.header("content-type"), "application/cloudevents+json");
    assert_eq!(hit.header("webhook-id"), command.subject.to_string());
    // While a secret is changed, the old one still verifies.
    assert!(verify(hit, SECRET) && verify(hit, OLD));
    assert!(!verify(hit, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    let mut forged = hit.clone();
    forged.body = String::from_utf8(hit.body.to_vec())
        .unwrap()
        .replace("succeeded", "failed")
        .into();
    assert!(!verify(&forged, SECRET));
    let mut replayed = hit.clone();
    replayed
        .headers
        .insert("webhook-timestamp", 1_614_265_330.into());
    assert!(!verify(&replayed, SECRET));
}

#[tokio::test]
async fn t16_a_receiver_in_python_verifies() {
    let Some([python]) = services(["VMCTL_TEST_WEBHOOKS_PYTHON"]) else {
        return;
    };
    let receiver = Receiver::with_status(200).await;
    let site = Site::new(&[&receiver]).await;
    site.deliver(&receiver.url()).await;
    let hit = receiver.hits().remove(0);
    for (secret, body, genuine) in [
        (SECRET, hit.body.to_vec(), true),
        (OLD, hit.body.to_vec(), true),
        (SECRET, b"{\"data\":{\"state\":\"failed\"}}".to_vec(), false),
        (
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            hit.body.to_vec(),
            false,
        ),
    ] {
        let headers: Value = ["webhook-id", "webhook-timestamp", "webhook-signature"]
            .into_iter()
            .map(|name| (name.to_owned(), Value::from(hit.header(name))))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let request =
            json!({"secret": secret, "body": String::from_utf8(body).unwrap(), "headers": headers});
        let mut child = Command::new(&python)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/suite/support/verify.py"
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(request.to_string().as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), genuine, "{said}");
        if !genuine {
            assert!(said.contains("WebhookVerificationError"), "{said}");
        }
    }
}

#[tokio::test]
async fn every_attempt_has_the_same_id_and_body_and_a_time_of_its_own() {
    let receiver = Receiver::with_status(500).await;
    let site = Site::new(&[&receiver]).await;
    let command = site.command(&receiver.url(), 1);
    let retry = site.attempt(&command).await;
    assert_eq!(retry.event_type, EventType::Retry);
    // The wait is the broker's; the next attempt is made here and now.
    let mut next = retry.clone();
    next.data.not_before = None;
    next.id = clock::new_uuid(&*site.world.clock);
    site.world.publish(&next).await;
    crate::support::until("two attempts", || receiver.hits().len() == 2).await;
    let hits = receiver.hits();
    assert_eq!(hits[0].header("webhook-id"), hits[1].header("webhook-id"));
    assert_eq!(hits[0].body, hits[1].body);
    assert!(hits[0].header("webhook-timestamp") <= hits[1].header("webhook-timestamp"));
    assert!(hits.iter().all(|hit| verify(hit, SECRET)));
}

#[tokio::test]
async fn statuses_decide_what_happens_next() {
    for (status, headers, attempt, expected, error, seconds) in [
        (200, None, 1, EventType::Succeeded, "", 0..=0),
        (500, None, 1, EventType::Retry, "http-500", 5..=6),
        (404, None, 2, EventType::Retry, "http-404", 300..=360),
        (400, None, 9, EventType::Retry, "http-400", 86_400..=103_680),
        (500, None, 10, EventType::Failed, "http-500", 0..=0),
        (410, None, 1, EventType::Failed, "http-410", 0..=0),
        (429, Some("90"), 1, EventType::Retry, "http-429", 90..=108),
        (503, Some("90"), 1, EventType::Retry, "http-503", 90..=108),
        (
            503,
            Some("1000000000"),
            1,
            EventType::Retry,
            "http-503",
            86_400..=103_680,
        ),
        (503, Some("1"), 1, EventType::Retry, "http-503", 5..=6),
        // Only those two may ask for time.
        (500, Some("90"), 1, EventType::Retry, "http-500", 5..=6),
    ] {
        let receiver = Receiver::start(move || match headers {
            Some(time) => answer(status, &[("retry-after", time)]),
            None => answer(status, &[]),
        })
        .await;
        let site = Site::new(&[&receiver]).await;
        let mut command = site.command(&receiver.url(), attempt);
        // Longer than the longest wait, which ends at the deadline.
        command.data.job.deadline = clock::add(command.time, Duration::from_secs(6 * 86_400));
        let end = site.attempt(&command).await;
        assert_eq!(end.event_type, expected, "{status} {headers:?}");
        if !error.is_empty() {
            assert_eq!(error_type(&end), error);
        }
        if expected == EventType::Retry {
            assert!(
                seconds.contains(&wait(&end)),
                "{status} {headers:?}: {} s",
                wait(&end)
            );
        }
    }
}

#[tokio::test]
async fn h4_a_redirect_is_a_failure_and_the_canary_hears_nothing() {
    let canary = Receiver::with_status(200).await;
    for status in [301, 302, 303, 307, 308] {
        let to = canary.url();
        let receiver = Receiver::start(move || answer(status, &[("location", &to)])).await;
        // Even where the canary itself might be called.
        let site = Site::new(&[&receiver, &canary]).await;
        let end = site.deliver(&receiver.url()).await;
        assert_eq!(end.event_type, EventType::Retry);
        assert_eq!(error_type(&end), format!("http-{status}"));
        assert_eq!(receiver.hits().len(), 1);
    }
    assert_eq!(canary.hits().len(), 0);
}

/// Says first what is harmless, and then this machine.
struct Rebinding(Mutex<Vec<IpAddr>>);

#[async_trait]
impl Resolver for Rebinding {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut answers = self.0.lock().unwrap();
        Ok(vec![answers.pop().unwrap_or([127, 0, 0, 1].into())])
    }
}

#[tokio::test]
async fn h5_t16_a_name_that_leads_here_later_is_never_called() {
    let canary = Receiver::with_status(200).await;
    let resolver = Arc::new(Rebinding(Mutex::new(vec![[1, 1, 1, 1].into()])));
    let guard = Guard::with_resolver(policy(&[canary.address.port()], &[]), resolver);
    let url = format!("http://rebinding.example:{}/", canary.address.port());
    // As at submission.
    guard.check(&url).await.unwrap();
    let site = Site::with(guard).await;
    let end = site.deliver(&url).await;
    assert_eq!(end.event_type, EventType::Retry);
    assert_eq!(error_type(&end), "callback-forbidden");
    assert!(!end.data.error.unwrap().title.contains("127"));
    assert_eq!(canary.hits().len(), 0);
}

#[tokio::test]
async fn h6_t16_texts_that_mean_this_machine_are_never_called() {
    let canary = Receiver::with_status(200).await;
    let port = canary.address.port();
    let site = Site::with(Guard::new(policy(&[port], &[]))).await;
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "localhost.",
        "joe@127.0.0.1",
        "r.example\\@127.0.0.1",
        "169.254.169.254",
    ] {
        let end = site.deliver(&format!("http://{host}:{port}/")).await;
        // At once: no later attempt can be allowed.
        assert_eq!(end.event_type, EventType::Failed, "{host}");
        assert_eq!(error_type(&end), "callback-forbidden", "{host}");
    }
    assert_eq!(canary.hits().len(), 0);
}

#[tokio::test]
async fn a_receiver_that_is_not_there_or_never_answers_is_tried_again() {
    let gone = Receiver::with_status(200).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = [gone.address.port(), silent.local_addr().unwrap().port()];
    let site = Site::with(Guard::new(policy(&ports, &["127.0.0.1"]))).await;
    let url = gone.url();
    drop(gone);
    let end = site.deliver(&url).await;
    assert_eq!(end.event_type, EventType::Retry);
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let end = site.deliver(&url).await;
    assert_eq!(
        (end.event_type, error_type(&end)),
        (EventType::Retry, "timeout")
    );
}

#[tokio::test]
async fn h7_an_answer_without_end_is_cut_off() {
    use axum::{body::Body, response::Response};
    use futures::stream;
    let receiver = Receiver::start(|| {
        let chunk = || Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b'x'; 8192]));
        let body = Body::from_stream(stream::repeat_with(chunk));
        Response::builder().status(200).body(body).unwrap()
    })
    .await;
    let site = Site::new(&[&receiver]).await;
    let end = site.deliver(&receiver.url()).await;
    assert_eq!(end.event_type, EventType::Succeeded);
}

#[tokio::test]
async fn what_cannot_be_signed_is_not_sent() {
    let receiver = Receiver::with_status(200).await;
    let site = Site::new(&[&receiver]).await;
    let mut command = site.command(&receiver.url(), 1);
    command.data.job.input["secret_ref"] = "other".into();
    let end = site.attempt(&command).await;
    assert_eq!(
        (end.event_type, error_type(&end)),
        (EventType::Retry, "secret-unknown")
    );
    assert_eq!(receiver.hits().len(), 0);
}

#[tokio::test]
async fn no_message_of_a_delivery_has_the_secret() {
    let receiver = Receiver::with_status(500).await;
    let site = Site::new(&[&receiver]).await;
    let end = site.deliver(&receiver.url()).await;
    assert_eq!(end.data.state, JobState::Retrying);
    for event in site.world.events(end.subject) {
        let text = String::from_utf8(event.to_body()).unwrap();
        assert!(
            !text.contains("whsec_") && !text.contains(&SECRET[6..]),
            "{text}"
        );
    }
}
