//! Taking work: a task for each consumer, which subscribes again whenever it has to.
//!
//! Each subscription has a channel of its own. When the channel or the connection is gone, or the
//! broker cancels the consumer, all deliveries that came over it are lost at that moment, and what
//! waits here unread is dropped: the broker gives it to somebody else.
//!
//! An idle consumer subscribes again from time to time. When a quorum queue is deleted and declared
//! again within moments, RabbitMQ 3.10 may keep the old subscription and never deliver over it,
//! without a word to the client (seen).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use lapin::{
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vmctl_core::{
    bus::{
        Attached, Attachment, BusError, Consumer, Deliveries, Delivery, Feed, FeedStream,
        Settlement,
    },
    error::chain,
    topology::Topology,
};

use super::{
    config::Config,
    convert::short,
    delivery::Source,
    error::queue_error,
    feed::AmqpFeed,
    link::{Link, Live},
    metrics,
};

/// A subscription that ends sooner counts as a failed attempt.
const STABLE: Duration = Duration::from_secs(2);

/// How often a channel is looked at whose consumer was stopped.
const LOOK: Duration = Duration::from_millis(250);

/// How often a retired channel is looked at for deliveries that are not settled yet.
const SETTLED: Duration = Duration::from_millis(20);

/// Takes work over the connection that is there for it.
pub(super) struct AmqpConsumer {
    link: Link,
    config: Arc<Config>,
    tasks: TaskTracker,
    #[cfg(test)]
    pub(super) sources: Sources,
}

/// The channels in use, for tests that break them.
#[cfg(test)]
pub(super) type Sources = Arc<std::sync::Mutex<Vec<std::sync::Weak<Source>>>>;

impl AmqpConsumer {
    pub fn new(link: Link, config: &Arc<Config>, tasks: &TaskTracker) -> Self {
        Self {
            link,
            config: config.clone(),
            tasks: tasks.clone(),
            #[cfg(test)]
            sources: Sources::default(),
        }
    }
}

#[async_trait]
impl Consumer for AmqpConsumer {
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Deliveries>, BusError> {
        // Zero would mean without a limit.
        let prefetch = prefetch.max(1);
        let (sender, arrived) = mpsc::channel(usize::from(prefetch));
        let stopping = CancellationToken::new();
        let stopped = CancellationToken::new();
        let attached = Attached::default();
        let attachment = attached.attachment();
        let pump = Pump {
            link: self.link.clone(),
            config: self.config.clone(),
            queue: queue.to_owned(),
            prefetch,
            sender,
            stopping: stopping.clone(),
            attached,
            #[cfg(test)]
            sources: self.sources.clone(),
        };
        let done = stopped.clone().drop_guard();
        self.tasks.spawn(async move {
            pump.run().await;
            drop(done);
        });
        Ok(Box::new(AmqpDeliveries {
            arrived,
            stopping,
            stopped,
            attachment,
            within: self.config.call_timeout,
        }))
    }

    async fn subscribe(&self, feed: Feed, name: &str) -> Result<Box<dyn FeedStream>, BusError> {
        let queue = match feed {
            Feed::Ticks => Topology::tick_queue(name),
            Feed::Control => Topology::control_queue(name),
        };
        let (link, config) = (self.link.clone(), self.config.clone());
        let feed = AmqpFeed::start(link, config, queue, &self.tasks);
        Ok(Box::new(feed))
    }
}

/// Waits between two attempts, longer each time, and differently in each process.
pub(super) struct Pauses {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Pauses {
    pub fn new(config: &Config) -> Self {
        Self {
            min: config.backoff_min,
            max: config.backoff_max.min(Duration::from_secs(2)),
            next: config.backoff_min,
        }
    }

    /// Starts from the shortest again after something that lasted.
    pub fn after(&mut self, lasted: Duration) {
        if lasted > STABLE {
            self.next = self.min;
        }
    }

