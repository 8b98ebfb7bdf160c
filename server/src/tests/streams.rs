//! Streams of the events of jobs.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use vmctl_core::{
    JobState, Progress,
    bus::{LogEntry, LogStart},
    event::{Event, EventType},
    fact::{Fact, interpret},
    partition::Partition,
    record::Tick,
    store::{FoldOutcome, FoldStore, JobStore, PartitionBatch, Position},
};

use super::support::{Frame, Frames, MEMBER, OTHER, Suite, eventually, next};
use crate::Config;

impl Suite {
    pub(super) async fn events(&self, id: &str, last: Option<&str>) -> Frames {
        let path = format!("/v1/jobs/{id}/events");
        let mut call = self.request("GET", &path).token(MEMBER);
        if let Some(last) = last {
            call = call.header("Last-Event-ID", last);
        }
        call.open().await
    }

    /// Submits a job and takes its command.
    pub(super) async fn job(&self) -> (String, Event) {
        let mut work = self.work("vm.create").await;
        let id = self.submit().await;
        loop {
            // Slices of other jobs are in the queue too.
            let delivery = next(&mut work).await;
            let command = Event::parse(&delivery.message.body).unwrap();
            delivery.ack().await.unwrap();
            if command.subject.to_string() == id {
                return (id, command);
            }
        }
    }

    pub(super) async fn started(&self, command: &Event) {
        self.say(command, EventType::Started, |e| {
            e.data.state = JobState::Running;
        })
        .await;
    }

    pub(super) async fn succeeded(&self, command: &Event) {
        self.say(command, EventType::Succeeded, |e| {
            e.data.state = JobState::Succeeded;
            e.data.output = Some(json!({"vm_hostname": "lx1", "provider": "test"}));
        })
        .await;
    }

    /// The next slice of the same attempt, as a worker announces it.
    pub(super) async fn continued(&self, command: &Event, seq: u32) {
        self.say(command, EventType::Continued, |e| {
            e.data.state = JobState::Running;
            e.data.seq = seq;
        })
        .await;
    }

    pub(super) async fn history(&self, id: &str) -> Vec<String> {
        let list = self.get(&format!("/v1/jobs/{id}/events")).await.json();
        let items = list["items"].as_array().unwrap();
        let id = |event: &serde_json::Value| event["id"].as_str().unwrap().to_owned();
        items.iter().map(id).collect()
    }

    /// A worker's progress, as it arrives at the reader and at the server.
    pub(super) async fn tick(&self, command: &Event, number: u32) {
        let mut event = command.clone();
        event.event_type = EventType::Progress;
        let message = event.to_message();
        self.app.bus.publisher.publish_tick(message).await.unwrap();
        let tick = Tick {
            job: command.subject,
            epoch: 0,
            attempt: 1,
            seq: 0,
            number,
            progress: Progress {
                percent: u8::try_from(number).unwrap(),
                step: "boot".into(),
                step_number: None,
                steps: None,
                message: None,
                at: self.app.now(),
            },
        };
        self.store.ticks(&[tick]).await.unwrap();
    }
}

