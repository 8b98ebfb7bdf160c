//! Measures how far the reader is behind, in seconds and in entries, also while it folds nothing; and how
//! far its clock is from the store's.
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

/// How long the next entry may take to arrive.
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
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = interval.tick() => self.seconds(),
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
