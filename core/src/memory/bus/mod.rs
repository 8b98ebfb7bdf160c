//! A broker in memory: the same topology, the same promises; on disk only if it has a journal.
//!
//! Exchanges, quorum and classic queues, streams and dead-lettering behave as RabbitMQ's do as far
//! as the ports can tell, down to the refused publish that the log has all the same. It is what
//! the standalone server runs on, and what tests run on; it passes the contract suite that
//! RabbitMQ passes.
//!
//! What always holds:
//!
//! - One lock guards the broker; it is never held across an await, and what is done under it is
//!   bounded.
//! - Everything is bounded: the log by [`Limits`], the queues together by
//!   [`Limits::queued_bytes`], above which publishers are blocked, as RabbitMQ does when memory is
//!   short.
//! - With a [`journal`], durable queues and streams outlive the process, and a confirm means that
//!   the message is in it.
//! - Delays follow tokio's clock, so a paused clock moves them; timestamps follow the
//!   [`Clock`] that was passed in.

mod admin;
mod broker;
mod consumer;
mod consumers;
mod dead_letter;
mod drift;
pub mod journal;
mod log;
mod message;
mod publisher;
mod queue;
mod router;
mod stream;
mod time;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout},
};

use self::{
    broker::Broker,
    journal::{Journal, JournalError, Progress, Recorder, Restored},
};
use crate::{
    bus::{Bus, PublishError},
    clock::Clock,
};

/// How much the broker holds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Entries that a stream keeps.
    pub log_entries: usize,
    /// Bytes that a stream keeps, if its specification allows no fewer.
    pub log_bytes: usize,
    /// Entries of one segment: what a stream forgets, it forgets by the segment.
    pub log_segment_entries: usize,
    /// Bytes in all other queues together, above which publishers are blocked.
    pub queued_bytes: usize,
    /// How long a publish waits for the journal, and what one that lost its confirm says it has
    /// waited.
    pub confirm_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_entries: 200_000,
            log_bytes: 256 << 20,
            log_segment_entries: 4096,
            queued_bytes: 512 << 20,
            confirm_timeout: Duration::from_secs(5),
        }
    }
}

/// How a confirm fails, for [`InMemoryBus::fail_next_confirms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmFailure {
    /// [`PublishError::Timeout`](crate::bus::PublishError::Timeout).
    Timeout,
    /// [`PublishError::Lost`](crate::bus::PublishError::Lost).
    Lost,
    /// [`PublishError::Nacked`](crate::bus::PublishError::Nacked).
    Nacked,
}

/// A handle to a broker in memory. Clones share the broker.
#[derive(Clone)]
pub struct InMemoryBus(Arc<Shared>);

impl std::fmt::Debug for InMemoryBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InMemoryBus").finish_non_exhaustive()
    }
}

impl InMemoryBus {
    /// Makes an empty broker: nothing is declared.
    pub fn new(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self(Arc::new(Shared::new(Broker::new(clock, limits))))
    }

    /// Makes a broker that holds what the journal does, and keeps there what it gets. Must be called
    /// on a runtime.
    ///
    /// What was handed out and not settled when the journal was written last is delivered again.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; the journal is as it was.
    pub async fn with_journal(
        clock: Arc<dyn Clock>,
        limits: Limits,
        journal: Arc<dyn Journal>,
    ) -> Result<(Self, Restored), JournalError> {
        let now = Instant::now();
        let from = Arc::clone(&journal);
        let restore = move || Broker::restore(clock, limits, &*from, now);
        let restored = tokio::task::spawn_blocking(restore).await;
        let (broker, restored) = restored.map_err(|e| JournalError::Unavailable(e.into()))??;
        let shared = Arc::new(Shared::new(broker));
        *lock(&shared.writer) = journal::spawn(&shared, journal);
        Ok((Self(shared), restored))
    }

    /// Returns the queues that came from the journal and that nobody has declared since, with what
    /// they hold.
    pub fn undeclared(&self) -> Vec<(String, usize)> {
        self.0.with(|broker, _| broker.undeclared())
    }

