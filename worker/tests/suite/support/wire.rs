//! The connection of one worker: slow enough to come between any two steps of a slice, and cut at will.
//!
//! Every publish takes a moment before the broker has it and one before it is confirmed, every settlement
//! one before it arrives. A wire notes what must not be: a worker that publishes about a job of which it
//! holds no delivery any more.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    JobId,
    bus::{
        Attachment, Bus, BusError, BusState, Consumer, Deliveries, Delivery, Feed, FeedStream,
        Message, PublishError, Publisher, Settle, SettleError, Settlement,
    },
    event::{Control, Event, EventType},
};

/// How long each half of a publish takes, and a settlement.
pub const MOMENT: Duration = Duration::from_millis(2);

/// How long a worker that hung does not know what it has lost.
const HUNG: Duration = Duration::from_millis(500);

/// What all wires of a test have seen.
#[derive(Default)]
pub struct Seen {
    /// Deliveries that the broker had given to somebody before.
    pub redelivered: BTreeMap<StepKey, u32>,
    pub faults: Vec<String>,
}

/// One step of one attempt: job, epoch, attempt, step. Each is one command.
pub type StepKey = (JobId, u32, u32, u64);

/// The step that a message of a planned job is about.
pub fn key(event: &Event) -> StepKey {
    let data = &event.data;
    let step = data.checkpoint.as_ref().and_then(Value::as_u64);
    (event.subject, data.epoch, data.attempt, step.unwrap_or(0))
}

#[derive(Clone)]
pub struct Wire(Arc<Inner>);

struct Inner {
    bus: Bus,
    seen: Arc<Mutex<Seen>>,
    held: Mutex<BTreeMap<u64, Held>>,
    next: AtomicU64,
}

struct Held {
    job: Option<JobId>,
    lost: CancellationToken,
    /// Gone once the broker has taken it back.
    delivery: Option<Delivery>,
}

impl Wire {
    pub fn new(bus: &Bus, seen: Arc<Mutex<Seen>>) -> Self {
        Self(Arc::new(Inner {
            bus: bus.clone(),
            seen,
            held: Mutex::default(),
            next: AtomicU64::new(0),
        }))
    }

    pub fn bus(&self) -> Bus {
        Bus {
            publisher: Arc::new(self.clone()),
            consumer: Arc::new(self.clone()),
            ..self.0.bus.clone()
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Held>> {
        self.0.held.lock().unwrap()
    }

    pub fn holds_nothing(&self) -> bool {
        self.held().is_empty()
    }

    pub fn holds(&self, job: JobId) -> bool {
        self.held().values().any(|held| held.job == Some(job))
    }

    /// The broker takes back whatever the worker has in hand. One that hung learns of it later.
    pub fn cut(&self, hung: bool) {
        let mut back = Vec::new();
        for held in self.held().values_mut() {
            let lost = held.lost.clone();
            if hung {
                tokio::spawn(async move {
                    sleep(HUNG).await;
                    lost.cancel();
                });
            } else {
                lost.cancel();
            }
            back.extend(held.delivery.take());
        }
        drop(back);
    }

    /// Only whoever holds a job's command speaks of the job, but for whoever asks for it or for its end.
    fn check(&self, message: &Message) {
        let Ok(event) = Event::parse(&message.body) else {
            return;
        };
        if matches!(
            event.event_type,
            EventType::Submitted | EventType::CancelRequested
        ) {
            return;
        }
        let knows = |held: &Held| held.job == Some(event.subject) && !held.lost.is_cancelled();
        if !self.held().values().any(knows) {
            let fault = format!("{} about {:?} by nobody", event.event_type, key(&event));
            self.0.seen.lock().unwrap().faults.push(fault);
        }
    }
}

#[async_trait]
impl Publisher for Wire {
    async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.check(&message);
        sleep(MOMENT).await;
        let confirmed = self.0.bus.publisher.publish(message).await;
        sleep(MOMENT).await;
        confirmed
    }

    async fn publish_tick(&self, message: Message) -> Result<(), PublishError> {
        self.0.bus.publisher.publish_tick(message).await
    }

    async fn broadcast(&self, control: Control) -> Result<(), PublishError> {
        self.0.bus.publisher.broadcast(control).await
    }

    fn state(&self) -> BusState {
        self.0.bus.publisher.state()
    }
}

#[async_trait]
impl Consumer for Wire {
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Deliveries>, BusError> {
        let inner = self.0.bus.consumer.consume(queue, prefetch).await?;
        Ok(Box::new(WireDeliveries(self.clone(), inner)))
    }

    async fn subscribe(&self, feed: Feed, name: &str) -> Result<Box<dyn FeedStream>, BusError> {
        self.0.bus.consumer.subscribe(feed, name).await
    }
}

struct WireDeliveries(Wire, Box<dyn Deliveries>);

#[async_trait]
impl Deliveries for WireDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        let delivery = self.1.next().await?;
        let wire = &self.0;
        let event = Event::parse(&delivery.message.body).ok();
        if let Some(event) = event.as_ref().filter(|_| delivery.message.redelivered) {
            let mut seen = wire.0.seen.lock().unwrap();
            *seen.redelivered.entry(key(event)).or_default() += 1;
        }
        let lost = delivery.lost.child_token();
        let message = delivery.message.clone();
        let number = wire.0.next.fetch_add(1, Ordering::Relaxed);
        let held = Held {
            job: event.map(|event| event.subject),
            lost: lost.clone(),
            delivery: Some(delivery),
        };
        wire.held().insert(number, held);
        let settle = WireSettle(wire.clone(), number);
        Some(Delivery::new(message, lost, Box::new(settle)))
    }

    async fn stop(&mut self) {
        self.1.stop().await;
    }

    fn attachment(&self) -> Attachment {
        self.1.attachment()
    }
}

/// Gives the delivery back when it is dropped.
struct WireSettle(Wire, u64);

impl Drop for WireSettle {
    fn drop(&mut self) {
        let held = self.0.held().remove(&self.1);
        drop(held);
    }
}

#[async_trait]
impl Settle for WireSettle {
    async fn settle(self: Box<Self>, how: Settlement) -> Result<(), SettleError> {
        sleep(MOMENT).await;
        let held = self.0.held().remove(&self.1);
        let Some(delivery) = held.and_then(|held| held.delivery) else {
            return Err(SettleError);
        };
        match how {
            Settlement::Ack => delivery.ack().await,
            Settlement::Requeue => delivery.requeue().await,
            Settlement::Reject => delivery.reject().await,
        }
    }
}
