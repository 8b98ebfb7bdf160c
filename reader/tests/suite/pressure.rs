//! A store that is nearly full, on memory.
use std::{sync::Arc, time::Duration};

use crate::support::{World, until};
use vmctl_core::{
    JobState,
    clock::{self, Clock as _, ManualClock, from_unix_ms},
    event::{EventType, JobSpec},
    memory::{bus::Limits, store::InMemoryJobStore},
    partition::Partition,
    store::JobStore as _,
};

const ROOM: usize = 200;

async fn world() -> World {
    let clock = Arc::new(ManualClock::new(from_unix_ms(1_795_000_000_000)));
    let store = InMemoryJobStore::with_limit(clock.clone(), ROOM);
    World::on(clock, store, Limits::default()).await
}

/// Runs jobs to their ends.
async fn end(world: &World, count: usize) -> Vec<JobSpec> {
    let mut jobs = Vec::new();
    for _ in 0..count {
        let job = world.submit().await;
        world
            .end(&job, EventType::Succeeded, JobState::Succeeded)
            .await;
        jobs.push(job);
    }
    jobs
}

async fn known(world: &World, jobs: &[JobSpec]) -> usize {
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let found = world.store.get_many(&ids).await.unwrap();
    found
        .iter()
        .filter(|lookup| lookup.record.is_some())
        .count()
}

/// Lets time pass for everyone.
async fn pass(world: &World, seconds: u64) {
    for _ in 0..seconds {
        world.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_ends_make_room_and_have_said_so() {
    let world = world().await;
    let reader = world.start("r1");
    let live = world.submit().await;
    let old = end(&world, 120).await;
    let parted = JobSpec {
        keep_until: Some(clock::add(world.clock.now(), Duration::from_hours(2))),
        ..world.job()
    };
    world
        .say(&parted, EventType::Succeeded, JobState::Succeeded)
        .await;
    world.until(parted.id, JobState::Succeeded).await;
    pass(&world, 600).await;
    assert_eq!(known(&world, &old).await, 120, "there is room");
    assert_eq!(reader.status.get().pressed, None);

    let young = end(&world, 60).await;
    world.until(young[59].id, JobState::Succeeded).await;
    until("it says so", async || reader.status.get().pressed.is_some()).await;
    // For a minute they say when they go; then they go, and not one of them before.
    let shown = world.store.get(old[0].id).await.unwrap();
    let goes = shown.record.unwrap().to_job().unwrap().expires_at;
    let now = world.clock.now();
    assert!(goes <= clock::add(now, Duration::from_secs(60)), "{goes}");
    assert!(goes > clock::add(now, Duration::from_secs(50)), "{goes}");
    assert_eq!(known(&world, &old).await, 120);
    pass(&world, 50).await;
    assert_eq!(known(&world, &old).await, 120);
    pass(&world, 30).await;
    assert_eq!(reader.status.get().pressed, None, "there is room again");
    let left = known(&world, &old).await;
    assert!((60..120).contains(&left), "{left}");
    assert_eq!(known(&world, &young).await, 60, "they have ended just now");
    assert_eq!(known(&world, &[live, parted]).await, 2);
    let gone = old
        .iter()
        .find(|job| Partition::of(job.id) == Partition::of(old[0].id));
    let partition = world.store.get(gone.unwrap().id).await.unwrap().partition;
    assert!(partition.shortened >= gone.unwrap().id.unix_ms().map(from_unix_ms));
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_store_takes_new_jobs_again_after_seconds() {
    let world = world().await;
    let reader = world.start("r1");
    let old = end(&world, ROOM - 10).await;
    world.until(old[ROOM - 11].id, JobState::Succeeded).await;
    world.clock.advance(Duration::from_secs(600));
    let mut jobs = Vec::new();
    for _ in 0..40 {
        jobs.push(world.submit().await);
    }
    // More than there is room for; and then some more.
    world.until(jobs[39].id, JobState::Queued).await;
    jobs.push(world.submit().await);
    until("all are in the view, and there is room", async || {
        pass(&world, 1).await;
        let room = known(&world, &old).await < ROOM * 3 / 4;
        room && known(&world, &jobs).await == 41
    })
    .await;
    reader.stop().await;
}