pub(super) fn ids(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.id.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_a_snapshot_and_then_each_event_up_to_the_end() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.caught_up().await;
    let mut events = suite.events(&id, None).await;
    assert_eq!(events.raw().await.unwrap().retry, "3000");
    let snapshot = events.is("snapshot").await;
    assert_eq!(
        (&snapshot.data["id"], &snapshot.data["state"]),
        (&json!(id), &json!("queued"))
    );
    suite.started(&command).await;
    let started = events.is("started").await;
    suite.succeeded(&command).await;
    let succeeded = events.is("succeeded").await;
    assert_eq!(events.next().await, None);
    assert_eq!(
        suite.history(&id).await,
        [&snapshot.id, &started.id, &succeeded.id].map(String::clone)
    );
    // CloudEvents 1.0.
    let data = &succeeded.data;
    assert_eq!(data["specversion"], "1.0");
    assert_eq!(data["id"], succeeded.id);
    assert_eq!(data["type"], "jobs.succeeded.v1");
    assert_eq!(data["source"], format!("/v1/jobs/{id}"));
    assert_eq!(data["subject"], id);
    assert_eq!(data["data"]["kind"], "vm.create");
    assert_eq!(data["data"]["state"], "succeeded");
    assert_eq!(data["data"]["output"]["provider"], "test");
    assert!(data["time"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_client_goes_on_behind_each_event() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.started(&command).await;
    for seq in 1..4 {
        suite.continued(&command, seq).await;
    }
    suite.succeeded(&command).await;
    suite.caught_up().await;
    let all = suite.history(&id).await;
    assert_eq!(all.len(), 6);
    let path = format!("/v1/jobs/{id}/events");
    for (n, last) in all[..5].iter().enumerate() {
        let rest = suite.events(&id, Some(last)).await.rest().await;
        assert_eq!(ids(&rest), all[n + 1..]);
        let after = format!("{path}?after={last}");
        let rest = suite.request("GET", &after).token(MEMBER).open().await;
        assert_eq!(ids(&rest.rest().await), all[n + 1..]);
    }
    // Its end: nothing will come, and nobody need ask again.
    let call = suite.request("GET", &path).token(MEMBER);
    let call = call.header("Accept", "text/event-stream");
    let reply = call.header("Last-Event-ID", &all[5]).send().await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
    // What names no event of this job gets everything at once, and the name of the end.
    let (other, _) = suite.job().await;
    suite.caught_up().await;
    let foreign = suite.history(&other).await.remove(0);
    for last in ["", "0", "nonsense", "\u{e9}", &foreign] {
        let frames = suite.events(&id, Some(last)).await.rest().await;
        assert_eq!(ids(&frames), [&all[5]], "{last:?}");
        assert_eq!(frames[0].event, "snapshot");
        assert_eq!(frames[0].data["terminal"], true);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_after_every_event_shows_each_once_and_in_order() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.caught_up().await;
    let mut seen = vec![suite.events(&id, None).await.is("snapshot").await.id];
    suite.started(&command).await;
    for seq in 1..10 {
        if seq % 3 == 0 {
            // While nobody listens.
            suite.continued(&command, seq).await;
        }
        let last = seen.last().unwrap().clone();
        let mut events = suite.events(&id, Some(&last)).await;
        if seq % 3 != 0 {
            suite.continued(&command, seq).await;
        }
        seen.push(events.next().await.unwrap().id);
    }
    suite.succeeded(&command).await;
    let last = seen.last().unwrap().clone();
    let rest = suite.events(&id, Some(&last)).await.rest().await;
    seen.extend(ids(&rest).into_iter().map(str::to_owned));
    assert_eq!(seen, suite.history(&id).await);
    assert_eq!(seen.len(), 12);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_final_only_until_the_job_runs_again() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite
        .say(&command, EventType::Failed, |e| {
            e.data.state = JobState::Failed;
        })
        .await;
    suite.caught_up().await;
    let end = suite.history(&id).await.pop().unwrap();
    let path = format!("/v1/jobs/{id}/events");
    let call = suite.request("GET", &path).token(MEMBER);
    let call = call.header("Accept", "text/event-stream");
    let reply = call.header("Last-Event-ID", &end).send().await;
    assert_eq!(reply.status, 204);
    // Somebody has it run again.
    let mut again = command.clone();
    again.data.epoch = 1;
    suite.say(&again, EventType::Redriven, |_| {}).await;
    suite.caught_up().await;
    let mut events = suite.events(&id, Some(&end)).await;
    let redriven = events.is("redriven").await;
    assert_eq!(redriven.data["data"]["epoch"], 1);
    suite.succeeded(&again).await;
    events.is("succeeded").await;
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn two_jobs_share_a_stream_in_the_order_of_the_log() {
    let suite = Suite::start().await;
    let (a, first) = suite.job().await;
    let (b, second) = suite.job().await;
    suite.caught_up().await;
    let path = format!("/v1/events?job={a}&job={b}&job={a}");
    let mut events = suite.request("GET", &path).token(MEMBER).open().await;
    let snapshots = [events.is("snapshot").await, events.is("snapshot").await];
    assert_eq!(snapshots.each_ref().map(|f| f.data["id"].clone()), [a, b]);
    // Only behind the last one everything is known.
    assert_eq!(snapshots[0].id, "");
    suite.started(&second).await;
    suite.started(&first).await;
    suite.continued(&second, 1).await;
    suite.succeeded(&second).await;
    suite.continued(&first, 1).await;
    suite.succeeded(&first).await;
    let frames = events.rest().await;
    let said = |frame: &Frame| {
        let subject = frame.data["subject"].as_str().unwrap();
        (subject == second.subject.to_string(), frame.event.clone())
    };
    let said: Vec<_> = frames.iter().map(said).collect();
    assert_eq!(
        said,
        [
            (true, "started"),
            (false, "started"),
            (true, "continued"),
            (true, "succeeded"),
            (false, "continued"),
            (false, "succeeded"),
        ]
        .map(|(second, word)| (second, word.to_owned()))
    );
    let mut all = vec![snapshots[1].id.clone()];
    all.extend(ids(&frames).into_iter().map(str::to_owned));
    for (n, last) in all[..6].iter().enumerate() {
        let call = suite.request("GET", &path).token(MEMBER);
        let rest = call.header("Last-Event-ID", last).open().await.rest().await;
        assert_eq!(ids(&rest), all[n + 1..]);
    }
    let call = suite.request("GET", &path).token(MEMBER);
    let reply = call.header("Last-Event-ID", &all[6]).send().await;
    assert_eq!(reply.status, 204);
}

/// Folds what the log has about one job into its partition, and nothing else.
async fn fold_only(suite: &Suite, job: vmctl_core::JobId) {
    let partition = Partition::of(job);
    let states = suite.store.partitions().await.unwrap();
    let expected = states[partition.index()].position.clone();
    let mut log = suite.app.bus.log.read(LogStart::First).await.unwrap();
    let entries = log.next_batch(10_000).await.unwrap();
    let new = |e: &&LogEntry| expected.as_ref().is_none_or(|at| e.offset > at.offset);
    let mut batch = PartitionBatch {
        partition,
        expected: expected.clone(),
        position: expected.clone().unwrap(),
        facts: Vec::new(),
        steps: Vec::new(),
        marks: Vec::new(),
        bad: Vec::new(),
        first_time: None,
    };
    for entry in entries.iter().filter(new) {
        if let Fact::Job(fact) = interpret(entry, suite.app.retention())
            && fact.job == job
        {
            batch.facts.push(*fact);
            batch.position = Position {
                offset: entry.offset,
                id: entry.message.message_id.clone().unwrap(),
            };
        }
    }
    let outcomes = suite.store.fold(vec![batch], suite.app.now()).await;
    assert_eq!(outcomes.unwrap(), [FoldOutcome::Written { changed: 1 }]);
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_the_one_before_it_in_the_log() {
    let suite = Suite::start().await;
    let (a, first) = suite.job().await;
    let (b, second) = loop {
        let (id, command) = suite.job().await;
        if Partition::of(command.subject) != Partition::of(first.subject) {
            break (id, command);
        }
    };
    suite.caught_up().await;
    let path = format!("/v1/events?job={a}&job={b}");
    let mut events = suite.request("GET", &path).token(MEMBER).open().await;
    events.is("snapshot").await;
    events.is("snapshot").await;
    suite.set_reading(false);
    suite.started(&first).await;
    suite.started(&second).await;
    // The partition of the second job is ahead: its event could be shown, and is not.
    fold_only(&suite, second.subject).await;
    let path = format!("/v1/jobs/{b}");
    assert_eq!(suite.get(&path).await.json()["state"], "running");
    let early = tokio::time::timeout(Duration::from_secs(3), events.next()).await;
    assert!(early.is_err(), "{early:?}");
    fold_only(&suite, first.subject).await;
    let begun = Instant::now();
    for command in [&first, &second] {
        let frame = events.is("started").await;
        assert_eq!(frame.data["subject"], command.subject.to_string());
    }
    // No mark had to come for that.
    assert!(begun.elapsed() < Duration::from_millis(600));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_rang_before_the_stream_was_there_comes_as_soon_as_it_is_folded() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.caught_up().await;
    suite.set_reading(false);
    suite.started(&command).await;
    // The bell has rung; nobody listened.
    sleep(Duration::from_millis(100)).await;
    let mut events = suite.events(&id, None).await;
    assert_eq!(events.is("snapshot").await.data["state"], "queued");
    sleep(Duration::from_millis(300)).await;
    suite.set_reading(true);
    let begun = Instant::now();
    events.is("started").await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{begun:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_the_journal_has_forgotten_holds_nobody_up_for_long() {
    let suite = Suite::start().await;
    let (a, first) = suite.job().await;
    let (b, _) = suite.job().await;
    suite.caught_up().await;
    let path = format!("/v1/events?job={a}&job={b}");
    let mut events = suite.request("GET", &path).token(MEMBER).open().await;
    events.is("snapshot").await;
    events.is("snapshot").await;
    // As after so many entries that nothing is left of when the jobs were looked at.
    sleep(Duration::from_secs(3)).await;
    suite.app.doorbell.journal().restart();
    sleep(Duration::from_secs(2)).await;
    let begun = Instant::now();
    suite.started(&first).await;
    events.is("started").await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{begun:?}");
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_at_most_once_a_second_and_has_no_id() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.started(&command).await;
    suite.tick(&command, 1).await;
    suite.caught_up().await;
    let mut events = suite.events(&id, None).await;
    let snapshot = events.is("snapshot").await;
    assert_eq!(snapshot.data["progress"]["percent"], 1);
    let begun = Instant::now();
    for number in 2..30 {
        suite.tick(&command, number).await;
        sleep(Duration::from_millis(100)).await;
    }
    suite.succeeded(&command).await;
    let took = begun.elapsed().as_secs();
    let frames = events.rest().await;
    let (end, ticks) = frames.split_last().unwrap();
    assert_eq!(end.event, "succeeded");
    assert!(
        ticks
            .iter()
            .all(|f| f.event == "progress" && f.id.is_empty())
    );
    assert!((2..=took + 1).contains(&(ticks.len() as u64)), "{ticks:?}");
    let percents = |f: &Frame| f.data["data"]["progress"]["percent"].as_u64().unwrap();
    let percents: Vec<_> = ticks.iter().map(percents).collect();
    assert!(percents.is_sorted_by(|a, b| a < b), "{percents:?}");
    assert_eq!(ticks[0].data["type"], "jobs.progress.v1");
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_says_that_it_is_alive() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    suite.caught_up().await;
    let mut events = suite.events(&id, None).await;
    events.is("snapshot").await;
    let begun = Instant::now();
    for n in 1..=3 {
        assert_eq!(events.raw().await.unwrap().comment, "ping");
        assert_eq!(begun.elapsed().as_secs(), n * 15);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_token_expires_or_when_it_is_old() {
    let suite = Suite::with(|c: &mut Config| c.limits.stream_life = Duration::from_secs(600)).await;
    let id = suite.submit().await;
    let path = format!("/v1/jobs/{id}/events");
    for (left, lasts) in [(95, 95), (600, 600), (100_000, 600)] {
        let expiry = vmctl_core::clock::add(suite.app.now(), Duration::from_secs(left));
        let token = format!("{MEMBER}~{expiry}");
        let begun = Instant::now();
        let mut events = suite.request("GET", &path).token(&token).open().await;
        while events.raw().await.is_some() {}
        assert_eq!(begun.elapsed().as_secs(), lasts);
    }
    everything_is_free(&suite).await;
}

/// All streams have ended.
async fn everything_is_free(suite: &Suite) {
    eventually("all places are free", async || {
        suite.app.streams.free() == suite.app.config.limits.streams
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_is_dropped() {
    let suite = Suite::with(|c| c.limits.stream_frames = 4).await;
    let (id, command) = suite.job().await;
    suite.caught_up().await;
    let slow = suite.events(&id, None).await;
    let mut quick = suite.events(&id, None).await;
    quick.is("snapshot").await;
    suite.started(&command).await;
    for seq in 1..20 {
        suite.continued(&command, seq).await;
    }
    quick.is("started").await;
    for _ in 1..20 {
        quick.is("continued").await;
    }
    let permits = || suite.app.streams.free();
    let most = suite.app.config.limits.streams;
    assert_eq!(permits(), most - 2);
    sleep(suite.app.config.limits.stream_patience).await;
    eventually("the slow one is dropped", async || permits() == most - 1).await;
    // It has what was in its buffer, goes on behind it, and misses nothing.
    let mut seen = slow.rest().await;
    assert_eq!(seen.len(), 3, "the preamble took one place");
    suite.succeeded(&command).await;
    let last = seen.last().unwrap().id.clone();
    seen.extend(suite.events(&id, Some(&last)).await.rest().await);
    assert_eq!(ids(&seen), suite.history(&id).await);
    quick.is("succeeded").await;
    assert_eq!(quick.next().await, None);
    everything_is_free(&suite).await;
}

#[tokio::test(start_paused = true)]
async fn streams_are_bounded_and_keep_nobody_out() {
    let suite = Suite::with(|c| {
        c.limits.requests = 1;
        c.limits.streams = 2;
    })
    .await;
    let id = suite.submit().await;
    let first = suite.events(&id, None).await;
    let _second = suite.events(&id, None).await;
    let refused = async || {
        let path = format!("/v1/jobs/{id}/events");
        let call = suite.request("GET", &path).token(MEMBER);
        call.header("Accept", "text/event-stream").send().await
    };
    refused().await.is_problem(503, "overloaded");
    assert_eq!(suite.get("/v1/kinds").await.status, 200);
    // A client that leaves makes room.
    drop(first);
    eventually("a place is free", async || suite.app.streams.free() == 1).await;
    assert_eq!(refused().await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_ends_its_streams() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let mut events = suite.events(&id, None).await;
    events.is("snapshot").await;
    suite.app.stopping.cancel();
    let begun = Instant::now();
    while events.raw().await.is_some() {}
    assert_eq!(begun.elapsed(), Duration::ZERO);
    everything_is_free(&suite).await;
}

#[tokio::test(start_paused = true)]
async fn a_flushed_view_holds_a_stream_up_and_takes_nothing_back() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    suite.started(&command).await;
    suite.caught_up().await;
    let mut events = suite.events(&id, None).await;
    assert_eq!(events.is("snapshot").await.data["state"], "running");
    suite.set_reading(false);
    suite.store.flush();
    suite.continued(&command, 1).await;
    sleep(Duration::from_secs(5)).await;
    suite.store.set_down(true);
    sleep(Duration::from_secs(5)).await;
    suite.store.set_down(false);
    suite.set_reading(true);
    events.is("continued").await;
    suite.succeeded(&command).await;
    events.is("succeeded").await;
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn while_the_tail_is_lost_the_view_is_polled() {
    let suite = Suite::start().await;
    let (a, first) = suite.job().await;
    let (b, _) = suite.job().await;
    suite.caught_up().await;
    let path = format!("/v1/events?job={a}&job={b}");
    let mut events = suite.request("GET", &path).token(MEMBER).open().await;
    events.is("snapshot").await;
    events.is("snapshot").await;
    suite.broker.set_down(true);
    eventually("the tail is lost", async || {
        !suite.app.doorbell.is_attached()
    })
    .await;
    suite.broker.set_down(false);
    suite.started(&first).await;
    suite.succeeded(&first).await;
    eventually("the tail is back", async || {
        suite.app.doorbell.is_attached()
    })
    .await;
    let begun = Instant::now();
    let started = events.is("started").await;
    // When it is back, everything is looked at.
    assert!(begun.elapsed() < Duration::from_secs(3), "{begun:?}");
    let succeeded = events.is("succeeded").await;
    assert_eq!(
        suite.history(&a).await[1..],
        [started.id.clone(), succeeded.id.clone()]
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_of_another_project_is_never_seen() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let nobodys = format!("{}{}", &id[..35], if id.ends_with('0') { '1' } else { '0' });
    let other = suite.post("/v1/jobs", super::support::create()).await;
    let other = other.json()["id"].as_str().unwrap().to_owned();
    suite.caught_up().await;
    for path in [
        format!("/v1/jobs/{id}/events"),
        format!("/v1/events?job={id}"),
        format!("/v1/events?job={other}&job={id}"),
    ] {
        let ask = async |path: String| {
            let call = suite.request("GET", &path).token(OTHER);
            let reply = call.header("Accept", "text/event-stream").send().await;
            let mut problem = reply.is_problem(404, "job-not-found");
            problem["request_id"].take();
            problem.to_string()
        };
        let foreign = ask(path.clone()).await;
        let absent = ask(path.replace(&id, &nobodys)).await;
        if !path.contains(&other) {
            assert_eq!(foreign.replace(&id, "ID"), absent.replace(&nobodys, "ID"));
        }
    }
    everything_is_free(&suite).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_followed_is_refused() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let many: Vec<_> = (0..51)
        .map(|n| format!("job={}{n:02}", &id[..34]))
        .collect();
    let sse = "text/event-stream";
    for (path, accept, status, slug) in [
        ("/v1/events?job=42", sse, 400, "bad-id"),
        ("/v1/events?job=", sse, 400, "bad-id"),
        (
            &*format!("/v1/events?{}", many.join("&")),
            sse,
            400,
            "bad-query",
        ),
        (
            &format!("/v1/events?job={id}&kind=vm.create"),
            sse,
            400,
            "bad-query",
        ),
        (
            &format!("/v1/events?job={id}&state=failed"),
            sse,
            400,
            "bad-query",
        ),
        ("/v1/events?state=INPROGRESS", sse, 400, "bad-query"),
        ("/v1/events?kind=nonsense", sse, 400, "bad-query"),
        ("/v1/events?jobs=1", sse, 400, "bad-query"),
        ("/v1/events?after=1&after=2", sse, 400, "bad-query"),
        ("/v1/events", "application/json", 406, "not-acceptable"),
        ("/v1/events", "text/html", 406, "not-acceptable"),
        ("/v1/jobs/42/events", sse, 400, "bad-id"),
        (
            &format!("/v1/jobs/{id}/events?limit=5"),
            sse,
            400,
            "bad-query",
        ),
        (
            &format!("/v1/jobs/{id}/events"),
            "text/html",
            406,
            "not-acceptable",
        ),
        (&format!("/v1/jobs/{id}"), sse, 406, "not-acceptable"),
        // No version that this system hands out.
        (
            "/v1/events?job=7fda68b7-b4de-45a6-99fd-57b019cf19ae",
            sse,
            404,
            "job-not-found",
        ),
    ] {
        let call = suite.request("GET", path).token(MEMBER);
        call.header("Accept", accept)
            .send()
            .await
            .is_problem(status, slug);
    }
    // Bytes that are no text, in a header that is only compared.
    let path = format!("/v1/jobs/{id}/events");
    let call = suite.request("GET", &path).token(MEMBER);
    let mut events = call.header("Last-Event-ID", b"\xff\xfe").open().await;
    events.is("snapshot").await;
}
