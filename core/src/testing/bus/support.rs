//! Waiting, and the few things that every case needs.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use vmctl_api_types::Kind;

use super::BusFixture;
use crate::{
    bus::{
        Bus, Deliveries, Delivery, LogEntry, LogReader, LogStart, Message, PublishError, Received,
        RoutingKey,
    },
    clock::from_unix_ms,
    topology::{EXCHANGE_JOBS, QueueSpec, Topology, work_queue},
};

/// How long the suite waits for anything, from `VMCTL_TEST_PATIENCE_SECONDS`; 10 s if unset.
pub fn patience() -> Duration {
    let seconds = std::env::var("VMCTL_TEST_PATIENCE_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// Waits for `future`, with patience.
///
/// # Panics
///
/// When patience ends.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(patience(), future).await;
    outcome.unwrap_or_else(|_| panic!("no {what} within {:?}", patience()))
}

/// Asks again and again until there is an answer, with patience.
///
/// # Panics
///
/// When patience ends.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    patiently(what, async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// How long a case listens before it believes that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

/// A broker with the topology of two kinds, `first` and `second`.
pub(super) struct Broker {
    pub bus: Bus,
    pub first: Kind,
    pub second: Kind,
    pub topology: Topology,
}

impl Broker {
    /// Declares the topology.
    pub async fn new<F: BusFixture>(fixture: &F) -> Self {
        Self::with(fixture, |_, _| {}).await
    }

    /// Declares the topology with the work queue of the first kind changed.
    pub async fn with<F: BusFixture>(
        fixture: &F,
        change: impl FnOnce(&mut QueueSpec, &Kind),
    ) -> Self {
        let (first, second) = (kind("first"), kind("second"));
        let mut topology = Topology::new([&first, &second]);
        let name = work_queue(&first);
        let work = topology.queues.iter_mut().find(|q| q.name == name).unwrap();
        change(work, &first);
        let bus = fixture.bus();
        patiently("declared topology", async {
            // A lazy connection may still be on its way.
            while bus.admin.inspect("none").await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            bus.admin.declare(&topology).await.unwrap();
        })
        .await;
        Self {
            bus,
            first,
            second,
            topology,
        }
    }

    /// Publishes to `jobs` and expects the confirm.
    pub async fn publish(&self, message: &Message) {
        self.try_publish(message).await.unwrap();
    }

    /// Publishes; a connection that is not there yet is waited for.
    pub async fn try_publish(&self, message: &Message) -> Result<(), PublishError> {
        eventually("answer to a publish", async || {
            match self.bus.publisher.publish(message.clone()).await {
                Err(PublishError::Unavailable(_)) => None,
                outcome => Some(outcome),
            }
        })
        .await
    }

    /// Publishes a command of the first kind and returns its id.
    pub async fn submit(&self, body: &str) -> String {
        let message = command(&self.first, body);
        self.publish(&message).await;
        message.message_id
    }

    /// Fills the work queue of the first kind and returns the id of the message that it refused.
    pub async fn fill(&self) -> String {
        // A broker may take a few more than its limit before it refuses.
        for n in 0..100 {
            let message = command(&self.first, &format!("filler {n}"));
            match self.try_publish(&message).await {
                Ok(()) => {}
                Err(PublishError::Nacked) => return message.message_id,
                Err(error) => panic!("expected a confirm or a nack: {error:?}"),
            }
        }
        panic!("the queue never refused");
    }

    /// Consumes the work queue of the first kind.
    pub async fn consume(&self, prefetch: u16) -> Box<dyn Deliveries> {
        self.consume_queue(&work_queue(&self.first), prefetch).await
    }

    pub async fn consume_queue(&self, queue: &str, prefetch: u16) -> Box<dyn Deliveries> {
        self.bus.consumer.consume(queue, prefetch).await.unwrap()
    }

    /// Waits until so many messages are ready in a queue.
    pub async fn wait_ready(&self, queue: &str, ready: u64) {
        eventually(&format!("{ready} ready messages in {queue}"), async || {
            let stats = self.bus.admin.inspect(queue).await.ok()??;
            (stats.ready == ready).then_some(())
        })
        .await;
    }

    /// Waits until a queue has so many consumers.
    pub async fn wait_consumers(&self, queue: &str, consumers: u32) {
        eventually(&format!("{consumers} consumers of {queue}"), async || {
            let stats = self.bus.admin.inspect(queue).await.ok()??;
            (stats.consumers == consumers).then_some(())
        })
        .await;
    }

    /// Attaches a reader of the log.
    pub async fn read(&self, from: LogStart) -> Tail {
        Tail {
            reader: self.bus.log.read(from).await.unwrap(),
            seen: Vec::new(),
        }
    }

    /// Reads the log from its first entry until one has this message id, and returns it.
    pub async fn find_in_log(&self, id: &str) -> LogEntry {
        self.read(LogStart::First).await.until_id(id).await
    }
}

/// A reader of the log that remembers what it has seen.
pub(super) struct Tail {
    reader: Box<dyn LogReader>,
    pub seen: Vec<LogEntry>,
}

impl Tail {
    /// Reads until an entry fits, and returns the first that does.
    pub async fn until(&mut self, what: &str, fits: impl Fn(&LogEntry) -> bool) -> LogEntry {
        patiently(what, async {
            let mut looked_at = 0;
            loop {
                if let Some(entry) = self.seen[looked_at..].iter().find(|entry| fits(entry)) {
                    return entry.clone();
                }
                looked_at = self.seen.len();
                let batch = self.reader.next_batch(7).await.unwrap();
                assert!((1..=7).contains(&batch.len()), "a batch of {}", batch.len());
                self.seen.extend(batch);
            }
        })
        .await
    }

    pub async fn until_id(&mut self, id: &str) -> LogEntry {
        self.until(&format!("entry {id} in the log"), |entry| {
            entry.message.message_id.as_deref() == Some(id)
        })
        .await
    }

    /// Returns the message ids seen, in order.
    pub fn ids(&self) -> Vec<String> {
        let id = |entry: &LogEntry| entry.message.message_id.clone().unwrap_or_default();
        self.seen.iter().map(id).collect()
    }
}

/// Draws a name that no other case of this run has.
pub(super) fn unique(word: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{word}{}-{next}", std::process::id())
}

pub(super) fn kind(word: &str) -> Kind {
    format!("suite.{}", unique(word)).parse().unwrap()
}

/// A command to run now.
pub(super) fn command(kind: &Kind, body: &str) -> Message {
    message(RoutingKey::job(kind), body)
}

/// A message with every property set.
pub(super) fn message(routing_key: RoutingKey, body: &str) -> Message {
    Message {
        exchange: EXCHANGE_JOBS.to_owned(),
        routing_key,
        content_type: "text/plain".to_owned(),
        message_id: unique("message-"),
        correlation_id: unique("job-"),
        message_type: "suite.v1".to_owned(),
        timestamp: from_unix_ms(1_795_000_000_000),
        persistent: true,
        headers: BTreeMap::from([
            ("kind".to_owned(), "suite".to_owned().into()),
            ("seq".to_owned(), 7.into()),
        ]),
        body: body.to_owned().into_bytes().into(),
    }
}

/// Expects that all which was published has arrived, and nothing of the broker's with it.
#[track_caller]
pub(super) fn assert_same(received: &Received, sent: &Message) {
    assert_eq!(received.routing_key, sent.routing_key.as_str());
    assert_eq!(received.content_type.as_ref(), Some(&sent.content_type));
    assert_eq!(received.message_id.as_ref(), Some(&sent.message_id));
    assert_eq!(received.correlation_id.as_ref(), Some(&sent.correlation_id));
    assert_eq!(received.message_type.as_ref(), Some(&sent.message_type));
    assert_eq!(received.timestamp, Some(sent.timestamp));
    assert_eq!(received.headers, sent.headers);
    assert_eq!(received.body, sent.body);
}

/// Takes the next delivery.
pub(super) async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    patiently("delivery", deliveries.next()).await.unwrap()
}

/// Expects that no delivery comes.
pub(super) async fn silent(deliveries: &mut Box<dyn Deliveries>) {
    if let Ok(delivery) = tokio::time::timeout(SILENCE, deliveries.next()).await {
        panic!("expected no delivery, got {delivery:?}");
    }
}

/// Returns the message id of a delivery.
pub(super) fn id(delivery: &Delivery) -> String {
    delivery.message.message_id.clone().unwrap_or_default()
}