    pub async fn pause(&mut self) {
        sleep(self.next.mul_f64(rand::random_range(0.5..1.0))).await;
        self.next = (self.next * 2).min(self.max);
    }
}

struct AmqpDeliveries {
    arrived: mpsc::Receiver<Delivery>,
    stopping: CancellationToken,
    stopped: CancellationToken,
    attachment: Attachment,
    within: Duration,
}

#[async_trait]
impl Deliveries for AmqpDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.arrived.recv().await?;
            // Lost while it waited here.
            if !delivery.lost.is_cancelled() {
                return Some(delivery);
            }
        }
    }

    async fn stop(&mut self) {
        self.stopping.cancel();
        self.arrived.close();
        while let Some(delivery) = self.arrived.recv().await {
            // A failure means that the broker gives it back already.
            let _ = delivery.requeue().await;
        }
        // Each step of the pump has this bound; two of them may be under way.
        let _ = timeout(self.within * 2, self.stopped.cancelled()).await;
    }

    fn attachment(&self) -> Attachment {
        self.attachment.clone()
    }
}

struct Pump {
    link: Link,
    config: Arc<Config>,
    queue: String,
    prefetch: u16,
    sender: mpsc::Sender<Delivery>,
    stopping: CancellationToken,
    attached: Attached,
    #[cfg(test)]
    sources: Sources,
}

/// Why deliveries are not handed on any more.
enum Over {
    Stopped(lapin::Consumer),
    Idle(lapin::Consumer),
    Gone,
}

/// Why a subscription ended.
enum End {
    /// Nobody wants any more.
    Stopped,
    /// It was idle.
    Retired,
    /// It has to be made again.
    Broken(String),
}

impl Pump {
    /// Subscribes again and again until the stream is stopped or dropped.
    async fn run(self) {
        let mut pauses = Pauses::new(&self.config);
        let mut last = String::new();
        loop {
            let since = Instant::now();
            let Some(live) = self.live().await else {
                return;
            };
            match self.subscription(&live).await {
                End::Stopped => return,
                End::Retired => continue,
                End::Broken(reason) => {
                    self.attached.end();
                    metrics::consumer_rebuilt();
                    // Once: a queue may be missing for days.
                    if reason != last {
                        tracing::info!(bus.queue = %self.queue, "subscribing again: {reason}");
                    }
                    last = reason;
                }
            }
            pauses.after(since.elapsed());
            tokio::select! {
                biased;
                () = self.unwanted() => return,
                () = pauses.pause() => {}
            }
        }
    }

    /// Waits for a connection; `None` when nobody wants any more, or there will never be one.
    async fn live(&self) -> Option<Arc<Live>> {
        if let Some(live) = self.link.live().now_or_never() {
            return live;
        }
        self.attached.end();
        tokio::select! {
            biased;
            () = self.unwanted() => None,
            live = self.link.live() => live,
        }
    }

    async fn unwanted(&self) {
        tokio::select! {
            () = self.stopping.cancelled() => {}
            () = self.sender.closed() => {}
        }
    }

    /// One subscription, from its channel to its end.
    async fn subscription(&self, live: &Live) -> End {
        let lost = live.lost().child_token();
        // Whatever way this ends, except by a stop, the deliveries in hand are lost.
        let losing = lost.clone().drop_guard();
        let (source, consumer) = match self.subscribe(live, lost).await {
            Ok(subscribed) => subscribed,
            Err(error) => return End::Broken(chain(&error)),
        };
        self.attached.begin();
        match self.forward(&source, consumer).await {
            Over::Stopped(consumer) => {
                self.attached.end();
                losing.disarm();
                self.cancel(&source, consumer).await;
                return End::Stopped;
            }
            Over::Idle(consumer) => {
                self.retire(&source, consumer).await;
                if self.stopping.is_cancelled() {
                    losing.disarm();
                    tokio::spawn(look_after(Arc::downgrade(&source)));
                    return End::Stopped;
                }
                self.close(&source).await;
                return End::Retired;
            }
            Over::Gone => {}
        }
        drop(losing);
        self.close(&source).await;
        if self.sender.is_closed() {
            End::Stopped
        } else {
            End::Broken("the channel or its consumer is gone".to_owned())
        }
    }