    /// Ends as [`shutdown`](Self::shutdown) does, and waits, but not long, until the journal has
    /// everything and is let go.
    pub async fn close(&self) {
        self.shutdown();
        let writer = lock(&self.0.writer).take();
        if let Some(writer) = writer {
            // What is not written by then was not confirmed, or is delivered again.
            let _ = timeout(CLOSE, writer).await;
        }
    }

    /// Returns the ports.
    pub fn bus(&self) -> Bus {
        Bus {
            publisher: Arc::new(self.clone()),
            consumer: Arc::new(self.clone()),
            log: Arc::new(self.clone()),
            admin: Arc::new(self.clone()),
        }
    }

    /// Ends every stream and refuses every call from now on.
    pub fn shutdown(&self) {
        self.0.with(Broker::shutdown);
        self.0.wake_writer();
    }

    /// Blocks publishers with this reason, or no longer.
    pub fn set_blocked(&self, reason: Option<&str>) {
        self.0.with(|broker, _| broker.set_blocked(reason));
    }

    /// Takes the broker away, or brings it back with all that it held. Deliveries and readers of
    /// the log are lost when it goes; consumers and feeds go on when it is back.
    pub fn set_down(&self, down: bool) {
        self.0.with(|broker, now| broker.set_down(down, now));
    }

    /// Breaks every connection once.
    pub fn break_connections(&self) {
        self.0.with(|broker, now| {
            broker.set_down(true, now);
            broker.set_down(false, now);
        });
    }

    /// Lets the next `count` confirms fail: the message is accepted, and its publisher is told
    /// otherwise. Replaces what an earlier call has left.
    pub fn fail_next_confirms(&self, count: usize, how: ConfirmFailure) {
        self.0
            .with(|broker, _| broker.fail_next_confirms(count, how));
    }
}

/// The broker, its lock, and what wakes its timer.
struct Shared {
    broker: Mutex<Broker>,
    alarm: Arc<Notify>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// How long [`InMemoryBus::close`] waits for the journal.
const CLOSE: Duration = Duration::from_secs(5);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new(broker: Broker) -> Self {
        Self {
            broker: Mutex::new(broker),
            alarm: Arc::new(Notify::new()),
            writer: Mutex::new(None),
        }
    }

    /// Waits until a batch is in the journal.
    async fn wait_kept(self: &Arc<Self>, batch: u64) -> Result<(), PublishError> {
        let limits = |broker: &mut Broker| {
            let progress = broker.journal.as_ref().map(Recorder::watch);
            (progress, broker.limits.confirm_timeout)
        };
        let (progress, patience) = self.with(|broker, _| limits(broker));
        let Some(mut progress) = progress else {
            return Ok(());
        };
        let done = |progress: &Progress| progress.kept >= batch || progress.failure.is_some();
        match timeout(patience, progress.wait_for(done)).await {
            Ok(Ok(progress)) if progress.kept >= batch => Ok(()),
            Ok(Ok(progress)) => Err(PublishError::Lost(
                progress.failure.as_deref().map(Into::into),
            )),
            Ok(Err(_)) => Err(PublishError::Lost(None)),
            Err(_) => Err(PublishError::Timeout(patience)),
        }
    }

    fn wake_writer(self: &Arc<Self>) {
        self.with(|broker, _| {
            if let Some(journal) = &broker.journal {
                journal.urgent.notify_one();
            }
        });
    }

    /// Does one thing with the broker, after everything that is due by now.
    fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut Broker, Instant) -> T) -> T {
        let now = Instant::now();
        let mut broker = lock(&self.broker);
        broker.advance(now);
        let outcome = act(&mut broker, now);
        time::arm(self, &mut broker);
        outcome
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The timer sees that nobody is left.
        self.alarm.notify_one();
        let broker = self
            .broker
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = &broker.journal {
            journal.urgent.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
