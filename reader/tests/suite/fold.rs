//! The reader, whole, on memory backends.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{World, until};
use async_trait::async_trait;
use jiff::Timestamp;
use vmctl_core::{
    JobState, LogStream, Progress,
    bus::{Bus, BusError, Log, LogEntry, LogReader, LogStart},
    clock::{self, Clock as _},
    event::{EventType, SaidLine},
    lines::MAX_LINE,
    partition::{PARTITIONS, Partition},
    store::JobStore as _,
};

#[tokio::test(start_paused = true)]
async fn entries_become_records_and_positions_move() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.until(job.id, JobState::Queued).await;
    world.say(&job, EventType::Started, JobState::Running).await;
    world.until(job.id, JobState::Running).await;
    let end = world
        .say(&job, EventType::Succeeded, JobState::Succeeded)
        .await;
    world.until(job.id, JobState::Succeeded).await;

    let record = world.record(job.id).await.unwrap();
    assert_eq!(record.winner.as_ref().unwrap().id, end);
    assert_eq!(record.confirmed, None, "only a server knows of a confirm");
    let words: Vec<_> = world
        .store
        .story(job.id)
        .await
        .unwrap()
        .history
        .into_iter()
        .map(|entry| entry.event.event_type)
        .collect();
    assert_eq!(words, ["submitted", "started", "succeeded"]);
    let listed = world.store.list("demo", None, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, job.id);

    let time = world.mark().await;
    until("every partition passed the mark", async || {
        let states = world.store.partitions().await.unwrap();
        states.iter().all(|state| state.newest_mark == Some(time))
    })
    .await;
    assert_eq!(reader.status.get().held, usize::from(PARTITIONS));
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_flushed_view_comes_back_by_itself() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut jobs = Vec::new();
    for _ in 0..50 {
        jobs.push(world.submit().await);
    }
    for job in &jobs {
        world.until(job.id, JobState::Queued).await;
    }
    world.mark().await;
    world.store.flush();
    assert_eq!(world.state(jobs[0].id).await, None);
    // The next mark meets a partition that stands elsewhere.
    world.mark().await;
    for job in &jobs {
        world.until(job.id, JobState::Queued).await;
    }
    reader.stop().await;
}

/// Counts how often somebody begins to read where something was read before.
struct Counted {
    log: Arc<dyn Log>,
    reads: AtomicUsize,
}

