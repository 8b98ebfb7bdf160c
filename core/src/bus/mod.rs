//! The bus, as ports: [`Publisher`], [`Consumer`], [`Log`] and [`TopologyAdmin`].
//!
//! They are apart so that a server cannot consume work by accident. All delivery is at least once.
//! No header whose name begins with `x-` ever goes from a delivery into a publish: those are the
//! broker's.

mod attachment;
mod key;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use attachment::{Attached, Attachment};
pub use key::{RoutingKey, RoutingKeyError, topic_matches};

use crate::{
    event::Control,
    topology::{QueueSpec, Topology},
};

/// The cause of a failure, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One message to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The exchange to publish to.
    pub exchange: String,
    /// Where it goes from there.
    pub routing_key: RoutingKey,
    /// AMQP `content-type`.
    pub content_type: String,
    /// AMQP `message-id`: the event's id.
    pub message_id: String,
    /// AMQP `correlation-id`: the job's id, or empty.
    pub correlation_id: String,
    /// AMQP `type`: the event's type.
    pub message_type: String,
    /// AMQP `timestamp`; AMQP keeps whole seconds.
    pub timestamp: Timestamp,
    /// AMQP `delivery-mode` 2: the broker writes it to disk before it confirms.
    pub persistent: bool,
    /// Headers of ours; never one that begins with `x-`.
    pub headers: BTreeMap<String, HeaderValue>,
    /// The body.
    pub body: Bytes,
}

/// The header types that the contract uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
}

impl From<String> for HeaderValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<i64> for HeaderValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

/// Why a publish did not end with a confirm.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Nothing was sent: there is no connection.
    #[error("no connection to the broker")]
    Unavailable(#[source] Option<BoxError>),
    /// Nothing was sent: the broker has blocked publishers (memory or disk alarm).
    #[error("the broker has blocked publishers: {0}")]
    Blocked(String),
    /// Nothing was sent: too many publishes wait for a channel.
    #[error("too many publishes are waiting")]
    Busy,
    /// The broker refused it for at least one queue. Others may have it, so the outcome is as
    /// unknown as after a timeout.
    #[error("the broker did not accept the message in every queue")]
    Nacked,
    /// Sent, and no confirm came in time. The channel is not used again.
    #[error("no confirm within {0:?}")]
    Timeout(Duration),
    /// Sent, and the connection was lost before the confirm.
    #[error("the connection was lost before the confirm")]
    Lost(#[source] Option<BoxError>),
    /// Nothing holds it: no queue is bound for it, not even the log.
    #[error("no queue takes the message")]
    Unroutable,
    /// The broker refused this message: no permission, no such exchange. The same message is
    /// refused again until somebody mends that.
    #[error("the broker returned the message: {0}")]
    Returned(String),
}

impl PublishError {
    /// Says whether the broker may have the message all the same.
    pub const fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Nacked | Self::Timeout(_) | Self::Lost(_))
    }
}

/// Why another call to the bus failed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No connection, or it was lost during the call.
    #[error("no connection to the broker")]
    Unavailable(#[source] Option<BoxError>),
    /// The call did not end in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The queue does not exist.
    #[error("queue {0} does not exist")]
    MissingQueue(String),
    /// What is not there and may not be declared by us: `queue work.vm.create, exchange jobs`.
    #[error("not there, and not ours to declare: {0}")]
    Absent(String),
    /// What exists differs from what was asked to be declared.
    #[error("{0}")]
    Drift(String),
    /// The broker refused the call.
    #[error("the broker refused")]
    Refused(#[source] BoxError),
}

/// Publishes.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes one message and waits until **every** queue that it is routed to has it: on disk
    /// on a majority of nodes for quorum queues. A command without work queue is routed to the log
    /// alone and confirmed, so callers check the topology.
    ///
    /// Ends within the backend's confirm deadline (5 s by default). Many calls may run at once; how
    /// many wait for a channel is bounded ([`PublishError::Busy`]). Publishing the same message
    /// twice makes two messages. Order between calls is not kept. A call that is dropped half-way
    /// runs to its end in the background.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; `outcome_unknown` tells which of them may have been accepted.
    async fn publish(&self, message: Message) -> Result<(), PublishError>;

    /// Publishes without waiting for a confirm. The message may be lost, and nobody is told.
    ///
    /// # Errors
    ///
    /// Only those of [`PublishError`] where nothing was sent.
    async fn publish_tick(&self, message: Message) -> Result<(), PublishError>;

    /// Tells every worker that listens now. May be lost; whatever must not be lost is also an
    /// event.
    ///
    /// # Errors
    ///
    /// Only those of [`PublishError`] where nothing was sent.
    async fn broadcast(&self, control: Control) -> Result<(), PublishError>;

    /// Says whether a publish would be tried right now, without publishing.
    fn state(&self) -> BusState;
}

