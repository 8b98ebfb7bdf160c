//! What keeps streams from showing what a view that lost something says, and from staying open or
//! taking places that are not theirs.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use vmctl_core::{
    event::{Event, EventType},
    fact::JobFact,
    partition::Partition,
    store::{FoldStore, JobStore, PartitionBatch, Position},
};

use super::support::{Frames, MEMBER, OTHER, Suite, eventually};
use crate::Config;

const SILENCE: Duration = Duration::from_secs(8);

/// Nothing comes for a while, not even the end.
async fn is_silent(events: &mut Frames) {
    let early = timeout(SILENCE, events.next()).await;
    assert!(early.is_err(), "{early:?}");
}

/// Writes facts into a flushed partition, up to an offset, as a reader would that is not there yet.
async fn fold(suite: &Suite, facts: Vec<JobFact>, stands: u64) {
    let partition = Partition::of(facts[0].job);
    let states = suite.store.partitions().await.unwrap();
    let batch = PartitionBatch {
        partition,
        expected: states[partition.index()].position.clone(),
        position: Position {
            offset: stands,
            id: facts[0].id.to_string(),
        },
        facts,
        steps: Vec::new(),
        marks: Vec::new(),
        bad: Vec::new(),
        first_time: None,
    };
    suite
        .store
        .fold(vec![batch], suite.app.now())
        .await
        .unwrap();
}

/// What the log has about a job.
async fn facts(suite: &Suite, command: &Event) -> Vec<JobFact> {
    let mut log = suite
        .app
        .bus
        .log
        .read(vmctl_core::bus::LogStart::First)
        .await
        .unwrap();
    let entries = log.next_batch(10_000).await.unwrap();
    let retention = suite.app.retention();
    let facts =
        entries.iter().filter_map(
            |entry| match vmctl_core::fact::interpret(entry, retention) {
                vmctl_core::fact::Fact::Job(fact) if fact.job == command.subject => Some(*fact),
                _ => None,
            },
        );
    facts.collect()
}

