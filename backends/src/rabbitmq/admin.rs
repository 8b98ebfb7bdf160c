//! Declaring and inspecting, each on a channel that is thrown away: the broker closes the channel
//! to say that something is missing or differs.

use std::{sync::Arc, time::Duration};

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
    error::{PRECONDITION_FAILED, bus_error, queue_error, reply},
    link::Link,
};

/// Declares over the connection for consuming: the other one may be blocked.
pub(super) struct AmqpAdmin {
    link: Link,
    within: Duration,
}

impl AmqpAdmin {
    pub fn new(link: Link, config: &Arc<Config>) -> Self {
        Self {
            link,
            within: config.call_timeout,
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
}

#[async_trait]
impl TopologyAdmin for AmqpAdmin {
    async fn declare(&self, topology: &Topology) -> Result<(), BusError> {
        for exchange in &topology.exchanges {
            self.on_channel(async |channel| declare_exchange(channel, exchange).await)
                .await?;
        }
        for queue in &topology.queues {
            self.declare_queue(queue).await?;
        }
        Ok(())
    }

    async fn declare_queue(&self, queue: &QueueSpec) -> Result<(), BusError> {
        self.on_channel(async |channel| declare_on(channel, queue).await)
            .await
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
}

async fn declare_exchange(channel: &Channel, exchange: &ExchangeSpec) -> Result<(), BusError> {
    let kind = match exchange.exchange_type {
        ExchangeType::Topic => ExchangeKind::Topic,
        ExchangeType::Fanout => ExchangeKind::Fanout,
    };
    let options = ExchangeDeclareOptions {
        // Outlives a restart of the broker.
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let name = short("the exchange's name", &exchange.name)?;
    channel
        .exchange_declare(name, kind, options, exchange_arguments(exchange))
        .await
        .map_err(|error| drift("exchange", &exchange.name, error))
}

/// Declares a queue and its bindings on this channel, which is of no use after an error.
pub(super) async fn declare_on(channel: &Channel, queue: &QueueSpec) -> Result<(), BusError> {
    let name = short("the queue's name", &queue.name)?;
    // Outlives a restart of the broker; what is in it is another question.
    let options = QueueDeclareOptions::durable();
    channel
        .queue_declare(name.clone(), options, queue_arguments(queue))
        .await
        .map_err(|error| drift("queue", &queue.name, error))?;
    for binding in &queue.bindings {
        channel
            .queue_bind(
                name.clone(),
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
