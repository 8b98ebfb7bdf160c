//! A bus on which a reader can be killed between any two steps.
//!
//! The steps of answering one delivery of a queue are: it is delivered, the answer is accepted by the
//! broker, the confirm arrives, the ack is sent, the ack has arrived. A bus of [`Trap`] stops its caller
//! for ever at one of them and says so; its test then kills the reader.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Notify;
use vmctl_core::{
    bus::{
        Attachment, Bus, BusError, BusState, Consumer, Deliveries, Delivery, Feed, FeedStream,
        Message, PublishError, Publisher, Settle, SettleError, Settlement,
    },
    event::Control,
};

/// Between which two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It was delivered; nothing was published.
    BeforePublish,
    /// The broker has what follows; the reader does not know.
    BeforeConfirm,
    /// The reader knows, and has not acked.
    BeforeAck,
    /// The ack has arrived; the reader does not know.
    AfterAck,
}

impl Step {
    pub const ALL: [Self; 4] = [
        Self::BeforePublish,
        Self::BeforeConfirm,
        Self::BeforeAck,
        Self::AfterAck,
    ];
}

/// Springs once, when its step is reached for the `after`-th time.
pub struct Trap {
    queue: &'static str,
    step: Step,
    left: Mutex<usize>,
    pub sprung: Notify,
}

impl Trap {
    pub fn new(queue: &'static str, step: Step, after: usize) -> Arc<Self> {
        Arc::new(Self {
            queue,
            step,
            left: Mutex::new(after),
            sprung: Notify::new(),
        })
    }

    async fn pass(&self, step: Step) {
        let springs = {
            let mut left = self.left.lock().unwrap();
            let here = self.step == step;
            let springs = here && *left == 0;
            *left -= usize::from(here && *left > 0);
            springs
        };
        if springs {
            self.sprung.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Wraps publisher and consumer.
    pub fn around(self: &Arc<Self>, bus: &Bus) -> Bus {
        Bus {
            publisher: Arc::new(Trapped(Arc::clone(self), bus.clone())),
            consumer: Arc::new(Trapped(Arc::clone(self), bus.clone())),
            ..bus.clone()
        }
    }
}

struct Trapped(Arc<Trap>, Bus);

#[async_trait]
impl Publisher for Trapped {
    async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.0.pass(Step::BeforePublish).await;
        let confirmed = self.1.publisher.publish(message).await;
        self.0.pass(Step::BeforeConfirm).await;
        confirmed
    }

    async fn publish_tick(&self, message: Message) -> Result<(), PublishError> {
        self.1.publisher.publish_tick(message).await
    }

    async fn broadcast(&self, control: Control) -> Result<(), PublishError> {
        self.1.publisher.broadcast(control).await
    }

    fn state(&self) -> BusState {
        self.1.publisher.state()
    }
}

#[async_trait]
impl Consumer for Trapped {
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Deliveries>, BusError> {
        let inner = self.1.consumer.consume(queue, prefetch).await?;
        if queue != self.0.queue {
            return Ok(inner);
        }
        Ok(Box::new(TrappedDeliveries(Arc::clone(&self.0), inner)))
    }

    async fn subscribe(&self, feed: Feed, name: &str) -> Result<Box<dyn FeedStream>, BusError> {
        self.1.consumer.subscribe(feed, name).await
    }
}

struct TrappedDeliveries(Arc<Trap>, Box<dyn Deliveries>);

#[async_trait]
impl Deliveries for TrappedDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        let inner = self.1.next().await?;
        Some(Delivery::new(
            inner.message.clone(),
            inner.lost.clone(),
            Box::new(TrappedSettle(Arc::clone(&self.0), inner)),
        ))
    }

    async fn stop(&mut self) {
        self.1.stop().await;
    }

    fn attachment(&self) -> Attachment {
        self.1.attachment()
    }
}

struct TrappedSettle(Arc<Trap>, Delivery);

#[async_trait]
impl Settle for TrappedSettle {
    async fn settle(self: Box<Self>, how: Settlement) -> Result<(), SettleError> {
        let Self(trap, inner) = *self;
        trap.pass(Step::BeforeAck).await;
        let settled = match how {
            Settlement::Ack => inner.ack().await,
            Settlement::Requeue => inner.requeue().await,
            Settlement::Reject => inner.reject().await,
        };
        trap.pass(Step::AfterAck).await;
        settled
    }
}
