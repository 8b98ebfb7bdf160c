//! Declaring and inspecting, each on a channel that is thrown away: the broker closes the channel
//! to say that something is missing or differs.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use tokio::time::timeout;
use vmctl_core::{
    bus::{BusError, QueueStats, TopologyAdmin},
    topology::{ExchangeSpec, ExchangeType, QueueSpec, Topology},
};

use super::{
    config::Config,
    convert::{exchange_arguments, queue_arguments, short},
    error::{NOT_FOUND, PRECONDITION_FAILED, bus_error, is_access_refused, queue_error, reply},
    link::Link,
};

/// Declares over the connection for consuming: the other one may be blocked.
pub(super) struct AmqpAdmin {
    link: Link,
    within: Duration,
    /// What this user may not declare: asked once, because the broker logs each refusal.
    not_ours: Mutex<HashSet<String>>,
}

impl AmqpAdmin {
    pub fn new(link: Link, config: &Arc<Config>) -> Self {
        Self {
            link,
            within: config.call_timeout,
            not_ours: Mutex::default(),
        }
    }

    fn not_ours(&self) -> MutexGuard<'_, HashSet<String>> {
        self.not_ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Declares something unless this user may not; says whether it was declared. Whoever may not uses what others
    /// have declared.
    async fn declare_ours(
        &self,
        name: &str,
        declare: impl AsyncFnOnce(&Channel) -> Result<(), BusError>,
    ) -> Result<bool, BusError> {
        if self.not_ours().contains(name) {
            return Ok(false);
        }
        match self.on_channel(declare).await {
            Ok(()) => Ok(true),
            Err(error) if is_access_refused(&error) => {
                self.not_ours().insert(name.to_owned());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes calls on a new channel and closes it.
    async fn on_channel<T>(
        &self,
        calls: impl AsyncFnOnce(&Channel) -> Result<T, BusError>,
    ) -> Result<T, BusError> {
        let live = self.link.live_within(self.within).await?;
        let channel = live.channel(self.within).await?;
        timeout(self.within, calls(&channel))
            .await
            .unwrap_or(Err(BusError::Timeout(self.within)))
    }

    async fn declare_exchange(&self, exchange: &ExchangeSpec) -> Result<(), BusError> {
        let declare = async |channel: &Channel| {
            let declared = declare_exchange(channel, exchange, Passive::No).await;
            declared.map_err(|error| drift("exchange", &exchange.name, error))
        };
        if self.declare_ours(&exchange.name, declare).await? || self.has_exchange(exchange).await? {
            return Ok(());
        }
        Err(BusError::Absent(format!("exchange {}", exchange.name)))
    }

    async fn has_exchange(&self, exchange: &ExchangeSpec) -> Result<bool, BusError> {
        self.on_channel(async |channel| {
            match declare_exchange(channel, exchange, Passive::Yes).await {
                Ok(()) => Ok(true),
                Err(error) if matches!(reply(&error), Some((NOT_FOUND, _))) => Ok(false),
                Err(error) => Err(bus_error(error)),
            }
        })
        .await
    }
}

/// Whether a call looks and does not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passive {
    Yes,
    No,
}

/// Keeps what is absent for later.
fn note(absent: &mut Vec<String>, declared: Result<(), BusError>) -> Result<(), BusError> {
    match declared {
        Err(BusError::Absent(what)) => {
            absent.push(what);
            Ok(())
        }
        declared => declared,
    }
}

#[async_trait]
impl TopologyAdmin for AmqpAdmin {
    async fn declare(&self, topology: &Topology) -> Result<(), BusError> {
        let mut absent = Vec::new();
        for exchange in &topology.exchanges {
            note(&mut absent, self.declare_exchange(exchange).await)?;
        }
        for queue in &topology.queues {
            note(&mut absent, self.declare_queue(queue).await)?;
        }
        if absent.is_empty() {
            return Ok(());
        }
        Err(BusError::Absent(absent.join(", ")))
    }

    async fn declare_queue(&self, queue: &QueueSpec) -> Result<(), BusError> {
        let declared = self
            .declare_ours(&queue.name, async |channel| declare(channel, queue).await)
            .await?;
        if declared {
            return self
                .on_channel(async |channel| bind(channel, queue).await)
                .await;
        }
        // Who has declared it has bound it too.
        if self.inspect(&queue.name).await?.is_some() {
            return Ok(());
        }
        Err(BusError::Absent(format!("queue {}", queue.name)))
    }

    async fn delete_queue(&self, queue: &str) -> Result<(), BusError> {
        let name = short("the queue's name", queue)?;
        self.on_channel(async |channel| {
            // Whatever is in it: callers ask for just that.
            let options = QueueDeleteOptions::default();
            let deleted = channel.queue_delete(name, options).await;
            match deleted.map_err(|error| queue_error(queue, error)) {
                Ok(_) | Err(BusError::MissingQueue(_)) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn inspect(&self, queue: &str) -> Result<Option<QueueStats>, BusError> {
        let name = short("the queue's name", queue)?;
        self.on_channel(async |channel| {
            let options = QueueDeclareOptions {
                // Looks and does not make.
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let looked = channel
                .queue_declare(name, options, FieldTable::default())
                .await;
            match looked.map_err(|error| queue_error(queue, error)) {
                Ok(found) => Ok(Some(QueueStats {
                    ready: found.message_count().into(),
                    consumers: found.consumer_count(),
                })),
                Err(BusError::MissingQueue(_)) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn missing(&self, topology: &Topology) -> Result<Vec<String>, BusError> {
        let mut missing = Vec::new();
        for exchange in &topology.exchanges {
            if !self.has_exchange(exchange).await? {
                missing.push(format!("exchange {}", exchange.name));
            }
        }
        for queue in &topology.queues {
            if self.inspect(&queue.name).await?.is_none() {
                missing.push(format!("queue {}", queue.name));
            }
        }
        Ok(missing)
    }
}

async fn declare_exchange(
    channel: &Channel,
    exchange: &ExchangeSpec,
    passive: Passive,
) -> lapin::Result<()> {
    let kind = match exchange.exchange_type {
        ExchangeType::Topic => ExchangeKind::Topic,
        ExchangeType::Fanout => ExchangeKind::Fanout,
    };
    let options = ExchangeDeclareOptions {
        // Outlives a restart of the broker.
        durable: true,
        passive: passive == Passive::Yes,
        ..ExchangeDeclareOptions::default()
    };
    // Names of exchanges stand in the topology and are short.
    let name = exchange.name.as_str().into();
    channel
        .exchange_declare(name, kind, options, exchange_arguments(exchange))
        .await
}

/// Declares a queue and its bindings on this channel, which is of no use after an error.
pub(super) async fn declare_on(channel: &Channel, queue: &QueueSpec) -> Result<(), BusError> {
    declare(channel, queue).await?;
    bind(channel, queue).await
}

async fn declare(channel: &Channel, queue: &QueueSpec) -> Result<(), BusError> {
    let name = short("the queue's name", &queue.name)?;
    // Outlives a restart of the broker; what is in it is another question.
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(name, options, queue_arguments(queue));
    declared
        .await
        .map(drop)
        .map_err(|error| drift("queue", &queue.name, error))
}

async fn bind(channel: &Channel, queue: &QueueSpec) -> Result<(), BusError> {
    for binding in &queue.bindings {
        channel
            .queue_bind(
                short("the queue's name", &queue.name)?,
                short("the exchange's name", &binding.exchange)?,
                short("the binding's key", &binding.key)?,
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|error| queue_error(&queue.name, error))?;
    }
    Ok(())
}

/// Tells drift, in the broker's own words, from other failures.
fn drift(what: &str, name: &str, error: lapin::Error) -> BusError {
    match reply(&error) {
        Some((PRECONDITION_FAILED, text)) => BusError::Drift(format!("{what} {name}: {text}")),
        _ => bus_error(error),
    }
}