    async fn subscribe(
        &self,
        live: &Live,
        lost: CancellationToken,
    ) -> Result<(Arc<Source>, lapin::Consumer), BusError> {
        let within = self.config.call_timeout;
        let queue = short("the queue's name", &self.queue)?;
        let channel = live.channel(within).await?;
        let calls = async {
            // For each consumer, not global: quorum queues know no other.
            let qos = BasicQosOptions::default();
            channel.basic_qos(self.prefetch, qos).await?;
            // With acks: a delivery is the worker's until it says otherwise.
            let options = BasicConsumeOptions::default();
            channel
                .basic_consume(queue, "".into(), options, FieldTable::default())
                .await
        };
        let consumer = match timeout(within, calls).await {
            Ok(consumer) => consumer.map_err(|error| queue_error(&self.queue, error))?,
            Err(_) => return Err(BusError::Timeout(within)),
        };
        let source = Source::new(channel, lost, within);
        #[cfg(test)]
        self.sources.lock().unwrap().push(Arc::downgrade(&source));
        Ok((source, consumer))
    }

    /// Hands deliveries on until there is a reason not to.
    async fn forward(&self, source: &Arc<Source>, mut consumer: lapin::Consumer) -> Over {
        loop {
            let room = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Over::Stopped(consumer),
                () = source.lost().cancelled() => return Over::Gone,
                room = self.sender.reserve() => room,
            };
            let Ok(room) = room else {
                return Over::Gone;
            };
            let delivery = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Over::Stopped(consumer),
                () = self.sender.closed() => return Over::Gone,
                () = source.lost().cancelled() => return Over::Gone,
                delivery = timeout(self.config.idle_refresh, consumer.next()) => delivery,
            };
            match delivery {
                Ok(Some(Ok(delivery))) => room.send(source.delivery(delivery)),
                // An error ends the channel, and the end of the stream is the broker's doing:
                // neither is the end of the work.
                Ok(_) => return Over::Gone,
                Err(_) if in_hand(source) => {}
                Err(_) => return Over::Idle(consumer),
            }
        }
    }

    /// Ends an idle subscription. What arrives meanwhile is handed on, and waited for: the prefetch
    /// holds for this subscription and the next one together.
    async fn retire(&self, source: &Arc<Source>, mut consumer: lapin::Consumer) {
        let cancel = source
            .channel()
            .basic_cancel(consumer.tag(), BasicCancelOptions::default());
        let hand_on = async {
            if cancel.await.is_ok() {
                while let Some(Ok(delivery)) = consumer.next().await {
                    // There is room: it was idle. If nobody wants it, dropping it gives it back.
                    let _ = self.sender.try_send(source.delivery(delivery));
                }
            }
        };
        if timeout(self.config.call_timeout, hand_on).await.is_err() {
            return;
        }
        let settled = async {
            while in_hand(source) {
                sleep(SETTLED).await;
            }
        };
        tokio::select! {
            () = self.unwanted() => {}
            () = source.lost().cancelled() => {}
            () = settled => {}
        }
    }

    /// Ends the subscription and keeps the channel for the deliveries in hand.
    async fn cancel(&self, source: &Arc<Source>, mut consumer: lapin::Consumer) {
        let within = self.config.call_timeout;
        let cancel = source
            .channel()
            .basic_cancel(consumer.tag(), BasicCancelOptions::default());
        let give_back = async {
            if cancel.await.is_ok() {
                // After the broker's answer nothing more arrives, and the stream ends.
                while let Some(Ok(delivery)) = consumer.next().await {
                    let requeue = Settlement::Requeue;
                    let _ = source.settle(&delivery.acker, requeue).await;
                }
            }
        };
        if timeout(within, give_back).await.is_err() {
            source.lost().cancel();
        }
        tokio::spawn(look_after(Arc::downgrade(source)));
    }

    /// Closes the channel, so that the broker gives back what came over it.
    async fn close(&self, source: &Source) {
        let close = source.channel().close(200, "the consumer ends".into());
        // A channel that is closed already says so; a connection that is stuck is given up by
        // others.
        let _ = timeout(self.config.call_timeout, close).await;
    }
}

/// Says whether a delivery of this channel is not settled yet: each holds the channel.
fn in_hand(source: &Arc<Source>) -> bool {
    Arc::strong_count(source) > 1
}

/// Watches the channel of a stopped consumer until nothing is in hand any more: nobody else would
/// learn that it is gone.
async fn look_after(source: std::sync::Weak<Source>) {
    while let Some(source) = source.upgrade() {
        if !source.channel().status().connected() {
            source.lost().cancel();
            return;
        }
        drop(source);
        sleep(LOOK).await;
    }
}
