//! Waking jobs that wait for their children, on memory backends.
use std::time::Duration;

use crate::support::{World, child};
use tokio::time::timeout;
use vmctl_core::{
    JobState,
    bus::Deliveries,
    clock::Clock as _,
    event::{Event, EventType},
};

/// Publishes a job that waits for an hour, as its worker does.
async fn waiting(world: &World, names: &[&str]) -> Event {
    crate::support::waiting(world, Duration::from_secs(3600), names).await
}

async fn end(world: &World, parent: &Event, name: &str, event_type: EventType, state: JobState) {
    let child = child(world, parent, name);
    world
        .say(&child, EventType::Submitted, JobState::Queued)
        .await;
    world.end(&child, event_type, state).await;
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

/// Says that a job goes on, in a later message of its own.
async fn goes_on(world: &World, parent: &Event, state: JobState) -> Event {
    let mut event = world.event(&parent.data.job, EventType::Continued, state);
    event.data.seq = parent.data.seq + 1;
    event.data.children.clone_from(&parent.data.children);
    if state == JobState::Waiting {
        event.data.waits = parent.data.waits.clone();
        event.data.waits.as_mut().unwrap().decided = true;
        event.data.not_before = parent.data.not_before;
    }
    let now = world.clock.now();
    let message = event.to_due_message(now);
    world.bus.publisher.publish(message).await.unwrap();
    event
}

/// Returns how long it takes until the next command comes.
async fn takes(work: &mut Box<dyn Deliveries>) -> Duration {
    let begun = tokio::time::Instant::now();
    next(work).await.unwrap();
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_child_that_ends_after_a_wake_up_wakes_at_once_too() {
    for pause in [0, 1, 3, 20, 100] {
        let world = World::new().await;
        let reader = world.start("r1");
        let parent = waiting(&world, &["a", "b"]).await;
        let work = world.bus.consumer.consume("work.vm.create", 9);
        let mut work = work.await.unwrap();
        end(&world, &parent, "a", EventType::Failed, JobState::Failed).await;
        assert_eq!(next(&mut work).await.unwrap().id, parent.id);
        let later = goes_on(&world, &parent, JobState::Waiting).await;
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let (gone, cancelled) = (EventType::Cancelled, JobState::Cancelled);
        end(&world, &later, "b", gone, cancelled).await;
        let took = takes(&mut work).await;
        assert!(took < Duration::from_secs(1), "{took:?} after {pause} s");
        reader.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_is_published_once() {
    let world = World::new().await;
    let reader = world.start("r1");
    let parent = waiting(&world, &["a"]).await;
    let work = world.bus.consumer.consume("work.vm.create", 9);
    let mut work = work.await.unwrap();
    end(&world, &parent, "a", EventType::Failed, JobState::Failed).await;
    assert_eq!(next(&mut work).await.unwrap().id, parent.id);
    assert_eq!(next(&mut work).await, None);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_was_woken_gives_its_place_to_others() {
    let world = World::new().await;
    let reader = world.start("r1");
    let work = world.bus.consumer.consume("work.vm.create", 9);
    let mut work = work.await.unwrap();
    // More than there are places, in less time than one is kept for a parent that does not answer.
    for n in 0..200 {
        let parent = waiting(&world, &["a"]).await;
        end(&world, &parent, "a", EventType::Failed, JobState::Failed).await;
        let took = takes(&mut work).await;
        assert!(took < Duration::from_secs(1), "{took:?} for parent {n}");
        let later = goes_on(&world, &parent, JobState::Running).await;
        assert_eq!(next(&mut work).await.unwrap().id, later.id);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    reader.stop().await;
}