/// What readiness and admission look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusState {
    /// Connected.
    Up,
    /// Connected, but the broker does not take publishes; the reason is the broker's.
    Blocked(String),
    /// Not connected; the reason is the last failure.
    Down(String),
}

/// Takes work.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Consumes a work queue, with at most `prefetch` deliveries that are not settled yet.
    ///
    /// The stream outlives connections: after a loss the backend subscribes again by itself, with
    /// backoff, and what was not settled is delivered again. Ends only when it is stopped.
    ///
    /// # Errors
    ///
    /// None for a missing connection or queue: the stream waits for them.
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Deliveries>, BusError>;

    /// Subscribes to what is sent to everybody. `name` makes the queue: one for each process.
    ///
    /// # Errors
    ///
    /// None for a missing connection: the feed waits for it.
    async fn subscribe(&self, feed: Feed, name: &str) -> Result<Box<dyn FeedStream>, BusError>;
}

/// What can be subscribed to without settling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Progress of all jobs.
    Ticks,
    /// Control messages to workers.
    Control,
}

/// Messages of a [`Feed`]; each is delivered at most once.
#[async_trait]
pub trait FeedStream: Send {
    /// Waits for the next message. `None` when the backend is shut down.
    async fn next(&mut self) -> Option<Received>;

    /// Returns what tells whether anything can come.
    fn attachment(&self) -> Attachment;
}

/// Deliveries of one consumer.
#[async_trait]
pub trait Deliveries: Send {
    /// Waits for the next delivery. `None` after [`Deliveries::stop`], when all that had arrived
    /// was handed out or given back. Cancel safe.
    async fn next(&mut self) -> Option<Delivery>;

    /// Stops taking work: deliveries that nobody has taken yet go back to the queue; those in hand
    /// can still be settled.
    async fn stop(&mut self);

    /// Returns what tells whether anything can come.
    fn attachment(&self) -> Attachment;
}

/// A message as it arrives.
#[derive(Debug, Clone)]
pub struct Received {
    /// The exchange that it came through last.
    pub exchange: String,
    /// The key that it was published with.
    pub routing_key: String,
    /// AMQP `content-type`.
    pub content_type: Option<String>,
    /// AMQP `message-id`.
    pub message_id: Option<String>,
    /// AMQP `correlation-id`.
    pub correlation_id: Option<String>,
    /// AMQP `type`.
    pub message_type: Option<String>,
    /// AMQP `timestamp`.
    pub timestamp: Option<Timestamp>,
    /// Headers of text and whole-number type.
    pub headers: BTreeMap<String, HeaderValue>,
    /// The newest entry of the broker's dead-letter trace (`x-death`), if there is one. An entry of
    /// the log may have less: RabbitMQ 3 drops the trace there, so that only a first death that
    /// nothing can have followed is known, without its time.
    pub death: Option<Death>,
    /// Whether the broker has delivered it before.
    pub redelivered: bool,
    /// How often it was delivered before, as far as the broker counts (`x-delivery-count`).
    pub delivery_count: u32,
    /// The body.
    pub body: Bytes,
}

/// Why and where a message was dead-lettered last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// `delivery_limit`, `rejected`, `expired` or `maxlen`.
    pub reason: String,
    /// The queue that gave it up.
    pub queue: String,
    /// When; AMQP keeps whole seconds.
    pub time: Option<Timestamp>,
}

/// One message that must be settled exactly once.
///
/// Dropping a delivery without settling it gives it back to the queue, as a crash would.
pub struct Delivery {
    /// The message.
    pub message: Received,
    /// Fires when the delivery is not ours any more: its channel or connection is gone, and the
    /// broker gives the message to somebody else. Settling it is then an error.
    pub lost: CancellationToken,
    settle: Box<dyn Settle>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("routing_key", &self.message.routing_key)
            .field("message_id", &self.message.message_id)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    /// Makes a delivery; for backends.
    pub fn new(message: Received, lost: CancellationToken, settle: Box<dyn Settle>) -> Self {
        Self {
            message,
            lost,
            settle,
        }
    }

    /// Tells the broker that the message is done with.
    ///
    /// # Errors
    ///
    /// [`SettleError`] when the delivery was lost: somebody else will get the message.
    pub async fn ack(self) -> Result<(), SettleError> {
        self.settle.settle(Settlement::Ack).await
    }

