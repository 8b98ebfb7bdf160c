//! Shares the partitions with the other readers alive.
//!
//! Correctness does not need this: two readers on one partition make conflicts, not errors. It
//! keeps them from doing the same work.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vmctl_core::{error::chain, partition::Partition, store::FoldStore};

use crate::metrics;

pub(crate) struct Leases {
    pub store: Arc<dyn FoldStore>,
    pub name: String,
    pub ttl: Duration,
    pub held: watch::Sender<Vec<Partition>>,
}

impl Leases {
    pub(crate) async fn run(self, shutdown: &CancellationToken) {
        let mut interval = tokio::time::interval(self.ttl / 3);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = interval.tick() => self.renew().await,
            }
        }
        if let Err(error) = self.store.release_partitions(&self.name).await {
            tracing::info!(error = %chain(&error), "partitions are not given back, they lapse");
        }
    }

    async fn renew(&self) {
        match self.store.hold_partitions(&self.name, self.ttl).await {
            Ok(mut partitions) => {
                partitions.sort_unstable();
                metrics::set(metrics::PARTITIONS, partitions.len());
                self.held.send_if_modified(|held| {
                    let lost = held.iter().filter(|at| !partitions.contains(at)).count();
                    ::metrics::counter!(metrics::LEASES_LOST).increment(lost as u64);
                    let changed = *held != partitions;
                    *held = partitions;
                    changed
                });
            }
            // The fold meets the same trouble and says so; what is held stays until then.
            Err(error) => tracing::debug!(error = %chain(&error), "leases are not renewed"),
        }
    }
}