#[async_trait]
impl Log for Counted {
    async fn read(&self, start: LogStart) -> Result<Box<dyn LogReader>, BusError> {
        if matches!(start, LogStart::Offset(_)) {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        self.log.read(start).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_written_without_an_answer_is_not_read_again() {
    let world = World::new().await;
    let log = Arc::new(Counted {
        log: Arc::clone(&world.bus.log),
        reads: AtomicUsize::new(0),
    });
    let bus = Bus {
        log: Arc::clone(&log) as _,
        ..world.bus.clone()
    };
    let reader = world.start_on("r1", bus);
    let first = world.submit().await;
    world.until(first.id, JobState::Queued).await;
    let reads = log.reads.load(Ordering::Relaxed);
    for _ in 0..3 {
        world.store.lose_next_answers(1);
        let job = world.submit().await;
        world.until(job.id, JobState::Queued).await;
        let later = world.submit().await;
        world.until(later.id, JobState::Queued).await;
    }
    assert_eq!(log.reads.load(Ordering::Relaxed), reads);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_the_last_reader_was() {
    let world = World::new().await;
    let reader = world.start("r1");
    let first = world.submit().await;
    world.until(first.id, JobState::Queued).await;
    reader.stop().await;
    let second = world.submit().await;
    let reader = world.start("r2");
    world.until(second.id, JobState::Queued).await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_readers_share_and_one_takes_over() {
    let world = World::new().await;
    let (one, two) = (world.start("r1"), world.start("r2"));
    let half = usize::from(PARTITIONS) / 2;
    until("an even share", async || {
        one.status.get().held == half && two.status.get().held == half
    })
    .await;
    let mut jobs = Vec::new();
    for _ in 0..50 {
        jobs.push(world.submit().await);
    }
    for job in &jobs {
        world.until(job.id, JobState::Queued).await;
    }
    one.kill();
    // The lease of the dead one lapses by the store's clock.
    for job in &jobs {
        world
            .end(job, EventType::Succeeded, JobState::Succeeded)
            .await;
    }
    world.clock.advance(Duration::from_secs(10));
    for job in &jobs {
        world.until(job.id, JobState::Succeeded).await;
    }
    assert_eq!(two.status.get().held, usize::from(PARTITIONS));
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_recreated_log_is_noticed_shorter_or_longer() {
    for filler in [0, 200] {
        let old = World::new().await;
        let reader = old.start("r1");
        let mut last = old.submit().await;
        for _ in 0..100 {
            last = old.submit().await;
        }
        old.mark().await;
        old.until(last.id, JobState::Queued).await;
        reader.stop().await;

        let new = old.with_new_broker().await;
        let early = new.submit().await;
        for _ in 0..filler {
            new.submit().await;
        }
        let reader = new.start("r1");
        new.mark().await;
        new.until(early.id, JobState::Queued).await;
        // What the view had from the old log stays.
        assert_eq!(new.state(last.id).await, Some(JobState::Queued));
        reader.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_loses_nothing() {
    let world = World::new().await;
    let reader = world.start("r1");
    let before = world.submit().await;
    world.until(before.id, JobState::Queued).await;
    world.store.set_down(true);
    let during = world.submit().await;
    until("the reader says so", async || {
        reader.status.get().trouble.is_some()
    })
    .await;
    world.store.set_down(false);
    world.until(during.id, JobState::Queued).await;
    until("the trouble is over", async || {
        reader.status.get().trouble.is_none()
    })
    .await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_cannot_declare_its_queues_is_not_ready() {
    let world = World::new().await;
    world.broker.set_down(true);
    let reader = world.start("r1");
    until("the reader says so", async || {
        let trouble = reader.status.not_ready(Duration::MAX);
        trouble.is_some_and(|trouble| trouble.starts_with("the topology is not declared yet: "))
    })
    .await;
    world.broker.set_down(false);
    until("it is ready", async || {
        reader.status.not_ready(Duration::MAX).is_none()
    })
    .await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_loses_nothing() {
    let world = World::new().await;
    let reader = world.start("r1");
    let before = world.submit().await;
    world.until(before.id, JobState::Queued).await;
    world.broker.break_connections();
    let after = world.submit().await;
    world.until(after.id, JobState::Queued).await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejected_command_fails_its_job_even_if_nobody_can_read_it() {
    let world = World::new().await;
    let reader = world.start("r1");
    let good = world.job();
    let bad = world.job();
    world
        .publish(&world.event(&good, EventType::Submitted, JobState::Queued))
        .await;
    let mut broken = world
        .event(&bad, EventType::Submitted, JobState::Queued)
        .to_message();
    broken.body = "{".into();
    world.bus.publisher.publish(broken).await.unwrap();
    let mut deliveries = world
        .bus
        .consumer
        .consume("work.vm.create", 10)
        .await
        .unwrap();
    for _ in 0..2 {
        deliveries.next().await.unwrap().reject().await.unwrap();
    }
    world.until(good.id, JobState::Failed).await;
    world.until(bad.id, JobState::Failed).await;
    let error = |record: vmctl_core::record::Record| record.winner.unwrap().body.error.unwrap();
    let refused = error(world.record(good.id).await.unwrap());
    assert_eq!(refused.error_type, "rejected");
    let unreadable = error(world.record(bad.id).await.unwrap());
    assert_eq!(unreadable.error_type, "malformed");
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_nobody_understands_is_kept_and_passed() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.job();
    let mut strange = world
        .event(&job, EventType::Started, JobState::Running)
        .to_message();
    strange.body = br#"{"specversion":"2.0"}"#.as_slice().into();
    world.bus.publisher.publish(strange).await.unwrap();
    let next = world.submit().await;
    world.until(next.id, JobState::Queued).await;
    let partition = vmctl_core::partition::Partition::of(job.id);
    until("the entry is kept aside", async || {
        world.store.bad(partition).len() == 1
    })
    .await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn progress_reaches_live_records() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.say(&job, EventType::Started, JobState::Running).await;
    world.until(job.id, JobState::Running).await;
    let mut tick = world.event(&job, EventType::Progress, JobState::Running);
    tick.data.tick = Some(1);
    tick.data.progress = Some(Progress {
        percent: 40,
        step: "boot".into(),
        step_number: Some(5),
        steps: Some(6),
        message: None,
        at: world.clock.now(),
    });
    until("the progress shows", async || {
        // A tick may be lost, for one before the reader has subscribed.
        let sent = world.bus.publisher.publish_tick(tick.to_message()).await;
        sent.unwrap();
        let record = world.record(job.id).await.unwrap();
        record.progress().is_some_and(|p| p.percent == 40)
    })
    .await;
    reader.stop().await;
}

fn says(n: u32, at: Timestamp, text: &str) -> SaidLine {
    SaidLine {
        n,
        at,
        stream: LogStream::Stdout,
        text: text.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn lines_reach_the_log_of_their_job_and_hostile_ones_do_no_harm() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.say(&job, EventType::Started, JobState::Running).await;
    world.until(job.id, JobState::Running).await;
    let now = world.clock.now();
    let mut event = world.event(&job, EventType::Log, JobState::Running);
    event.data.lines = vec![says(1, now, "one"), says(2, now, "two")];
    let texts = async || {
        let lines = world.store.lines(job.id).await.unwrap();
        lines.into_iter().map(|l| l.text).collect::<Vec<_>>()
    };
    until("the lines show", async || {
        let sent = world.bus.publisher.publish_tick(event.to_message()).await;
        sent.unwrap();
        texts().await == ["one", "two"]
    })
    .await;

    // A message of another shape, another job's name in the properties, a job that nobody knows.
    let mut broken = event.to_message();
    broken.body = b"{\"data\":{\"lines\":7}}".to_vec().into();
    let mut foreign = event.clone();
    foreign.data.job.id = world.job().id;
    let mut two_jobs = foreign.to_message();
    two_jobs.correlation_id = job.id.to_string();
    foreign.subject = foreign.data.job.id;
    let mut future = event.clone();
    let later = "2999-01-01T00:00:00Z".parse().unwrap();
    let huge = "x".repeat(100_000);
    future.data.lines = vec![says(3, later, "\0\u{1b}[2J"), says(4, later, &huge)];
    for message in [broken, two_jobs, foreign.to_message(), future.to_message()] {
        world.bus.publisher.publish_tick(message).await.unwrap();
    }
    until("the honest part shows", async || texts().await.len() == 4).await;
    let lines = world.store.lines(job.id).await.unwrap();
    assert!(lines.iter().all(|line| line.time <= world.clock.now()));
    assert_eq!(lines[3].text.len(), MAX_LINE);
    assert_eq!(world.store.lines(foreign.subject).await.unwrap(), []);

    // What was said last comes after the end, and is not lost.
    world
        .say(&job, EventType::Succeeded, JobState::Succeeded)
        .await;
    world.until(job.id, JobState::Succeeded).await;
    event.data.lines = vec![says(5, now, "bye")];
    let sent = world.bus.publisher.publish_tick(event.to_message()).await;
    sent.unwrap();
    until("the last line shows", async || {
        texts().await.last().is_some_and(|text| text == "bye")
    })
    .await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_sweep_ends_what_nobody_has_ended() {
    let world = World::new().await;
    let reader = world.start("r1");
    let untouched = world.submit().await;
    let started = world.submit().await;
    world
        .say(&started, EventType::Started, JobState::Running)
        .await;
    // All that is left in the log of a job with many slices.
    let mut continued = world.event(&world.job(), EventType::Continued, JobState::Running);
    continued.data.seq = 40;
    let sliced = continued.data.job.clone();
    world.publish(&continued).await;
    world.until(untouched.id, JobState::Queued).await;
    world.until(started.id, JobState::Running).await;
    world.until(sliced.id, JobState::Running).await;

    // Clocks and marks may differ by that much.
    world.clock.advance(Duration::from_secs(3600 + 29));
    world.mark().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.state(untouched.id).await, Some(JobState::Queued));
    world.clock.advance(Duration::from_secs(2));
    world.mark().await;
    world.until(untouched.id, JobState::Failed).await;

    // What a worker has begun is still the worker's to end for a while.
    world.clock.advance(Duration::from_secs(268));
    world.mark().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.state(started.id).await, Some(JobState::Running));
    assert_eq!(world.state(sliced.id).await, Some(JobState::Running));
    world.clock.advance(Duration::from_secs(2));
    world.mark().await;
    world.until(started.id, JobState::Failed).await;
    world.until(sliced.id, JobState::Failed).await;
    let mut types = Vec::new();
    for job in [&untouched, &started, &sliced] {
        let winner = world.record(job.id).await.unwrap().winner.unwrap();
        assert_eq!(winner.event_type, EventType::Deadline);
        types.push(winner.body.error.unwrap().error_type);
    }
    assert_eq!(types, ["deadline", "outcome-unknown", "outcome-unknown"]);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_lags_sweeps_nothing() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut job = world.job();
    job.deadline = clock::add(world.clock.now(), Duration::from_secs(1));
    world
        .publish(&world.event(&job, EventType::Submitted, JobState::Queued))
        .await;
    world.mark().await;
    world.until(job.id, JobState::Queued).await;
    // Time goes on and no newer mark has been folded: the job's end may be among what is unread.
    world.clock.advance(Duration::from_secs(3600));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(world.state(job.id).await, Some(JobState::Queued));
    world.mark().await;
    world.until(job.id, JobState::Failed).await;
    reader.stop().await;
}

/// A log that gives nothing to who reads it first from some place on.
struct SlowOnce {
    log: Arc<dyn Log>,
    slow: AtomicBool,
}

struct Nothing;

#[async_trait]
impl LogReader for Nothing {
    async fn next_batch(&mut self, _most: usize) -> Result<Vec<LogEntry>, BusError> {
        std::future::pending().await
    }
}

#[async_trait]
impl Log for SlowOnce {
    async fn read(&self, start: LogStart) -> Result<Box<dyn LogReader>, BusError> {
        if matches!(start, LogStart::Offset(_)) && self.slow.swap(false, Ordering::Relaxed) {
            return Ok(Box::new(Nothing));
        }
        self.log.read(start).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_slow_once_voids_no_position() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.until(job.id, JobState::Queued).await;
    reader.stop().await;
    let since = async || {
        let states = world.store.partitions().await.unwrap();
        states.into_iter().map(|s| s.since).collect::<Vec<_>>()
    };
    let before = since().await;
    world.clock.advance(Duration::from_secs(1));
    let log = Arc::new(SlowOnce {
        log: Arc::clone(&world.bus.log),
        slow: AtomicBool::new(true),
    });
    let bus = Bus {
        log: log.clone(),
        ..world.bus.clone()
    };
    let reader = world.start_on("r2", bus);
    let own = Partition::of(job.id).index();
    world.say(&job, EventType::Started, JobState::Running).await;
    world.until(job.id, JobState::Running).await;
    assert!(!log.slow.load(Ordering::Relaxed));
    assert_eq!(since().await[own], before[own]);
    reader.stop().await;
}
