//! Jobs that nobody speaks of are said again: to the log, or to a queue that was emptied. On memory.
use std::time::Duration;

use crate::support::{World, until, value};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use tokio::time::timeout;
use vmctl_core::{
    JobState,
    bus::{Deliveries, LogStart, Message},
    children::{Join, OnFailure, Waits, child_id},
    clock::{self, Clock as _},
    event::{Event, EventType, JobSpec},
    fact::{JobFact, Retention},
    store::JobStore as _,
    topology::{Tier, Topology},
    unique::{Scope, Unique},
};

const HALF_A_DAY: Duration = Duration::from_hours(12);

/// Two days: longer than the log.
fn long_job(world: &World) -> JobSpec {
    let mut job = world.job();
    job.deadline = clock::add(world.clock.now(), Duration::from_hours(48));
    job
}

/// One that runs when those before it under its key have ended.
fn in_line(world: &World) -> JobSpec {
    let mut job = long_job(world);
    job.unique.push(Unique {
        key: "host:lx1".to_owned(),
        scope: Scope::Active,
        queue: true,
    });
    job
}

/// Lets time pass for everyone, with the marks of a server.
async fn pass(world: &World, time: Duration) {
    world.clock.advance(time);
    world.mark().await;
}

/// What the log holds of a type.
async fn said(world: &World, event_type: EventType) -> Vec<Event> {
    let mut log = world.bus.log.read(LogStart::First).await.unwrap();
    let mut found = Vec::new();
    while let Ok(entries) = timeout(Duration::from_millis(1), log.next_batch(1000)).await {
        let entries = entries.unwrap().into_iter();
        let events = entries.filter_map(|entry| Event::parse(&entry.message.body).ok());
        found.extend(events.filter(|event| event.event_type == event_type));
    }
    found
}

/// Publishes a command that a server has had confirmed.
async fn accept(world: &World, job: &JobSpec) -> Event {
    let command = world.event(job, EventType::Submitted, JobState::Queued);
    confirm(world, &command).await;
    command
}

async fn confirm(world: &World, command: &Event) {
    world.publish(command).await;
    let fact = JobFact {
        confirmed: true,
        ..JobFact::from_event(command.clone(), None, Retention::default())
    };
    world
        .store
        .prewrite(&fact, world.clock.now())
        .await
        .unwrap();
}

/// Deletes a work queue and declares it again, as somebody may who has the right to.
async fn empty(world: &World, queue: &str) {
    world.bus.admin.delete_queue(queue).await.unwrap();
    let topology = Topology::new(world.registry.kinds().map(|k| &k.kind));
    world.bus.admin.declare(&topology).await.unwrap();
}

async fn ready(world: &World) -> u64 {
    let stats = world.bus.admin.inspect("work.vm.create").await.unwrap();
    stats.unwrap().ready
}

