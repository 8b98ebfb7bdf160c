//! What a hostile or broken worker says on the bus, and jobs that nobody starts.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod support;

use std::time::Duration;

use support::{World, until};
use vmctl_core::{
    JobState,
    clock::{self, Clock as _, from_unix_ms},
    event::{Event, EventType},
    partition::Partition,
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
        .say(&job, EventType::Succeeded, JobState::Succeeded)
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
