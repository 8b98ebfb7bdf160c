//! What a worker says of itself.

use std::time::Duration;

use crate::support::{Script, World, kind};
use serde_json::json;
use tokio::time::{Instant, timeout};
use vmctl_api_types::{Presence, WorkerState};
use vmctl_core::{
    bus::{Feed, FeedStream},
    event::EventType,
    presence::{self, EVERY},
    topology::{Topology, work_queue},
};
use vmctl_worker::{Config, Outcome};

/// How soon a change is said.
const SOON: Duration = Duration::from_secs(2);

struct Ear(Box<dyn FeedStream>);

impl Ear {
    async fn new(world: &World) -> Self {
        let feed = world.bus.consumer.subscribe(Feed::Ticks, "ear").await;
        Self(feed.unwrap())
    }

    async fn next(&mut self) -> Presence {
        loop {
            let message = timeout(2 * EVERY, self.0.next()).await;
            if let Some(presence) = presence::parse(&message.unwrap().unwrap()) {
                return presence;
            }
        }
    }

    async fn until(&mut self, within: Duration, holds: impl Fn(&Presence) -> bool) -> Presence {
        let heard = timeout(within, async {
            loop {
                let presence = self.next().await;
                if holds(&presence) {
                    return presence;
                }
            }
        });
        heard.await.unwrap()
    }
}

fn is_consuming(presence: &Presence) -> bool {
    presence.kinds.iter().all(|kind| kind.consuming)
}

#[tokio::test(start_paused = true)]
async fn a_worker_says_what_it_serves_and_goes_on_saying_so() {
    let world = World::new().await;
    let mut ear = Ear::new(&world).await;
    let config = Config {
        slots: 3,
        app: "tester".to_owned(),
        ..Config::new("w1")
    };
    let _worker = world.start_with(config, Script::busy(Duration::ZERO));
    let said = ear.until(SOON, is_consuming).await;
    assert_eq!(
        (&*said.name, &*said.app, &*said.language),
        ("w1", "tester", "rust")
    );
    assert_eq!(said.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(said.state, WorkerState::Working);
    assert_eq!((said.kinds.len(), &said.kinds[0].kind), (1, &kind()));
    assert_eq!((said.kinds[0].slots, said.kinds[0].in_hand), (3, 0));
    for _ in 0..5 {
        let before = Instant::now();
        assert_eq!(ear.next().await, said);
        let pause = before.elapsed();
        assert!(
            pause > EVERY / 2 && pause <= EVERY + Duration::from_secs(1),
            "{pause:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_in_hand_are_told_with_the_last_sign_of_life() {
    let world = World::new().await;
    let mut ear = Ear::new(&world).await;
    let handler = Script::new(|ctx| async move {
        tokio::time::sleep(Duration::from_secs(15)).await;
        ctx.progress().report(10, "first");
        tokio::time::sleep(Duration::from_secs(40)).await;
        Outcome::Done(json!({}))
    });
    let worker = world.start("w1", handler);
    let begun = world.clock.now();
    let job = world.submit().await;
    let said = ear.until(2 * EVERY, |said| !said.jobs.is_empty()).await;
    assert_eq!((said.jobs.len(), said.kinds[0].in_hand), (1, 1));
    let told = &said.jobs[0];
    assert_eq!((told.id, &*told.project_id, told.attempt), (job, "p1", 1));
    assert_eq!((&told.kind, told.since), (&kind(), told.heard_at));
    let later = |seconds: i64| begun + jiff::SignedDuration::from_secs(seconds);
    assert!(told.since >= begun && told.since < later(2));
    let alive = |said: &Presence| said.jobs[0].heard_at > said.jobs[0].since;
    let said = ear.until(4 * EVERY, alive).await;
    assert!(said.jobs[0].heard_at >= later(15) && said.jobs[0].heard_at < later(17));
    // The drain is said at once and the end when it has come.
    let shutdown = worker.shutdown.clone();
    shutdown.cancel();
    let draining = |said: &Presence| said.state == WorkerState::Draining && !is_consuming(said);
    let said = ear.until(SOON, draining).await;
    assert_eq!(said.jobs[0].id, job);
    worker.drain().await;
    let ended = |said: &Presence| said.state == WorkerState::Ended;
    let said = ear.until(SOON, ended).await;
    assert_eq!((said.jobs.len(), said.kinds[0].in_hand), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_consumer_is_gone_says_so_soon() {
    let world = World::new().await;
    let mut ear = Ear::new(&world).await;
    let _worker = world.start("w1", Script::busy(Duration::ZERO));
    ear.until(SOON, is_consuming).await;
    let queue = work_queue(&kind());
    world.bus.admin.delete_queue(&queue).await.unwrap();
    ear.until(SOON, |said| !is_consuming(said)).await;
    let topology = Topology::new(&[kind()]);
    world.bus.admin.declare(&topology).await.unwrap();
    ear.until(SOON, is_consuming).await;
    // What could not be said is not said later: one word when the broker is back.
    world.memory().set_down(true);
    tokio::time::sleep(20 * EVERY).await;
    world.memory().set_down(false);
    ear.until(2 * EVERY, is_consuming).await;
    assert!(timeout(EVERY / 2, ear.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn many_jobs_are_told_by_their_number() {
    let world = World::new().await;
    let mut ear = Ear::new(&world).await;
    let config = Config {
        slots: 40,
        ..Config::new("w1")
    };
    let _worker = world.start_with(config, Script::busy(Duration::from_secs(600)));
    let mut jobs = Vec::new();
    for _ in 0..30 {
        jobs.push(world.submit().await);
    }
    world.event(jobs[29], EventType::Started).await;
    let said = ear
        .until(2 * EVERY, |said| said.kinds[0].in_hand == 30)
        .await;
    assert_eq!(said.jobs.len(), presence::MAX_JOBS);
}
