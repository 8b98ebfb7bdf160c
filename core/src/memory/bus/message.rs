//! A message inside the broker.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use jiff::Timestamp;

use crate::{
    bus::{Death, Message, Received},
    clock::from_unix_ms,
};

/// The trace of a message that its consumer gave up; such a step cannot be part of a cycle.
pub(super) const REJECTED: &str = "rejected";

/// A message as queues share it.
pub(super) struct Stored {
    /// The exchange that it came through last.
    pub exchange: String,
    /// Where it died, newest first.
    deaths: Vec<Death>,
    message: Arc<Message>,
    /// Its number in the journal, while a row there names it.
    pub row: AtomicU64,
    /// How many rows name it.
    pub held: AtomicU32,
}

impl Stored {
    pub fn new(mut message: Message) -> Self {
        message.headers.retain(|name, _| !name.starts_with("x-"));
        Self::kept(message.exchange.clone(), Vec::new(), message)
    }

    /// Makes one that came through this exchange last and died like this.
    pub fn kept(exchange: String, deaths: Vec<Death>, message: Message) -> Self {
        Self::of(exchange, deaths, Arc::new(message))
    }

    fn of(exchange: String, deaths: Vec<Death>, message: Arc<Message>) -> Self {
        Self {
            exchange,
            deaths,
            message,
            row: AtomicU64::new(0),
            held: AtomicU32::new(0),
        }
    }

    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Returns where it died, newest first.
    pub fn deaths(&self) -> &[Death] {
        &self.deaths
    }

    /// Returns the dead letter that a queue makes of it.
    pub fn dead(&self, reason: &str, queue: &str, exchange: &str, now: Timestamp) -> Self {
        let death = Death {
            reason: reason.to_owned(),
            queue: queue.to_owned(),
            time: Some(whole_seconds(now)),
        };
        let same = |old: &&Death| (&old.reason, &old.queue) != (&death.reason, &death.queue);
        let older: Vec<_> = self.deaths.iter().filter(same).cloned().collect();
        let deaths = std::iter::once(death).chain(older).collect();
        Self::of(exchange.to_owned(), deaths, Arc::clone(&self.message))
    }

    /// Says whether `queue` gave it up before, with no consumer's decision since: it would go round
    /// for ever.
    pub fn went_round(&self, queue: &str) -> bool {
        self.deaths
            .iter()
            .take_while(|death| death.reason != REJECTED)
            .any(|death| death.queue == queue)
    }

    pub fn routing_key(&self) -> &str {
        self.message.routing_key.as_str()
    }

    /// Returns about how much memory it takes.
    pub fn size(&self) -> usize {
        512 + self.message.body.len()
    }

    /// Returns what a consumer sees that gets it for the `earlier + 1`st time.
    pub fn received(&self, earlier: u32) -> Received {
        let message = &*self.message;
        Received {
            exchange: self.exchange.clone(),
            routing_key: message.routing_key.as_str().to_owned(),
            content_type: Some(message.content_type.clone()),
            message_id: Some(message.message_id.clone()),
            correlation_id: Some(message.correlation_id.clone()),
            message_type: Some(message.message_type.clone()),
            timestamp: Some(whole_seconds(message.timestamp)),
            headers: message.headers.clone(),
            death: self.deaths.first().cloned(),
            redelivered: earlier > 0,
            delivery_count: earlier,
            body: message.body.clone(),
        }
    }
}

/// AMQP keeps whole seconds.
fn whole_seconds(at: Timestamp) -> Timestamp {
    from_unix_ms(at.as_second().saturating_mul(1000))
}

/// Counts the bytes of all queues.
#[derive(Clone, Default)]
pub(super) struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts `bytes` until the answer is dropped.
    pub fn hold(&self, bytes: usize) -> Held {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Held {
            gauge: self.clone(),
            bytes,
        }
    }
}

/// Bytes that are counted.
pub(super) struct Held {
    gauge: Gauge,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
