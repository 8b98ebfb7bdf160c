//! [`Consumer`] in memory.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{InMemoryBus, Shared, consumers::Next};
use crate::bus::{
    Attachment, BusError, Consumer, Deliveries, Delivery, Feed, FeedStream, Received, Settle,
    SettleError, Settlement,
};

#[async_trait]
impl Consumer for InMemoryBus {
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Deliveries>, BusError> {
        let (id, wake) = self
            .0
            .with(|broker, _| broker.add_consumer(queue, prefetch));
        Ok(Box::new(Subscription::new(&self.0, id, wake)))
    }

    async fn subscribe(&self, feed: Feed, name: &str) -> Result<Box<dyn FeedStream>, BusError> {
        let (id, wake) = self.0.with(|broker, now| broker.add_feed(feed, name, now));
        Ok(Box::new(Subscription::new(&self.0, id, wake)))
    }
}

/// A subscriber of the broker, removed when it is dropped.
struct Subscription {
    shared: Arc<Shared>,
    id: u64,
    wake: Arc<Notify>,
}

impl Subscription {
    fn new(shared: &Arc<Shared>, id: u64, wake: Arc<Notify>) -> Self {
        Self {
            shared: Arc::clone(shared),
            id,
            wake,
        }
    }

    fn attached(&self) -> Attachment {
        self.shared.with(|broker, _| broker.attachment(self.id))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.with(|broker, now| broker.remove(self.id, now));
    }
}

#[async_trait]
impl Deliveries for Subscription {
    async fn next(&mut self) -> Option<Delivery> {
        // Before anything is taken, so that dropping the call loses nothing.
        tokio::task::coop::consume_budget().await;
        loop {
            match self.shared.with(|broker, _| broker.take(self.id)) {
                Next::Delivery {
                    tag,
                    stored,
                    returns,
                    lost,
                } => {
                    let settle = Box::new(Unsettled {
                        shared: Arc::clone(&self.shared),
                        consumer: self.id,
                        tag,
                        is_settled: false,
                    });
                    return Some(Delivery::new(stored.received(returns), lost, settle));
                }
                Next::Message(_) | Next::End => return None,
                Next::Wait => self.wake.notified().await,
            }
        }
    }

    async fn stop(&mut self) {
        self.shared.with(|broker, now| broker.stop(self.id, now));
    }

    fn attachment(&self) -> Attachment {
        self.attached()
    }
}

#[async_trait]
impl FeedStream for Subscription {
    async fn next(&mut self) -> Option<Received> {
        tokio::task::coop::consume_budget().await;
        loop {
            match self
                .shared
                .with(|broker, now| broker.take_feed(self.id, now))
            {
                Next::Message(stored) => return Some(stored.received(0)),
                Next::Delivery { .. } | Next::End => return None,
                Next::Wait => self.wake.notified().await,
            }
        }
    }

    fn attachment(&self) -> Attachment {
        self.attached()
    }
}

/// A delivery in somebody's hand; given back when it is dropped.
struct Unsettled {
    shared: Arc<Shared>,
    consumer: u64,
    tag: u64,
    is_settled: bool,
}

impl Unsettled {
    fn settle_as(&mut self, how: Settlement) -> Result<(), SettleError> {
        self.is_settled = true;
        let (consumer, tag) = (self.consumer, self.tag);
        self.shared
            .with(|broker, now| broker.settle(consumer, tag, how, now))
    }
}

#[async_trait]
impl Settle for Unsettled {
    async fn settle(mut self: Box<Self>, how: Settlement) -> Result<(), SettleError> {
        self.settle_as(how)
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if !self.is_settled {
            // If it was lost, it is back already.
            let _ = self.settle_as(Settlement::Requeue);
        }
    }
}
