//! [`Log`] in memory.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{
    InMemoryBus, Shared,
    broker::{Broker, Link},
    message::Stored,
    stream::Stream,
};
use crate::{
    bus::{BusError, Log, LogEntry, LogReader, LogStart},
    topology::QUEUE_LOG,
};

#[async_trait]
impl Log for InMemoryBus {
    async fn read(&self, from: LogStart) -> Result<Box<dyn LogReader>, BusError> {
        self.0.with(|broker, _| {
            let epoch = broker.epoch;
            let stream = broker.log()?;
            stream.readers += 1;
            let reader = Reader {
                shared: Arc::clone(&self.0),
                epoch,
                incarnation: stream.incarnation,
                next: stream.start(from),
            };
            Ok(Box::new(reader) as Box<dyn LogReader>)
        })
    }
}

/// One attached reader.
struct Reader {
    shared: Arc<Shared>,
    /// The connection that it belongs to.
    epoch: u64,
    incarnation: u64,
    next: u64,
}

enum Batch {
    Entries(Vec<(u64, Arc<Stored>)>),
    Empty(tokio::sync::futures::OwnedNotified),
}

impl Reader {
    /// Reads what is there. What comes after is told by what is returned, and not missed.
    fn try_batch(&self, max: usize) -> Result<Batch, BusError> {
        self.shared.with(|broker, _| {
            let stream = broker.log_of(self.epoch, self.incarnation)?;
            let entries = stream.read(self.next, max.max(1));
            Ok(if entries.is_empty() {
                Batch::Empty(Notify::notified_owned(Arc::clone(&stream.grown)))
            } else {
                Batch::Entries(entries)
            })
        })
    }
}

#[async_trait]
impl LogReader for Reader {
    async fn next_batch(&mut self, max: usize) -> Result<Vec<LogEntry>, BusError> {
        tokio::task::coop::consume_budget().await;
        loop {
            match self.try_batch(max)? {
                Batch::Empty(grown) => grown.await,
                Batch::Entries(entries) => {
                    let last = entries.last().map(|(offset, _)| *offset);
                    self.next = last.map_or(self.next, |last| last + 1);
                    let entry = |(offset, stored): (u64, Arc<Stored>)| LogEntry {
                        offset,
                        message: stored.received(0),
                    };
                    return Ok(entries.into_iter().map(entry).collect());
                }
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.with(|broker, _| {
            if let Some(stream) = broker.streams.get_mut(QUEUE_LOG)
                && stream.incarnation == self.incarnation
            {
                stream.readers -= 1;
            }
        });
    }
}

impl Broker {
    fn log(&mut self) -> Result<&mut Stream, BusError> {
        if self.link != Link::Up {
            return Err(BusError::Unavailable(None));
        }
        let log = self.streams.get_mut(QUEUE_LOG);
        log.ok_or_else(|| BusError::MissingQueue(QUEUE_LOG.to_owned()))
    }

    /// Returns the log, if it is the same and the connection to it never broke.
    fn log_of(&mut self, epoch: u64, incarnation: u64) -> Result<&mut Stream, BusError> {
        if self.epoch != epoch {
            return Err(BusError::Unavailable(None));
        }
        let log = self.log()?;
        if log.incarnation != incarnation {
            return Err(BusError::MissingQueue(QUEUE_LOG.to_owned()));
        }
        Ok(log)
    }
}