    /// Gives the message back, not processed: it is delivered again, here or elsewhere.
    ///
    /// # Errors
    ///
    /// [`SettleError`] when the delivery was lost: it is given back anyway.
    pub async fn requeue(self) -> Result<(), SettleError> {
        self.settle.settle(Settlement::Requeue).await
    }

    /// Gives the message up: it is dead-lettered with reason `rejected`.
    ///
    /// # Errors
    ///
    /// [`SettleError`] when the delivery was lost: somebody else will get the message.
    pub async fn reject(self) -> Result<(), SettleError> {
        self.settle.settle(Settlement::Reject).await
    }
}

/// How a delivery is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// `basic.ack`.
    Ack,
    /// `basic.nack` with `requeue`.
    Requeue,
    /// `basic.reject` without `requeue`.
    Reject,
}

/// The broker's side of a delivery; for backends.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Settles it.
    async fn settle(self: Box<Self>, how: Settlement) -> Result<(), SettleError>;
}

/// The delivery was not ours any more when it was settled.
#[derive(Debug, thiserror::Error)]
#[error("the delivery was lost before it was settled")]
pub struct SettleError;

/// Reads the log: every command and every event, in the order of the broker.
#[async_trait]
pub trait Log: Send + Sync {
    /// Attaches a reader. Entries stay in the log; every reader sees all of them.
    ///
    /// # Errors
    ///
    /// [`BusError::MissingQueue`] when there is no log, `Unavailable` and `Timeout` otherwise.
    async fn read(&self, from: LogStart) -> Result<Box<dyn LogReader>, BusError>;
}

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStart {
    /// At the oldest entry that is kept.
    First,
    /// At this offset. At the oldest kept entry if it is gone. If it lies ahead, nothing old comes:
    /// either the next new entry, or none before the log gets there (RabbitMQ). So a reader that
    /// resumes must see the entry that it knows within some seconds, or start over.
    Offset(u64),
    /// At or shortly before the first entry published at this time: brokers keep chunks, so
    /// earlier entries may come first.
    Time(Timestamp),
    /// At the next entry published from now on.
    Next,
}

/// One attached reader.
#[async_trait]
pub trait LogReader: Send {
    /// Waits for at least one entry and returns at most `max` that are there, in log order.
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// Any error ends the reader: attach again, and do not trust the offset (see
    /// [`crate::store::Position`]).
    async fn next_batch(&mut self, max: usize) -> Result<Vec<LogEntry>, BusError>;
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// Its place. Rises, with gaps; starts again when the stream is recreated.
    pub offset: u64,
    /// The message.
    pub message: Received,
}

/// Declares and inspects.
#[async_trait]
pub trait TopologyAdmin: Send + Sync {
    /// Declares exchanges, queues and bindings; what exists in the same form stays as it is.
    ///
    /// # Errors
    ///
    /// [`BusError::Drift`] names the queue or exchange that exists in another form, and how.
    /// [`BusError::Absent`] names what the broker does not let us declare, once all the rest is there.
    async fn declare(&self, topology: &Topology) -> Result<(), BusError>;

    /// Declares one queue; as [`TopologyAdmin::declare`].
    ///
    /// # Errors
    ///
    /// As [`TopologyAdmin::declare`].
    async fn declare_queue(&self, queue: &QueueSpec) -> Result<(), BusError>;

    /// Deletes one queue with all that is in it. Deleting a missing one does nothing.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout`, `Refused`.
    async fn delete_queue(&self, queue: &str) -> Result<(), BusError>;

    /// Looks at a queue. `None` when it does not exist.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout`, `Refused`.
    async fn inspect(&self, queue: &str) -> Result<Option<QueueStats>, BusError>;

    /// Returns what is not there of a topology, in the words of people. Looks and makes nothing.
    ///
    /// # Errors
    ///
    /// As [`TopologyAdmin::inspect`].
    async fn missing(&self, topology: &Topology) -> Result<Vec<String>, BusError> {
        let mut missing = Vec::new();
        for queue in &topology.queues {
            if self.inspect(&queue.name).await?.is_none() {
                missing.push(format!("queue {}", queue.name));
            }
        }
        Ok(missing)
    }
}

/// What a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages ready to be delivered.
    pub ready: u64,
    /// Consumers attached.
    pub consumers: u32,
}

/// A whole bus: what a component is given.
#[derive(Clone)]
pub struct Bus {
    /// Publishes.
    pub publisher: Arc<dyn Publisher>,
    /// Takes work.
    pub consumer: Arc<dyn Consumer>,
    /// Reads the log.
    pub log: Arc<dyn Log>,
    /// Declares and inspects.
    pub admin: Arc<dyn TopologyAdmin>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").finish_non_exhaustive()
    }
}