/// Lets the reader look, for so long, at a view that is caught up.
async fn watched(world: &World, time: Duration) {
    for _ in 0..time.as_secs() / 5 {
        pass(world, Duration::from_secs(5)).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

const OLDEST: &str = "queue_oldest_age_seconds{queue=\"work.vm.create\"}";

#[tokio::test(start_paused = true)]
async fn how_long_the_oldest_job_has_waited_is_told_until_it_is_taken() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let seen = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let world = World::new().await;
    let reader = world.start("r1");
    let (first, second) = (long_job(&world), long_job(&world));
    accept(&world, &first).await;
    pass(&world, Duration::from_secs(120)).await;
    accept(&world, &second).await;
    watched(&world, Duration::from_secs(1200)).await;
    let told = value(&seen.render(), OLDEST);
    assert!((1300.0..1330.0).contains(&told), "{told} s");

    for job in [&first, &second] {
        let started = world.event(job, EventType::Started, JobState::Running);
        world.publish(&started).await;
    }
    watched(&world, Duration::from_secs(600)).await;
    let text = seen.render();
    assert!(value(&text, OLDEST).abs() < f64::EPSILON);
    assert!(value(&text, "cache_rebuild_seconds_count") >= 1.0);
    assert!(value(&text, "lease_lost_total").abs() < f64::EPSILON);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_run_again_has_waited_since_then() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let seen = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let world = World::new().await;
    let reader = world.start("r1");
    let job = long_job(&world);
    accept(&world, &job).await;
    world.end(&job, EventType::Failed, JobState::Failed).await;
    world.until(job.id, JobState::Failed).await;
    pass(&world, Duration::from_hours(1)).await;

    let mut again = world.event(&job, EventType::Redriven, JobState::Queued);
    again.data.epoch = 1;
    confirm(&world, &again).await;
    watched(&world, Duration::from_secs(900)).await;
    let told = value(&seen.render(), OLDEST);
    assert!((880.0..930.0).contains(&told), "{told} s");

    // An attempt that failed and is tried again has had its worker.
    for (event_type, state, attempt) in [
        (EventType::Started, JobState::Running, 1),
        (EventType::Retry, JobState::Retrying, 2),
    ] {
        let mut event = world.event(&job, event_type, state);
        event.data.epoch = 1;
        event.data.attempt = attempt;
        world.publish(&event).await;
    }
    world.until(job.id, JobState::Retrying).await;
    watched(&world, Duration::from_secs(900)).await;
    assert!(value(&seen.render(), OLDEST).abs() < f64::EPSILON);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_job_is_kept_and_comes_back_from_a_log_that_has_only_that() {
    let world = World::new().await;
    let reader = world.start("r1");
    let (queued, running) = (long_job(&world), long_job(&world));
    let started = world.event(&running, EventType::Started, JobState::Running);
    accept(&world, &queued).await;
    accept(&world, &running).await;
    world.publish(&started).await;
    world
        .say(&queued, EventType::CancelRequested, JobState::Queued)
        .await;
    world.until(running.id, JobState::Running).await;
    watched(&world, Duration::from_secs(600)).await;
    assert!(said(&world, EventType::Kept).await.is_empty());

    pass(&world, HALF_A_DAY).await;
    watched(&world, Duration::from_secs(600)).await;
    let kept = said(&world, EventType::Kept).await;
    assert_eq!(kept.len(), 2, "each is kept once");
    let before = [
        world.record(queued.id).await,
        world.record(running.id).await,
    ];
    let winner = before[1].as_ref().unwrap().winner.as_ref().unwrap();
    assert_eq!(
        (winner.id, winner.event_type),
        (started.id, EventType::Started)
    );
    let story = world.store.story(running.id).await.unwrap();
    assert_eq!(story.history.last().unwrap().event.event_type, "kept");

    // Another half of a day, and it is said again.
    pass(&world, HALF_A_DAY).await;
    watched(&world, Duration::from_secs(600)).await;
    let kept = said(&world, EventType::Kept).await;
    assert_eq!(kept.len(), 4);
    reader.stop().await;

    world.store.flush();
    let later = world.with_new_broker().await;
    for event in &kept[2..] {
        later.publish(event).await;
    }
    let reader = later.start("r2");
    later.until(running.id, JobState::Running).await;
    later.until(queued.id, JobState::Queued).await;
    for (job, before) in [queued, running].iter().zip(before) {
        let (now, before) = (later.record(job.id).await.unwrap(), before.unwrap());
        assert_eq!(now.etag(), before.etag());
        assert_eq!(now.to_job(), before.to_job());
        assert!(now.is_accepted());
    }
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_was_kept_is_woken_with_its_whole_command() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut parent = world.event(&long_job(&world), EventType::Continued, JobState::Waiting);
    parent.data.seq = 3;
    parent.data.children = vec!["a".to_owned()];
    parent.data.waits = Some(Waits {
        children: vec!["a".to_owned()],
        join: Join::All,
        on_failure: OnFailure::FailFast,
        until: None,
        shielded: false,
        looks: 2,
        decided: false,
    });
    parent.data.checkpoint = Some(json!({"at": 1}));
    let later = clock::add(world.clock.now(), Duration::from_hours(40));
    parent.data.not_before = Some(later);
    let message = parent.to_delayed_message(Tier::H6);
    world.bus.publisher.publish(message).await.unwrap();
    world.until(parent.subject, JobState::Waiting).await;
    pass(&world, HALF_A_DAY).await;
    watched(&world, Duration::from_secs(600)).await;
    let kept = said(&world, EventType::Kept).await;
    reader.stop().await;

    // The view is lost, and the log holds nothing but that.
    world.store.flush();
    let world = world.with_new_broker().await;
    world.publish(&kept[0]).await;
    let reader = world.start("r2");
    world.until(parent.subject, JobState::Waiting).await;
    let consumer = &world.bus.consumer;
    let mut work = consumer.consume("work.vm.create", 9).await.unwrap();
    let child = JobSpec {
        id: child_id(parent.subject, 0, "a"),
        kind: "vm.delete".parse().unwrap(),
        parent_id: Some(parent.subject),
        ..world.job()
    };
    world
        .say(&child, EventType::Succeeded, JobState::Succeeded)
        .await;
    let woken = timeout(Duration::from_secs(20), work.next()).await.unwrap();
    let woken = Event::parse(&woken.unwrap().message.body).unwrap();
    assert_eq!((woken.id, woken.event_type), (parent.id, parent.event_type));
    parent.data.not_before = None;
    assert_eq!(woken.data, parent.data);
    reader.stop().await;
}

/// Takes the next command from the work queue; `None` when none comes in a minute.
async fn next(work: &mut Box<dyn Deliveries>) -> Option<Event> {
    let delivery = timeout(Duration::from_secs(60), work.next()).await.ok()??;
    let command = Event::parse(&delivery.message.body).unwrap();
    delivery.ack().await.unwrap();
    Some(command)
}

#[tokio::test(start_paused = true)]
async fn jobs_in_line_keep_their_turns_in_a_log_that_has_only_what_keeps_them() {
    let world = World::new().await;
    let reader = world.start("r1");
    let jobs: Vec<_> = (0..3).map(|_| in_line(&world)).collect();
    for job in &jobs {
        accept(&world, job).await;
    }
    world.mark().await;
    let consumer = &world.bus.consumer;
    let mut work = consumer.consume("work.vm.create", 9).await.unwrap();
    assert_eq!(next(&mut work).await.unwrap().subject, jobs[0].id);
    world
        .say(&jobs[0], EventType::Started, JobState::Running)
        .await;
    world.until(jobs[0].id, JobState::Running).await;
    pass(&world, HALF_A_DAY).await;
    watched(&world, Duration::from_secs(600)).await;
    assert_eq!(next(&mut work).await, None);
    let kept = said(&world, EventType::Kept).await;
    assert_eq!(kept.len(), 3);
    reader.stop().await;

    // The view is lost, and the log has forgotten the rest. Its places go on.
    world.store.flush();
    let world = world.with_new_broker().await;
    let earlier = world.clock.now().checked_sub(HALF_A_DAY / 2).unwrap();
    for _ in 0..30 {
        world.mark_of("s1", earlier).await;
    }
    let last = in_line(&world);
    accept(&world, &last).await;
    let reader = world.start("r2");
    let consumer = &world.bus.consumer;
    let mut work = consumer.consume("work.vm.create", 9).await.unwrap();
    world.until(last.id, JobState::Queued).await;
    // Who is before it may be in what is still to be read.
    assert_eq!(next(&mut work).await, None);
    for event in kept.iter().rev() {
        world.publish(event).await;
    }
    world.until(jobs[0].id, JobState::Running).await;
    world.mark().await;
    assert_eq!(next(&mut work).await, None);
    world
        .say(&jobs[0], EventType::Succeeded, JobState::Succeeded)
        .await;
    for job in jobs[1..].iter().chain([&last]) {
        world.mark().await;
        let command = next(&mut work).await.unwrap();
        assert_eq!((command.subject, command.data.turn), (job.id, true));
        world
            .end(job, EventType::Succeeded, JobState::Succeeded)
            .await;
    }
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_queue_was_emptied_is_queued_again_under_its_id() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = long_job(&world);
    let command = accept(&world, &job).await;
    // Nobody has confirmed it; this one runs; this one is for later.
    world.submit().await;
    let running = long_job(&world);
    accept(&world, &running).await;
    world
        .say(&running, EventType::Started, JobState::Running)
        .await;
    let mut scheduled = long_job(&world);
    scheduled.run_at = Some(clock::add(world.clock.now(), Duration::from_hours(3)));
    accept(&world, &scheduled).await;
    watched(&world, Duration::from_secs(900)).await;
    assert_eq!(ready(&world).await, 4, "nothing is missing");

    empty(&world, "work.vm.create").await;
    watched(&world, Duration::from_secs(290)).await;
    assert_eq!(ready(&world).await, 0, "not yet");
    watched(&world, Duration::from_secs(30)).await;
    assert_eq!(ready(&world).await, 1);
    let consumer = &world.bus.consumer;
    let mut work = consumer.consume("work.vm.create", 9).await.unwrap();
    let delivery = work.next().await.unwrap();
    let again = Event::parse(&delivery.message.body).unwrap();
    assert_eq!((again.id, again.time), (command.id, command.time));
    assert_eq!(
        (again.event_type, &again.data),
        (command.event_type, &command.data)
    );
    // In a worker's hand it cannot be seen: it comes once more, but not all the time.
    watched(&world, Duration::from_secs(290)).await;
    assert_eq!(said(&world, EventType::Submitted).await.len(), 5);
    world.say(&job, EventType::Started, JobState::Running).await;
    world.until(job.id, JobState::Running).await;
    watched(&world, Duration::from_secs(900)).await;
    assert_eq!(said(&world, EventType::Submitted).await.len(), 5);
    // What is read from the log again is what was there.
    let record = world.record(job.id).await.unwrap();
    assert_eq!(record.state(), Some(JobState::Running));
    drop(delivery);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_part_of_a_job_is_queued_again_too() {
    let world = World::new().await;
    let reader = world.start("r1");
    let child = JobSpec {
        parent_id: Some(world.job().id),
        ..long_job(&world)
    };
    world
        .say(&child, EventType::Submitted, JobState::Queued)
        .await;
    world.until(child.id, JobState::Queued).await;
    empty(&world, "work.vm.create").await;
    watched(&world, Duration::from_secs(900)).await;
    assert_eq!(ready(&world).await, 1);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_lags_or_has_lost_the_broker_says_nothing_again() {
    let world = World::new().await;
    let reader = world.start("r1");
    accept(&world, &long_job(&world)).await;
    watched(&world, Duration::from_secs(30)).await;
    empty(&world, "work.vm.create").await;
    // No mark comes: what has become of the job may be among what is unread.
    for _ in 0..200 {
        world.clock.advance(Duration::from_secs(300));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(ready(&world).await, 0);
    assert!(said(&world, EventType::Kept).await.is_empty());
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_keeps_something_impossible_is_put_aside() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = long_job(&world);
    accept(&world, &job).await;
    pass(&world, HALF_A_DAY).await;
    until("it is kept", async || {
        pass(&world, Duration::from_secs(5)).await;
        !said(&world, EventType::Kept).await.is_empty()
    })
    .await;
    let kept = said(&world, EventType::Kept).await.remove(0);
    let broken = |change: fn(&mut serde_json::Value)| -> Message {
        let mut body = serde_json::to_value(&kept).unwrap();
        change(&mut body["data"]["kept"]);
        let mut message = kept.to_message();
        message.body = body.to_string().into_bytes().into();
        message
    };
    for message in [
        broken(|kept| kept["type"] = json!("jobs.succeeded.v1")),
        broken(|kept| kept["type"] = json!("jobs.kept.v1")),
        broken(|kept| kept["time"] = json!("2999-01-01T00:00:00Z")),
        broken(|kept| kept["described"] = json!(7)),
    ] {
        world.bus.publisher.publish(message).await.unwrap();
    }
    let partition = vmctl_core::partition::Partition::of(job.id);
    until("all are put aside", async || {
        world.store.bad(partition).len() == 4
    })
    .await;
    assert_eq!(world.state(job.id).await, Some(JobState::Queued));
    reader.stop().await;
}
