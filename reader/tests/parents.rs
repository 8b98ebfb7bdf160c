//! Waking jobs that wait for their children, on memory backends.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::time::Duration;

use support::{World, child};
use tokio::time::timeout;
use vmctl_core::{
    JobState,
    bus::Deliveries,
    event::{Event, EventType},
};

/// Publishes a job that waits for an hour, as its worker does.
async fn waiting(world: &World, names: &[&str]) -> Event {
    support::waiting(world, Duration::from_secs(3600), names).await
}

async fn end(world: &World, parent: &Event, name: &str, event_type: EventType, state: JobState) {
    let child = child(world, parent, name);
    world
        .say(&child, EventType::Submitted, JobState::Queued)
        .await;
    world.say(&child, event_type, state).await;
}

async fn next(work: &mut Box<dyn Deliveries>) -> Option<Event> {
    let delivery = timeout(Duration::from_secs(20), work.next()).await.ok()??;
    let event = Event::parse(&delivery.message.body).unwrap();
    delivery.ack().await.unwrap();
    Some(event)
}

#[tokio::test(start_paused = true)]
async fn the_last_child_wakes_its_parent_with_its_own_command() {
    let world = World::new().await;
    let reader = world.start("r1");
    let parent = waiting(&world, &["a", "b"]).await;
    let mut work = world
        .bus
        .consumer
        .consume("work.vm.create", 9)
        .await
        .unwrap();
    end(
        &world,
        &parent,
        "a",
        EventType::Succeeded,
        JobState::Succeeded,
    )
    .await;
    assert_eq!(next(&mut work).await, None);
    end(
        &world,
        &parent,
        "b",
        EventType::Succeeded,
        JobState::Succeeded,
    )
    .await;
    let woken = next(&mut work).await.unwrap();
    let expected = Event {
        data: vmctl_core::event::EventData {
            not_before: None,
            ..parent.data.clone()
        },
        ..parent
    };
    assert_eq!(woken, expected);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_child_and_a_cancel_wake_at_once() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = world
        .bus
        .consumer
        .consume("work.vm.create", 9)
        .await
        .unwrap();
    let parent = waiting(&world, &["a", "b"]).await;
    end(&world, &parent, "a", EventType::Failed, JobState::Failed).await;
    assert_eq!(next(&mut work).await.unwrap().id, parent.id);
    while next(&mut work).await.is_some() {}

    let parent = waiting(&world, &["a"]).await;
    world.until(parent.subject, JobState::Waiting).await;
    let mut wish = parent.clone();
    wish.id = vmctl_core::clock::new_uuid(&*world.clock);
    wish.event_type = EventType::CancelRequested;
    world.publish(&wish).await;
    assert_eq!(next(&mut work).await.unwrap().id, parent.id);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_does_not_wait_is_left_alone() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = world
        .bus
        .consumer
        .consume("work.vm.create", 9)
        .await
        .unwrap();
    let parent = waiting(&world, &["a"]).await;
    let mut done = world.event(&parent.data.job, EventType::Succeeded, JobState::Succeeded);
    done.data.seq = 2;
    world.publish(&done).await;
    world.until(parent.subject, JobState::Succeeded).await;
    end(
        &world,
        &parent,
        "a",
        EventType::Succeeded,
        JobState::Succeeded,
    )
    .await;
    assert_eq!(next(&mut work).await, None);
    reader.stop().await;
}
