//! A broker that refuses what a worker has to say: no permission, a missing exchange.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{Script, World, kind, vm_input};
use async_trait::async_trait;
use tokio::time::Instant;
use vmctl_core::{
    JobState,
    bus::{Bus, BusState, Message, PublishError, Publisher},
    event::{Control, EventType},
};
use vmctl_worker::Config;

/// Refuses the first messages whose routing key ends in `word`, and counts them.
struct Refusing {
    inner: Arc<dyn Publisher>,
    word: &'static str,
    most: usize,
    error: fn() -> PublishError,
    refused: Mutex<Vec<Instant>>,
}

impl Refusing {
    fn new(bus: &Bus, word: &'static str, most: usize) -> Self {
        Self {
            inner: bus.publisher.clone(),
            word,
            most,
            error: || PublishError::Returned("ACCESS_REFUSED".to_owned()),
            refused: Mutex::default(),
        }
    }

    fn refused(&self) -> Vec<Instant> {
        self.refused.lock().unwrap().clone()
    }
}

#[async_trait]
impl Publisher for Refusing {
    async fn publish(&self, message: Message) -> Result<(), PublishError> {
        if message.routing_key.as_str().ends_with(self.word) {
            let mut refused = self.refused.lock().unwrap();
            if refused.len() < self.most {
                refused.push(Instant::now());
                return Err((self.error)());
            }
        }
        self.inner.publish(message).await
    }

    async fn publish_tick(&self, message: Message) -> Result<(), PublishError> {
        self.inner.publish_tick(message).await
    }

    async fn broadcast(&self, control: Control) -> Result<(), PublishError> {
        self.inner.broadcast(control).await
    }

    fn state(&self) -> BusState {
        self.inner.state()
    }
}

/// Starts a worker that publishes through `publisher`.
fn start(world: &World, publisher: &Arc<Refusing>, handler: &Script) -> crate::support::Started {
    let bus = Bus {
        publisher: publisher.clone(),
        ..world.bus.clone()
    };
    let handlers = vec![(kind(), Arc::new(handler.clone()) as _)];
    world.start_on(bus, Config::new("w1"), handlers)
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_the_broker_never_takes_ends_the_job_as_failed() {
    // The first thing to say, and the last one.
    for (word, runs) in [("started", 0), ("succeeded", 6)] {
        let world = World::new().await;
        let publisher = Arc::new(Refusing::new(&world.bus, word, usize::MAX));
        let handler = Script::busy(Duration::ZERO);
        let _worker = start(&world, &publisher, &handler);
        let job = world.publish(&world.command(kind(), vm_input())).await;

        crate::support::until("dead letter", || {
            world.log().iter().any(|seen| seen.reason.is_some())
        })
        .await;
        let reasons: Vec<_> = world.log().into_iter().filter_map(|s| s.reason).collect();
        assert_eq!(reasons, ["delivery_limit"], "{word}");
        assert_eq!(world.state(job).await, Some(JobState::Failed), "{word}");
        assert_eq!(world.ready("jobs.dead").await, 1);
        assert_eq!(handler.runs(), runs);
        // Six deliveries with five tries each, and pauses between them.
        let tries = publisher.refused();
        assert_eq!(tries.len(), 6 * 5);
        let seconds = tries[29].duration_since(tries[0]).as_secs_f64();
        assert!((9.0..12.0).contains(&seconds), "{seconds}");
        world.settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_passes_costs_nothing() {
    let world = World::new().await;
    let publisher = Arc::new(Refusing::new(&world.bus, "succeeded", 4));
    let handler = Script::busy(Duration::ZERO);
    let _worker = start(&world, &publisher, &handler);
    let job = world.submit().await;
    assert_eq!(world.end(job).await.event_type, EventType::Succeeded);
    assert_eq!(handler.runs(), 1);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn another_worker_may_say_what_one_is_not_allowed_to() {
    let world = World::new().await;
    let publisher = Arc::new(Refusing::new(&world.bus, "succeeded", usize::MAX));
    let handler = Script::busy(Duration::ZERO);
    let refused = start(&world, &publisher, &handler);
    let job = world.submit().await;
    crate::support::until("first refusals", || publisher.refused().len() >= 5).await;
    refused.kill().await;
    let _other = world.start("w2", handler);
    let end = world.end(job).await;
    assert_eq!(end.data.worker.as_deref(), Some("w2"));
    assert_eq!(world.ready("jobs.dead").await, 0);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_may_pass_is_tried_for_longer() {
    // A missing log is declared again by the next process that starts.
    let errors: [fn() -> PublishError; 2] = [|| PublishError::Busy, || PublishError::Unroutable];
    for error in errors {
        let world = World::new().await;
        let publisher = Arc::new(Refusing {
            error,
            ..Refusing::new(&world.bus, "succeeded", 40)
        });
        let handler = Script::busy(Duration::ZERO);
        let _worker = start(&world, &publisher, &handler);
        let job = world.submit().await;
        assert_eq!(world.end(job).await.event_type, EventType::Succeeded);
        assert_eq!(handler.runs(), 1);
    }
}
