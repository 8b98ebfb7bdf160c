//! Streams of all events of a project.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use vmctl_core::{
    clock::{new_job_id, new_uuid},
    event::Event,
};

use super::support::{Frame, Frames, MEMBER, OTHER, Suite, create, eventually, next};

impl Suite {
    pub(super) async fn project(&self, query: &str, last: Option<&str>) -> Frames {
        let path = format!("/v1/events{query}");
        let mut call = self.request("GET", &path).token(MEMBER);
        if let Some(last) = last {
            call = call.header("Last-Event-ID", last);
        }
        call.open().await
    }

    async fn submit_as(&self, token: &str, kind: &str) -> String {
        let input = match kind {
            "vm.delete" => json!({"vm_hostname": "lx1"}),
            _ => create()["input"].clone(),
        };
        let body = json!({"kind": kind, "input": input});
        let call = self.request("POST", "/v1/jobs").token(token).json(&body);
        call.send().await.json()["id"].as_str().unwrap().to_owned()
    }

    /// Does the next job of a queue; its id.
    async fn finish_one(&self, kind: &str) -> String {
        let mut work = self.work(kind).await;
        let delivery = next(&mut work).await;
        let job = Event::parse(&delivery.message.body).unwrap().subject;
        self.finish(delivery).await;
        job.to_string()
    }
}

/// Job and event of a frame.
fn said(frame: &Frame) -> (String, String) {
    let subject = frame.data["subject"].as_str().unwrap();
    (subject.to_owned(), frame.event.clone())
}

async fn take(events: &mut Frames, count: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for _ in 0..count {
        frames.push(events.next().await.unwrap());
    }
    frames
}

#[tokio::test(start_paused = true)]
async fn a_project_sees_its_own_events_in_order_and_no_others() {
    let suite = Suite::start().await;
    let old = suite.submit_as(MEMBER, "vm.create").await;
    suite.caught_up().await;
    // What happened less than a mark ago comes again.
    sleep(Duration::from_secs(2)).await;
    let mut events = suite.project("", None).await;
    let snapshot = events.is("snapshot").await;
    assert_eq!(snapshot.data["items"][0]["id"], old);
    assert_eq!(snapshot.data["items"].as_array().unwrap().len(), 1);
    assert!(!snapshot.id.is_empty());
    let foreign = suite.submit_as(OTHER, "vm.create").await;
    let new = suite.submit_as(MEMBER, "vm.delete").await;
    assert_eq!(suite.finish_one("vm.create").await, old);
    assert_eq!(suite.finish_one("vm.create").await, foreign);
    assert_eq!(suite.finish_one("vm.delete").await, new);
    let frames = take(&mut events, 5).await;
    let word = |job: &String, word: &str| (job.clone(), word.to_owned());
    assert_eq!(
        frames.iter().map(said).collect::<Vec<_>>(),
        [
            word(&new, "submitted"),
            word(&old, "started"),
            word(&old, "succeeded"),
            word(&new, "started"),
            word(&new, "succeeded"),
        ]
    );
    // Behind the snapshot and behind each event, the rest comes.
    let ids: Vec<_> = frames.iter().map(|f| f.id.clone()).collect();
    let mut last = snapshot.id.clone();
    for n in 0..5 {
        let mut again = suite.project("", Some(&last)).await;
        let rest: Vec<_> = take(&mut again, 5 - n).await;
        let rest: Vec<_> = rest.into_iter().map(|f| f.id).collect();
        assert_eq!(rest, ids[n..]);
        last.clone_from(&ids[n]);
    }
}

#[tokio::test(start_paused = true)]
async fn kind_and_state_choose() {
    let suite = Suite::start().await;
    let mut kind = suite.project("?kind=vm.delete", None).await;
    let mut state = suite.project("?state=succeeded,failed", None).await;
    for events in [&mut kind, &mut state] {
        assert_eq!(events.is("snapshot").await.data["items"], json!([]));
    }
    let create = suite.submit_as(MEMBER, "vm.create").await;
    let delete = suite.submit_as(MEMBER, "vm.delete").await;
    suite.finish_one("vm.create").await;
    suite.finish_one("vm.delete").await;
    for (word, frame) in ["submitted", "started", "succeeded"]
        .iter()
        .zip(take(&mut kind, 3).await)
    {
        assert_eq!(said(&frame), (delete.clone(), (*word).to_owned()));
    }
    for (job, frame) in [create, delete].iter().zip(take(&mut state, 2).await) {
        assert_eq!(said(&frame), (job.clone(), "succeeded".to_owned()));
    }
    let snapshot = suite.project("?state=queued", None).await.next().await;
    assert_eq!(snapshot.unwrap().data["items"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_go_on_says_gap() {
    let suite = Suite::start().await;
    let foreign = suite.submit_as(OTHER, "vm.create").await;
    suite.caught_up().await;
    let path = format!("/v1/jobs/{foreign}/events");
    let history = suite.request("GET", &path).token(OTHER).send().await.json();
    let foreign = history["items"][0]["id"].as_str().unwrap();
    for last in ["nonsense", "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a", foreign] {
        let mut events = suite.project("", Some(last)).await;
        assert!(events.is("gap").await.data["reason"].is_string(), "{last}");
        events.is("snapshot").await;
    }
    // The tail is lost while a stream runs.
    let mut events = suite.project("", None).await;
    events.is("snapshot").await;
    suite.broker.set_down(true);
    eventually("the tail is lost", async || {
        !suite.app.doorbell.is_attached()
    })
    .await;
    suite.broker.set_down(false);
    eventually("the tail is back", async || {
        suite.app.doorbell.is_attached()
    })
    .await;
    events.is("gap").await;
    let id = suite.submit_as(MEMBER, "vm.create").await;
    let snapshot = events.is("snapshot").await;
    let in_snapshot = snapshot.data["items"].as_array().unwrap().len() == 1;
    if !in_snapshot {
        assert_eq!(
            said(&events.is("submitted").await),
            (id, "submitted".into())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn forged_entries_about_nobodys_jobs_hold_no_stream_up() {
    let suite = Suite::start().await;
    let (_, command) = suite.job().await;
    suite.caught_up().await;
    sleep(Duration::from_secs(2)).await;
    let mut events = suite.project("", None).await;
    events.is("snapshot").await;
    let begun = Instant::now();
    for _ in 0..200 {
        let mut message = command.to_message();
        message.correlation_id = new_job_id(&*suite.app.clock).to_string();
        message.message_id = new_uuid(&*suite.app.clock).to_string();
        message.routing_key = "event.vm.create.started".parse().unwrap();
        message.body = "forged".into();
        suite.app.bus.publisher.publish(message).await.unwrap();
    }
    suite.started(&command).await;
    events.is("started").await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
