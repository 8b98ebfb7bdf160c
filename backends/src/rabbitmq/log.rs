//! Reading the log: a stream, consumed from a position.
//!
//! The broker sends ahead up to the prefetch and goes on as entries are acked; an ack takes nothing
//! out of a stream. One ack for a hundred entries makes reading several times faster than one for
//! each. A reader never recovers: its owner attaches again and verifies its position.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
};
use tokio::time::timeout;
use vmctl_core::{
    bus::{BusError, Log, LogEntry, LogReader, LogStart},
    topology::QUEUE_LOG,
};

use super::{
    config::Config,
    convert::{offset, received, stream_start},
    error::{NoConnection, bus_error, queue_error},
    link::{Link, Live},
    metrics,
};

/// How far the broker sends ahead.
const PREFETCH: u16 = 1000;

/// How many entries one ack is for.
const ACK_EVERY: u64 = 100;

/// Reads the log over the connection for consuming.
pub(super) struct AmqpLog {
    link: Link,
    config: Arc<Config>,
}

impl AmqpLog {
    pub fn new(link: Link, config: &Arc<Config>) -> Self {
        Self {
            link,
            config: config.clone(),
        }
    }
}

#[async_trait]
impl Log for AmqpLog {
    async fn read(&self, from: LogStart) -> Result<Box<dyn LogReader>, BusError> {
        let within = self.config.call_timeout;
        let live = self.link.live_within(within).await?;
        let channel = live.channel(within).await?;
        let calls = async {
            // For each consumer; streams require a limit.
            let qos = BasicQosOptions::default();
            channel.basic_qos(PREFETCH, qos).await?;
            // With acks: they are the flow control of a stream.
            let options = BasicConsumeOptions::default();
            channel
                .basic_consume(QUEUE_LOG.into(), "".into(), options, stream_start(from))
                .await
        };
        let consumer = match timeout(within, calls).await {
            Ok(consumer) => consumer.map_err(|error| queue_error(QUEUE_LOG, error))?,
            Err(_) => return Err(BusError::Timeout(within)),
        };
        Ok(Box::new(AmqpLogReader {
            live,
            channel,
            consumer,
            within,
            first: None,
            taken: Taken::default(),
            ended: false,
        }))
    }
}

struct AmqpLogReader {
    live: Arc<Live>,
    channel: Channel,
    consumer: lapin::Consumer,
    within: Duration,
    /// An entry that was waited for and not handed out yet.
    first: Option<lapin::message::Delivery>,
    taken: Taken,
    ended: bool,
}

/// What was handed out, by delivery tag.
#[derive(Default)]
struct Taken {
    last: u64,
    acked: u64,
}

impl Taken {
    fn ack_due(&self) -> bool {
        self.last - self.acked >= ACK_EVERY
    }
}

#[async_trait]
impl LogReader for AmqpLogReader {
    async fn next_batch(&mut self, max: usize) -> Result<Vec<LogEntry>, BusError> {
        if self.ended {
            return Err(NoConnection::new("this reader has ended").into());
        }
        let batch = self.batch(max.max(1)).await;
        self.ended = batch.is_err();
        batch
    }
}

impl AmqpLogReader {
    async fn batch(&mut self, max: usize) -> Result<Vec<LogEntry>, BusError> {
        // For what the last batches took: after this, nothing is waited for with entries in hand.
        if self.taken.ack_due() {
            self.ack().await?;
        }
        if self.first.is_none() {
            self.first = Some(self.arrival().await?);
        }
        let mut entries = Vec::new();
        while let Some(delivery) = self.first.take() {
            self.taken.last = delivery.delivery_tag;
            entries.push(entry(delivery)?);
            if entries.len() == max {
                break;
            }
            // Only what is there. An error shows again on the next call.
            self.first = match self.consumer.next().now_or_never() {
                Some(Some(Ok(delivery))) => Some(delivery),
                Some(_) => {
                    self.ended = true;
                    None
                }
                None => None,
            };
        }
        metrics::log_read(entries.len());
        Ok(entries)
    }

    async fn arrival(&mut self) -> Result<lapin::message::Delivery, BusError> {
        tokio::select! {
            biased;
            arrival = self.consumer.next() => match arrival {
                Some(delivery) => delivery.map_err(bus_error),
                None => Err(NoConnection::new("the broker ended the subscription").into()),
            },
            () = self.live.lost().cancelled() => {
                Err(NoConnection::new("lost while reading").into())
            }
        }
    }

    async fn ack(&mut self) -> Result<(), BusError> {
        let tag = self.taken.last;
        let ack = self
            .channel
            .basic_ack(tag, BasicAckOptions { multiple: true });
        match timeout(self.within, ack).await {
            Ok(acked) => acked.map_err(bus_error)?,
            Err(_) => return Err(BusError::Timeout(self.within)),
        }
        self.taken.acked = tag;
        Ok(())
    }
}

fn entry(delivery: lapin::message::Delivery) -> Result<LogEntry, BusError> {
    let Some(offset) = offset(&delivery.properties) else {
        let error = "an entry of the log has no offset: the queue is no stream";
        return Err(BusError::Drift(error.to_owned()));
    };
    Ok(LogEntry {
        offset,
        message: received(delivery),
    })
}
