//! Measures how far the reader is behind, in seconds and in entries, also while it folds nothing; how far
//! the log reaches back; and how far the clock is from the store's.
//!
//! The broker does not tell the end of a stream; the next entry that arrives does. Servers publish
//! a mark every second, so the wait is short.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use vmctl_core::{
    bus::{BusError, Log, LogStart},
    clock::{self, Clock},
    error::chain,
    store::{FoldStore, clock_ahead},
};

use crate::{StatusWatch, metrics};

/// How often it is measured.
const INTERVAL: Duration = Duration::from_secs(5);

/// How often it is looked how far the log reaches back.
const LOOK_BACK_EVERY: Duration = Duration::from_secs(60);

/// How long an entry may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Lag {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn FoldStore>,
    pub clock: Arc<dyn Clock>,
    pub status: StatusWatch,
}

impl Lag {
    pub(crate) async fn run(self, shutdown: &CancellationToken) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut back = tokio::time::interval(LOOK_BACK_EVERY);
        back.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = interval.tick() => self.seconds(),
                _ = back.tick() => {
                    if let Err(error) = self.look_back().await {
                        tracing::debug!(error = %chain(&error), "the log's age is not measured");
                    }
                    continue;
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.clock() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                measured = self.measure() => if let Err(error) = measured {
                    tracing::debug!(error = %chain(&error), "the lag is not measured");
                }
            }
        }
    }

    /// Servers mark the log every second, so an older newest entry means that the reader is behind,
    /// or that nobody can publish.
    fn seconds(&self) {
        if let Some(newest) = self.status.get().newest {
            let lag = self.clock.now().duration_since(newest).as_secs_f64();
            ::metrics::gauge!(metrics::LAG_SECONDS).set(lag.max(0.0));
        }
    }

    /// With a wrong clock the reader believes no mark, or those that it must not believe.
    async fn clock(&self) {
        let Ok(ahead) = clock_ahead(&*self.store, &*self.clock).await else {
            // What the store says no more is told elsewhere.
            return;
        };
        ::metrics::gauge!(metrics::CLOCK).set(ahead.as_secs_f64());
        if ahead.unsigned_abs() > clock::DIFFERENCE {
            tracing::warn!(
                clock.ahead_seconds = ahead.as_secs_f64(),
                "the clock here and the store's differ: marks may not be believed, or wrongly"
            );
        }
    }

    /// The broker drops what is too old, and what is too much. The second may be before a live job is said again.
    async fn look_back(&self) -> Result<(), BusError> {
        let mut reader = self.log.read(LogStart::First).await?;
        let Ok(entries) = tokio::time::timeout(PATIENCE, reader.next_batch(1)).await else {
            return Ok(());
        };
        let entries = entries?;
        let oldest = entries.first().filter(|entry| entry.offset > 0);
        let published = oldest.and_then(|entry| entry.message.timestamp);
        // A log from which nothing is gone is as young as it should be.
        let age = published.map_or(f64::NAN, |published| {
            self.clock.now().duration_since(published).as_secs_f64()
        });
        ::metrics::gauge!(metrics::LOG_SECONDS).set(age);
        Ok(())
    }

    async fn measure(&self) -> Result<(), BusError> {
        let mut reader = self.log.read(LogStart::Next).await?;
        let Ok(entries) = tokio::time::timeout(PATIENCE, reader.next_batch(1)).await else {
            return Ok(());
        };
        let end = entries?.first().map(|entry| entry.offset);
        // Read after the entry arrived: the reader may have folded it by now.
        if let (Some(end), Some(lowest)) = (end, self.status.get().lowest) {
            let behind = end.saturating_sub(lowest);
            metrics::set(
                metrics::LAG_EVENTS,
                usize::try_from(behind).unwrap_or(usize::MAX),
            );
        }
        Ok(())
    }
}
