//! Answers that are held back.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use vmctl_core::{
    bus::Message,
    event::{Event, EventType},
    record::Tick,
    store::FoldStore,
};

use super::support::{MEMBER, Reply, Suite, another, create, next};

async fn held(suite: &Suite, id: &str, etag: Option<&str>, wait: &str) -> Reply {
    let path = format!("/v1/jobs/{id}");
    let mut call = suite
        .request("GET", &path)
        .token(MEMBER)
        .header("Prefer", wait);
    if let Some(etag) = etag {
        call = call.header("If-None-Match", etag);
    }
    call.send().await
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_the_request() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    let etag = suite
        .get(&format!("/v1/jobs/{id}"))
        .await
        .header("etag")
        .to_owned();
    let delivery = next(&mut work).await;
    let command = Event::parse(&delivery.message.body).unwrap();
    let started = Instant::now();
    let (reply, ()) = tokio::join!(held(&suite, &id, Some(&etag), "wait=30"), async {
        tokio::time::sleep(Duration::from_millis(2_345)).await;
        suite
            .say(&command, EventType::Started, |e| {
                e.data.state = vmctl_core::JobState::Running;
            })
            .await;
    });
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["state"], "running");
    assert_eq!(reply.header("preference-applied"), "wait=30");
    let latency = started
        .elapsed()
        .saturating_sub(Duration::from_millis(2_345));
    assert!(latency < Duration::from_millis(100), "{latency:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_rang_before_the_request_and_is_not_folded_yet_wakes_it_too() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    suite.caught_up().await;
    let path = format!("/v1/jobs/{id}");
    let etag = suite.get(&path).await.header("etag").to_owned();
    let command = Event::parse(&next(&mut work).await.message.body).unwrap();
    suite.set_reading(false);
    suite
        .say(&command, EventType::Started, |e| {
            e.data.state = vmctl_core::JobState::Running;
        })
        .await;
    // The bell has rung; nobody waited.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    let (reply, ()) = tokio::join!(held(&suite, &id, Some(&etag), "wait=30"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        suite.set_reading(true);
    });
    assert_eq!(reply.json()["state"], "running");
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_304_when_the_time_is_over() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let etag = suite
        .get(&format!("/v1/jobs/{id}"))
        .await
        .header("etag")
        .to_owned();
    let started = Instant::now();
    let reply = held(&suite, &id, Some(&etag), "wait=7").await;
    assert_eq!(
        (reply.status.as_u16(), started.elapsed().as_secs()),
        (304, 7)
    );
    assert_eq!(reply.header("preference-applied"), "wait=7");
    // What the caller does not have is answered at once.
    let started = Instant::now();
    assert_eq!(
        held(&suite, &id, Some("\"old\""), "wait=7").await.status,
        200
    );
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_an_etag_the_end_is_waited_for() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    let (reply, ()) = tokio::join!(held(&suite, &id, None, "wait=60"), async {
        tokio::time::sleep(Duration::from_secs(11)).await;
        suite.finish(next(&mut work).await).await;
    });
    assert_eq!(reply.json()["state"], "succeeded");
}

#[tokio::test(start_paused = true)]
async fn progress_wakes_the_request() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    let command = Event::parse(&next(&mut work).await.message.body).unwrap();
    suite
        .say(&command, EventType::Started, |e| {
            e.data.state = vmctl_core::JobState::Running;
        })
        .await;
    suite.caught_up().await;
    let etag = suite
        .get(&format!("/v1/jobs/{id}"))
        .await
        .header("etag")
        .to_owned();
    let started = Instant::now();
    let (reply, ()) = tokio::join!(held(&suite, &id, Some(&etag), "wait=30"), async {
        tokio::time::sleep(Duration::from_millis(1_234)).await;
        tick(&suite, &command).await;
    });
    assert_eq!(reply.json()["progress"]["percent"], 40);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

/// A worker's progress, as it arrives at the reader and at the server.
async fn tick(suite: &Suite, command: &Event) {
    let mut event = command.clone();
    event.event_type = EventType::Progress;
    let message: Message = event.to_message();
    suite.app.bus.publisher.publish_tick(message).await.unwrap();
    let tick = Tick {
        job: command.subject,
        epoch: 0,
        attempt: 1,
        seq: 0,
        number: 1,
        progress: vmctl_core::Progress {
            percent: 40,
            step: "boot".into(),
            step_number: None,
            steps: None,
            message: None,
            at: suite.app.now(),
        },
    };
    suite.store.ticks(&[tick]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_submission_can_wait_for_the_end() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let body = create();
    let call = suite
        .request("POST", "/v1/jobs")
        .token(MEMBER)
        .header("Prefer", "wait=20")
        .json(&body);
    let (reply, ()) = tokio::join!(call.send(), async {
        suite.finish(next(&mut work).await).await;
    });
    assert_eq!(
        (reply.status.as_u16(), reply.header("preference-applied")),
        (200, "wait=20")
    );
    assert_eq!(reply.json()["state"], "succeeded");
    // Not in time: accepted all the same.
    let started = Instant::now();
    let call = suite
        .request("POST", "/v1/jobs")
        .token(MEMBER)
        .header("Prefer", "wait=3");
    let reply = call.json(&another()).send().await;
    assert_eq!(
        (reply.status.as_u16(), started.elapsed().as_secs()),
        (202, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_doorbell_is_down_the_store_is_polled() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    let delivery = next(&mut work).await;
    let command = Event::parse(&delivery.message.body).unwrap();
    let etag = suite
        .get(&format!("/v1/jobs/{id}"))
        .await
        .header("etag")
        .to_owned();
    suite.broker.set_down(true);
    super::support::eventually("the tail is lost", async || {
        !suite.app.doorbell.is_attached()
    })
    .await;
    let (reply, ()) = tokio::join!(held(&suite, &id, Some(&etag), "wait=30"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut event = command.clone();
        event.event_type = EventType::Started;
        event.data.state = vmctl_core::JobState::Running;
        event.id = vmctl_core::clock::new_uuid(&*suite.app.clock);
        let fact = vmctl_core::fact::JobFact::from_event(event, None, suite.app.retention());
        suite
            .app
            .store
            .prewrite(&fact, suite.app.now())
            .await
            .unwrap();
    });
    assert_eq!(reply.json()["state"], "running");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_lets_nobody_wait() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let started = Instant::now();
    let (reply, ()) = tokio::join!(held(&suite, &id, None, "wait=60"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        suite.app.stopping.cancel();
    });
    assert_eq!(
        (reply.status.as_u16(), started.elapsed().as_secs()),
        (200, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_keep_nobody_out_and_are_bounded() {
    let suite = Suite::with(|c| {
        c.limits.requests = 1;
        c.limits.waiters = 2;
    })
    .await;
    let suite = Arc::new(suite);
    let id = suite.submit().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (suite, id) = (Arc::clone(&suite), id.clone());
        waiting.spawn(async move { held(&suite, &id, None, "wait=20").await });
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Both wait, so there is room for work; a third one is answered without waiting.
    assert_eq!(suite.get("/v1/kinds").await.status, 200);
    let started = Instant::now();
    let third = held(&suite, &id, None, "wait=20").await;
    assert_eq!(
        (third.status.as_u16(), third.header("preference-applied")),
        (200, "")
    );
    assert_eq!(started.elapsed(), Duration::ZERO);
    for reply in waiting.join_all().await {
        assert_eq!(reply.header("preference-applied"), "wait=20");
    }
}
