//! What a hostile or broken worker says on the bus, and jobs that nobody starts.

use std::{collections::BTreeSet, time::Duration};

use crate::support::{World, until};
use jiff::Timestamp;
use vmctl_core::{
    JobState,
    clock::{self, Clock as _, from_unix_ms},
    event::{Event, EventType, MAX_COUNT},
    partition::Partition,
    store::{FoldStore as _, JobStore as _, PartitionBatch, PartitionState, Position},
};

/// Publishes something that must change nothing, and waits until it has been read.
async fn nothing_comes_of(world: &World, told: Event) {
    let before = world.record(told.subject).await.unwrap();
    world.publish(&told).await;
    // Whatever was published after it has been folded after it.
    let mut after = world.job();
    while Partition::of(after.id) != Partition::of(told.subject) {
        after = world.job();
    }
    world
        .say(&after, EventType::Submitted, JobState::Queued)
        .await;
    world.until(after.id, JobState::Queued).await;
    let now = world.record(told.subject).await;
    assert_eq!(now, Some(before), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_moves_a_job_to_another_project_or_kind() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.until(job.id, JobState::Queued).await;
    for (event_type, state, epoch) in [
        (EventType::Succeeded, JobState::Succeeded, 0),
        (EventType::Submitted, JobState::Queued, 0),
        (EventType::Redriven, JobState::Queued, 7),
        (EventType::CancelRequested, JobState::Queued, 0),
    ] {
        let mut project = world.event(&job, event_type, state);
        project.data.epoch = epoch;
        project.data.job.auth.project_id = "evil".into();
        project.data.job.created_at = from_unix_ms(1_794_999_999_000);
        nothing_comes_of(&world, project).await;
        let mut kind = world.event(&job, event_type, state);
        kind.data.epoch = epoch;
        kind.data.job.kind = "vm.delete".parse().unwrap();
        nothing_comes_of(&world, kind).await;
    }
    world
        .end(&job, EventType::Succeeded, JobState::Succeeded)
        .await;
    world.until(job.id, JobState::Succeeded).await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_time_of_a_message_makes_or_unmakes_a_record() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.until(job.id, JobState::Queued).await;
    let century = from_unix_ms(32_472_144_000_000);
    for time in [from_unix_ms(0), century] {
        let mut end = world.event(&job, EventType::Succeeded, JobState::Succeeded);
        end.time = time;
        nothing_comes_of(&world, end).await;
    }
    let mut eternal = world.event(&job, EventType::Redriven, JobState::Queued);
    eternal.data.epoch = 1;
    eternal.data.job.deadline = century;
    nothing_comes_of(&world, eternal).await;
    assert_eq!(world.store.bad(Partition::of(job.id)).len(), 3);
    reader.stop().await;
}

/// What a worker says that does not hold the job, of a job that waits for its hour.
#[tokio::test(start_paused = true)]
async fn nobody_ends_a_job_that_no_worker_has_begun() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut job = world.job();
    job.run_at = Some(clock::add(world.clock.now(), Duration::from_secs(1800)));
    world
        .say(&job, EventType::Submitted, JobState::Queued)
        .await;
    world.until(job.id, JobState::Queued).await;
    for (event_type, state) in [
        (EventType::Succeeded, JobState::Succeeded),
        (EventType::Failed, JobState::Failed),
        (EventType::Cancelled, JobState::Cancelled),
        (EventType::Deadline, JobState::Failed),
        (EventType::Started, JobState::Running),
        (EventType::Continued, JobState::Running),
    ] {
        nothing_comes_of(&world, world.event(&job, event_type, state)).await;
        // Nor when it leaves out that the job is scheduled.
        let mut forged = world.event(&job, event_type, state);
        forged.data.job.run_at = None;
        nothing_comes_of(&world, forged).await;
    }
    assert_eq!(world.store.bad(Partition::of(job.id)).len(), 12);
    // A flush and a rebuild find the same.
    world.store.flush();
    world.mark().await;
    world.until(job.id, JobState::Queued).await;
    assert_eq!(world.store.bad(Partition::of(job.id)).len(), 12);
    // Its own worker at its hour.
    world.clock.advance(Duration::from_secs(1800));
    world
        .end(&job, EventType::Succeeded, JobState::Succeeded)
        .await;
    world.until(job.id, JobState::Succeeded).await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_but_its_command_opens_an_epoch() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.end(&job, EventType::Failed, JobState::Failed).await;
    world.until(job.id, JobState::Failed).await;
    let said = |event_type, state, epoch| {
        let mut event = world.event(&job, event_type, state);
        event.data.epoch = epoch;
        event
    };
    for epoch in [1, MAX_COUNT] {
        for (event_type, state) in [
            (EventType::Failed, JobState::Failed),
            (EventType::Started, JobState::Running),
            (EventType::CancelRequested, JobState::Failed),
        ] {
            nothing_comes_of(&world, said(event_type, state, epoch)).await;
        }
    }
    nothing_comes_of(
        &world,
        said(EventType::Redriven, JobState::Queued, MAX_COUNT),
    )
    .await;
    let again = said(EventType::Redriven, JobState::Queued, 1);
    world.publish(&again).await;
    world.until(job.id, JobState::Queued).await;
    world
        .publish(&said(EventType::Started, JobState::Running, 1))
        .await;
    world
        .publish(&said(EventType::Succeeded, JobState::Succeeded, 1))
        .await;
    world.until(job.id, JobState::Succeeded).await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_begins_in_the_middle_of_a_run_is_believed() {
    let world = World::new().await;
    let job = world.job();
    let mut end = world.event(&job, EventType::Succeeded, JobState::Succeeded);
    end.data.epoch = 3;
    world.publish(&end).await;
    let reader = world.start("r1");
    world.until(job.id, JobState::Succeeded).await;

    // The log is another one, and lacks that a worker has begun the job.
    let begun = world.submit().await;
    world.until(begun.id, JobState::Queued).await;
    reader.stop().await;
    world.clock.advance(Duration::from_secs(1));
    let new = world.with_new_broker().await;
    new.mark().await;
    let reader = new.start("r2");
    new.say(&begun, EventType::Succeeded, JobState::Succeeded)
        .await;
    new.until(begun.id, JobState::Succeeded).await;
    reader.stop().await;
}

/// The newest mark of every partition; `None` while they differ.
async fn newest_mark(world: &World) -> Option<Timestamp> {
    let states = world.store.partitions().await.unwrap();
    let newest: BTreeSet<_> = states.iter().map(|state| state.newest_mark).collect();
    (newest.len() == 1)
        .then(|| newest.first().copied())
        .flatten()
        .flatten()
}

#[tokio::test(start_paused = true)]
async fn marks_from_the_future_are_put_aside() {
    let world = World::new().await;
    let reader = world.start("r1");
    let now = world.clock.now();
    let later = |seconds| clock::add(now, Duration::from_secs(seconds));
    let passed = async |mark| {
        until("every partition has passed it", async || {
            newest_mark(&world).await == Some(mark)
        })
        .await;
    };
    world.mark_of("honest", now).await;
    passed(now).await;
    let century = from_unix_ms(32_472_144_000_000);
    for (server, time) in [
        ("fast", later(7200)),
        ("evil", century),
        ("honest", century),
    ] {
        world.mark_of(server, time).await;
    }
    // Clocks differ a little; and of a server that is far behind, the mark is only old.
    let slow = later(0) - Duration::from_secs(3000);
    world.mark_of("slow", slow).await;
    world.mark_of("honest", later(9)).await;
    // Also when the view is built again.
    for _ in 0..2 {
        passed(later(9)).await;
        let states = world.store.partitions().await.unwrap();
        let servers = |state: &PartitionState| state.marks.keys().cloned().collect::<Vec<_>>();
        assert!(states.iter().all(|s| servers(s) == ["honest", "slow"]));
        let bad: usize = Partition::all().map(|p| world.store.bad(p).len()).sum();
        assert_eq!(bad, 3, "visible, and once");
        world.store.flush();
        world.mark_of("slow", slow).await;
    }
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_mark_from_the_future_stops_no_sweep() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.until(job.id, JobState::Queued).await;
    world
        .mark_of(
            "evil",
            clock::add(world.clock.now(), Duration::from_secs(86_400)),
        )
        .await;
    world.clock.advance(Duration::from_secs(3600 + 301));
    world.mark().await;
    world.until(job.id, JobState::Failed).await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_older_reader_has_believed_is_forgotten() {
    let world = World::new().await;
    let century = from_unix_ms(32_472_144_000_000);
    let batches = Partition::all().map(|partition| PartitionBatch {
        partition,
        expected: None,
        position: Position {
            offset: 0,
            id: "gone".into(),
        },
        facts: Vec::new(),
        steps: Vec::new(),
        marks: vec![("evil".into(), century)],
        bad: Vec::new(),
        first_time: None,
    });
    // By a clock that is far ahead.
    let folded = world.store.fold(batches.collect(), century).await;
    folded.unwrap();
    assert_eq!(newest_mark(&world).await, Some(century));
    let reader = world.start("r1");
    let mark = world.mark().await;
    until("the view has honest marks only", async || {
        newest_mark(&world).await == Some(mark)
    })
    .await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn t11_poison_ends_as_failed_with_its_reason_and_stops_nobody() {
    let world = World::new().await;
    let reader = world.start("r1");
    let (poison, major, loops) = (world.submit().await, world.job(), world.submit().await);
    // What lies in the queue of a kind and is no command of ours, under the job's id.
    for (job, body) in [
        (&poison, "not JSON".to_owned()),
        (
            &major,
            r#"{"specversion":"1.0","type":"jobs.submitted.v2"}"#.to_owned(),
        ),
    ] {
        let mut message = world
            .event(job, EventType::Submitted, JobState::Queued)
            .to_message();
        message.body = body.into_bytes().into();
        world.bus.publisher.publish(message).await.unwrap();
    }
    let consumer = &world.bus.consumer;
    let mut work = consumer.consume("work.vm.create", 10).await.unwrap();
    // A worker that goes down each time: the broker gives up after six deliveries.
    let mut starts = 0;
    while starts < 6 {
        let delivery = work.next().await.unwrap();
        let body = &delivery.message.body;
        match Event::parse(body) {
            Err(_) => drop(delivery.reject().await),
            Ok(event) if event.subject == loops.id => {
                starts += 1;
                drop(delivery.requeue().await);
            }
            Ok(_) => drop(delivery.ack().await),
        }
    }
    world.until(loops.id, JobState::Failed).await;
    world.until(poison.id, JobState::Failed).await;
    let error = |record: vmctl_core::record::Record| record.winner.unwrap().body.error.unwrap();
    let record = world.record(loops.id).await.unwrap();
    assert_eq!(error(record).error_type, "delivery-limit");
    let record = world.record(poison.id).await.unwrap();
    assert_eq!(error(record).error_type, "malformed");
    until("all are parked", async || {
        let dead = world.bus.admin.inspect("jobs.dead").await.unwrap();
        dead.unwrap().ready == 3
    })
    .await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_starts_in_time_is_ended_by_the_sweep() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut late = world.job();
    late.start_by = Some(clock::add(world.clock.now(), Duration::from_secs(600)));
    world
        .say(&late, EventType::Submitted, JobState::Queued)
        .await;
    let mut begun = world.job();
    begun.start_by = late.start_by;
    world
        .say(&begun, EventType::Submitted, JobState::Queued)
        .await;
    world
        .say(&begun, EventType::Started, JobState::Running)
        .await;
    world.until(late.id, JobState::Queued).await;
    world.until(begun.id, JobState::Running).await;

    world.clock.advance(Duration::from_secs(600 + 59));
    world.mark().await;
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(world.state(late.id).await, Some(JobState::Queued));
    world.clock.advance(Duration::from_secs(2));
    world.mark().await;
    world.until(late.id, JobState::Failed).await;
    let winner = world.record(late.id).await.unwrap().winner.unwrap();
    assert_eq!(winner.body.error.unwrap().error_type, "start-deadline");
    assert_eq!(winner.event_type, EventType::Deadline);
    assert_eq!(world.state(begun.id).await, Some(JobState::Running));
    reader.stop().await;
}
