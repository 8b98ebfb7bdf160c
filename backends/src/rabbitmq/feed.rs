//! Feeds: what is sent to everybody, each message at most once.
//!
//! A feed has a queue of its own, made for this process and gone with it. The broker pushes without
//! waiting for acks, so what arrives is taken at once into a ring: a slow reader loses the oldest
//! and holds up nobody.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::{options::BasicConsumeOptions, types::FieldTable};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use vmctl_core::{
    bus::{Attached, Attachment, BusError, FeedStream, Received},
    error::chain,
    topology::QueueSpec,
};

use super::{
    admin::declare_on,
    config::Config,
    consumer::Pauses,
    convert::{received, short},
    error::queue_error,
    link::{Link, Live},
    metrics,
};

/// How many messages wait for a slow reader.
const KEPT: usize = 10_000;

/// What has arrived and was not read yet.
#[derive(Default)]
struct Ring {
    kept: Mutex<VecDeque<Received>>,
    arrival: Notify,
    ended: CancellationToken,
}

impl Ring {
    fn put(&self, message: Received) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
            metrics::feed_dropped();
        }
        kept.push_back(message);
        self.arrival.notify_one();
    }

    fn take(&self) -> Option<Received> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop_front()
    }
}

/// The reader's end of a feed. Dropping it ends the feed.
pub(super) struct AmqpFeed {
    ring: Arc<Ring>,
    attachment: Attachment,
    _unread: DropGuard,
}

impl AmqpFeed {
    pub fn start(link: Link, config: Arc<Config>, queue: QueueSpec, tasks: &TaskTracker) -> Self {
        let ring = Arc::new(Ring::default());
        let unread = CancellationToken::new();
        let attached = Attached::default();
        let attachment = attached.attachment();
        let pump = Pump {
            link,
            config,
            queue,
            ring: ring.clone(),
            attached,
        };
        let gone = unread.clone();
        tasks.spawn(async move {
            let ended = pump.ring.ended.clone().drop_guard();
            gone.run_until_cancelled(pump.run()).await;
            drop(ended);
        });
        Self {
            ring,
            attachment,
            _unread: unread.drop_guard(),
        }
    }
}

#[async_trait]
impl FeedStream for AmqpFeed {
    async fn next(&mut self) -> Option<Received> {
        loop {
            if let Some(message) = self.ring.take() {
                return Some(message);
            }
            tokio::select! {
                () = self.ring.arrival.notified() => {}
                () = self.ring.ended.cancelled() => return self.ring.take(),
            }
        }
    }

    fn attachment(&self) -> Attachment {
        self.attachment.clone()
    }
}

struct Pump {
    link: Link,
    config: Arc<Config>,
    queue: QueueSpec,
    ring: Arc<Ring>,
    attached: Attached,
}

impl Pump {
    async fn run(&self) {
        let mut pauses = Pauses::new(&self.config);
        while let Some(live) = self.link.live().await {
            let since = Instant::now();
            let reason = match self.subscribe(&live).await {
                Ok(consumer) => {
                    self.attached.begin();
                    self.forward(&live, consumer).await;
                    self.attached.end();
                    "the channel or its consumer is gone".to_owned()
                }
                Err(error) => chain(&error),
            };
            tracing::info!(bus.queue = %self.queue.name, "subscribing again: {reason}");
            metrics::consumer_rebuilt();
            pauses.after(since.elapsed());
            pauses.pause().await;
        }
    }

    async fn subscribe(&self, live: &Live) -> Result<lapin::Consumer, BusError> {
        let within: Duration = self.config.call_timeout;
        let name = short("the queue's name", &self.queue.name)?;
        let channel = live.channel(within).await?;
        let calls = async {
            declare_on(&channel, &self.queue).await?;
            let options = BasicConsumeOptions {
                // At most once: a message that is lost with its reader is harmless.
                no_ack: true,
                ..BasicConsumeOptions::default()
            };
            channel
                .basic_consume(name, "".into(), options, FieldTable::default())
                .await
                .map_err(|error| queue_error(&self.queue.name, error))
        };
        timeout(within, calls)
            .await
            .unwrap_or(Err(BusError::Timeout(within)))
    }

    async fn forward(&self, live: &Live, mut consumer: lapin::Consumer) {
        let arriving = async {
            while let Some(Ok(delivery)) = consumer.next().await {
                self.ring.put(received(delivery));
            }
        };
        live.lost().run_until_cancelled(arriving).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_ring_drops_the_oldest() {
        let ring = Ring::default();
        for n in 0..KEPT + 5 {
            let mock = lapin::message::Delivery::mock(
                0,
                "jobs.tick".into(),
                n.to_string().as_str().into(),
                false,
                Vec::new(),
            );
            ring.put(received(mock));
        }
        assert_eq!(ring.take().unwrap().routing_key, "5");
        let rest = std::iter::from_fn(|| ring.take()).count();
        assert_eq!(rest, KEPT - 1);
    }
}
