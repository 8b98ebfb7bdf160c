//! Makes room in a store that is nearly full: records of ended jobs are forgotten before their time.
//!
//! Those go first that would be forgotten first, some at a time, and only after their records have said so
//! for a while. Live jobs stay, and so does an end that somebody may still wait for: one of the last
//! minutes, and one that a parent needs. Each partition is asked for where it is, so in a cluster only
//! the masters that are full forget. A store that is full all the same makes the fold wait.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    clock::{self, Clock},
    error::chain,
    fact::Retention,
    partition::Partition,
    store::{FoldStore, StoreError},
};

use crate::{Config, StatusWatch, metrics};

/// How often the store is asked.
const LOOK: Duration = Duration::from_secs(5);

/// From here on records are forgotten earlier.
const HIGH: f64 = 0.85;

/// From here on they are forgotten at once.
const FULL: f64 = 0.95;

/// How long a record says that it will be forgotten early, in a store that is nearly full, and in one
/// that is full.
const NOTICE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5));

/// Makes room.
pub(crate) struct Pressure {
    store: Arc<dyn FoldStore>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    least_kept: Duration,
    holds: watch::Receiver<Vec<Partition>>,
    status: StatusWatch,
    /// When a partition's records may be shortened again: what was shortened has gone then.
    waits: HashMap<Partition, (Instant, Duration)>,
}

/// Says how long records of a partition that is so full say beforehand that they go; `None` when they
/// need not go.
fn notice(fullness: f64) -> Option<Duration> {
    let (long, short) = NOTICE;
    (fullness >= HIGH).then_some(if fullness < FULL { long } else { short })
}

impl Pressure {
    pub(crate) fn new(
        store: Arc<dyn FoldStore>,
        clock: Arc<dyn Clock>,
        config: &Config,
        holds: watch::Receiver<Vec<Partition>>,
        status: StatusWatch,
    ) -> Self {
        Self {
            store,
            clock,
            retention: config.retention,
            least_kept: config.least_kept,
            holds,
            status,
            waits: HashMap::new(),
        }
    }

    pub(crate) async fn run(mut self, shutdown: &CancellationToken) {
        let mut interval = tokio::time::interval(LOOK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = interval.tick() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                looked = self.look() => if let Err(error) = looked {
                    tracing::debug!(error = %chain(&error), "how full the store is cannot be told");
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let held = self.holds.borrow().clone();
        if held.is_empty() {
            return Ok(());
        }
        let fullness = self.store.fullness(&held).await?;
        let most = fullness.iter().flatten().copied().fold(0.0, f64::max);
        self.say(most);
        let mut taken = 0;
        for (partition, fullness) in held.into_iter().zip(fullness) {
            match fullness.and_then(notice) {
                Some(notice) if !self.waits(partition, notice) => {
                    taken += self.shorten(partition, notice).await?;
                }
                Some(_) => {}
                None => drop(self.waits.remove(&partition)),
            }
        }
        metrics::add(metrics::SHORTENED, "shortened", taken);
        if taken > 0 {
            tracing::warn!(
                records = taken,
                store.fullness = most,
                "the store is nearly full, the oldest ended jobs are forgotten early"
            );
        }
        Ok(())
    }

    fn say(&self, fullness: f64) {
        ::metrics::gauge!(metrics::FULLNESS).set(fullness);
        self.status.update(|status| {
            status.pressed = (fullness >= HIGH).then_some(fullness);
        });
    }

    /// Says whether what was shortened last is still there. One that is more urgent does not wait for it.
    fn waits(&self, partition: Partition, notice: Duration) -> bool {
        let last = self.waits.get(&partition);
        last.is_some_and(|(until, last)| Instant::now() < *until && notice >= *last)
    }

    async fn shorten(
        &mut self,
        partition: Partition,
        notice: Duration,
    ) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let at = clock::add(now, notice);
        let taken = self.store.shorten(partition, self.latest(now), at).await?;
        self.waits
            .insert(partition, (Instant::now() + notice, notice));
        Ok(taken)
    }

    /// Returns when a record is forgotten at the latest whose time is counted from an end that is long
    /// enough ago. A later one is needed: by a parent, or until its command cannot run any more.
    fn latest(&self, now: Timestamp) -> Timestamp {
        let ended = now.checked_sub(self.least_kept).unwrap_or(Timestamp::MIN);
        clock::add(ended, self.retention.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuller_the_sooner() {
        let seconds = |fullness| notice(fullness).map(|notice| notice.as_secs());
        assert_eq!(seconds(0.0), None);
        assert_eq!(seconds(0.84), None);
        assert_eq!(seconds(0.85), Some(60));
        assert_eq!(seconds(0.95), Some(5));
        assert_eq!(seconds(1.2), Some(5));
    }
}