#[tokio::test(start_paused = true)]
async fn a_jobs_stream_waits_for_a_view_that_has_an_older_end() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.started(&command).await;
    suite.succeeded(&command).await;
    suite
        .say(&command, EventType::Redriven, |e| {
            e.data.epoch = 1;
            e.data.state = vmctl_core::JobState::Queued;
        })
        .await;
    suite.caught_up().await;
    let mut events = suite.events(&id, None).await;
    assert_eq!(events.is("snapshot").await.data["epoch"], 1);
    // The view is lost, and has come to the end of the run before.
    let all = facts(&suite, &command).await;
    let end = all
        .iter()
        .position(|f| f.event_type == EventType::Succeeded)
        .unwrap();
    let stands = all[end].offset.unwrap();
    suite.set_reading(false);
    suite.store.flush();
    fold(&suite, all[..=end].to_vec(), stands).await;
    // Somebody rings.
    suite
        .say(&command, EventType::Started, |e| {
            e.data.epoch = 1;
            e.data.state = vmctl_core::JobState::Running;
        })
        .await;
    is_silent(&mut events).await;
    suite.store.flush();
    suite.set_reading(true);
    assert_eq!(events.is("started").await.data["data"]["epoch"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_projects_stream_waits_for_a_view_that_is_behind() {
    let suite = Suite::start().await;
    let (_, command) = suite.job().await;
    suite.caught_up().await;
    sleep(Duration::from_secs(2)).await;
    let mut events = suite.project("", None).await;
    events.is("snapshot").await;
    suite.set_reading(false);
    suite.store.flush();
    suite.started(&command).await;
    suite.succeeded(&command).await;
    // The partition has the events, and has not passed a mark that this server has seen it pass.
    let all = facts(&suite, &command).await;
    let stands = all.last().unwrap().offset.unwrap();
    fold(&suite, all, stands).await;
    is_silent(&mut events).await;
    suite.store.flush();
    suite.set_reading(true);
    events.is("started").await;
    events.is("succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn an_event_ahead_of_its_partition_names_no_place() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.caught_up().await;
    // The history has an event of a log that was longer than this one.
    suite.set_reading(false);
    let mut event = command.clone();
    event.id = vmctl_core::clock::new_uuid(&*suite.app.clock);
    event.event_type = EventType::Started;
    event.data.state = vmctl_core::JobState::Running;
    let last = event.id.to_string();
    let states = suite.store.partitions().await.unwrap();
    let stands = states[Partition::of(command.subject).index()]
        .position
        .clone();
    let stands = stands.unwrap().offset;
    let ahead = JobFact::from_event(event, Some(stands + 1_000), suite.app.retention());
    fold(&suite, vec![ahead], stands + 1).await;
    let mut events = suite.events(&id, Some(&last)).await;
    events.is("snapshot").await;
}

#[tokio::test(start_paused = true)]
async fn one_project_cannot_take_all_places() {
    let suite = Suite::with(|c: &mut Config| {
        c.limits.streams = 3;
        c.limits.project_streams = 2;
    })
    .await;
    let id = suite.submit().await;
    let ask = async |token: &str, path: &str| {
        let call = suite.request("GET", path).token(token);
        call.header("Accept", "text/event-stream").send().await
    };
    let first = suite.events(&id, None).await;
    let _second = suite.project("", None).await;
    for path in [
        "/v1/events".to_owned(),
        format!("/v1/events?job={id}"),
        format!("/v1/jobs/{id}/events"),
        format!("/v1/jobs/{id}/logs"),
    ] {
        ask(MEMBER, &path).await.is_problem(429, "too-many-streams");
    }
    let other = suite.request("GET", "/v1/events").token(OTHER).open().await;
    ask("eve@third:member", "/v1/events")
        .await
        .is_problem(503, "overloaded");
    drop((first, other));
    eventually("places are free", async || suite.app.streams.free() == 2).await;
    assert_eq!(ask(MEMBER, "/v1/events").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_ends_its_streams_and_an_absent_keystone_does_not() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let path = format!("/v1/jobs/{id}/logs");
    let open = async |token: &str, path: &str| suite.request("GET", path).token(token).open().await;
    let kept = "ann@demo:member";
    let mut streams = Vec::new();
    for path in ["/v1/events", &format!("/v1/events?job={id}"), &path] {
        streams.push(open(MEMBER, path).await);
    }
    let mut other = open(kept, "/v1/events").await;
    other.is("snapshot").await;
    suite.identity.down.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(
        suite.app.config.limits.streams - suite.app.streams.free(),
        4
    );
    suite.identity.revoke(MEMBER);
    suite.identity.down.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    for mut stream in streams {
        while stream.raw().await.is_some() {}
    }
    assert!(begun.elapsed() <= Duration::from_secs(60), "{begun:?}");
    sleep(Duration::from_secs(300)).await;
    assert_eq!(
        suite.app.config.limits.streams - suite.app.streams.free(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_project_sees_progress_at_most_once_a_second_for_each_job() {
    let suite = Suite::start().await;
    let (a, first) = suite.job().await;
    let (b, second) = suite.job().await;
    suite.started(&first).await;
    suite.started(&second).await;
    suite.caught_up().await;
    sleep(Duration::from_secs(2)).await;
    let mut events = suite.project("", None).await;
    let mut filtered = suite.project("?state=succeeded", None).await;
    let mut foreign = suite.request("GET", "/v1/events").token(OTHER).open().await;
    for events in [&mut events, &mut filtered, &mut foreign] {
        events.is("snapshot").await;
    }
    let begun = Instant::now();
    for number in 1..=30 {
        suite.tick(&first, number).await;
        suite.tick(&second, number).await;
        sleep(Duration::from_millis(100)).await;
    }
    let took = begun.elapsed().as_secs();
    sleep(Duration::from_secs(2)).await;
    suite.succeeded(&first).await;
    let mut seen = Vec::new();
    loop {
        let frame = events.next().await.unwrap();
        if frame.event == "succeeded" {
            break;
        }
        assert_eq!((frame.event.as_str(), frame.id.as_str()), ("progress", ""));
        let percent = frame.data["data"]["progress"]["percent"].as_u64().unwrap();
        seen.push((frame.data["subject"].as_str().unwrap().to_owned(), percent));
    }
    for job in [a, b] {
        let mine: Vec<_> = seen
            .iter()
            .filter(|(id, _)| *id == job)
            .map(|(_, p)| *p)
            .collect();
        assert!((2..=took + 2).contains(&(mine.len() as u64)), "{seen:?}");
        assert!(mine.is_sorted_by(|a, b| a < b), "{mine:?}");
        assert_eq!(mine.last(), Some(&30), "{mine:?}");
    }
    assert_eq!(filtered.next().await.unwrap().event, "succeeded");
    is_silent(&mut foreign).await;
}
