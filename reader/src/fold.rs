//! Reads the log and writes it into the view.
//!
//! ```text
//! hold partitions -> read their positions -> prove the furthest -> attach at the lowest
//!        ^                    ^                                          |
//!        |                    +--- moved, void, connection lost <--- read, split, write
//!        +--- partitions gained
//! ```
//!
//! A batch that cannot be written is kept and tried again; the log waits, its buffer is bounded.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    bus::{BusError, Log, LogEntry, LogReader, LogStart},
    clock::Clock,
    error::chain,
    partition::Partition,
    store::{FoldOutcome, FoldStore, PartitionBatch, Position, StoreError},
};

use crate::{
    Backoff, Config, StatusWatch,
    cursor::{Cursors, Plan, pieces, place},
    metrics,
    sweep::is_caught_up,
    traces,
    trust::{Believed, believed},
};

/// Most bytes of entries that go into one write, so that it ends well within the store's deadline.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// Why reading starts anew.
#[derive(Debug, thiserror::Error)]
enum Restart {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[from] BusError),
    /// The store cannot be asked.
    #[error("the store cannot be asked")]
    Store(#[from] StoreError),
    /// The partitions held are others now.
    #[error("the partitions held have changed")]
    Held,
    /// A partition stands elsewhere: flushed, or written by another reader.
    #[error("partition {0} stands elsewhere")]
    Moved(Partition),
    /// A position named no entry of the log.
    #[error("{0} positions were void")]
    Void(usize),
}

impl Restart {
    /// Says whether to wait before starting anew.
    const fn is_trouble(&self) -> bool {
        matches!(self, Self::Log(_) | Self::Store(_))
    }
}

pub(crate) struct Fold {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn FoldStore>,
    pub clock: Arc<dyn Clock>,
    pub config: Config,
    pub holds: watch::Receiver<Vec<Partition>>,
    pub status: StatusWatch,
    /// When it was said last that a mark is ahead.
    pub warned: Option<Instant>,
}

/// How often at most it is said that a mark is ahead.
const WARN_EVERY: Duration = Duration::from_secs(60);

impl Fold {
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) {
        let mut backoff = Backoff::default();
        while !shutdown.is_cancelled() {
            let Some(restart) = self.session(shutdown, &mut backoff).await else {
                return;
            };
            if restart.is_trouble() {
                let trouble = chain(&restart);
                tracing::warn!(error = %trouble, "folding stopped, trying again");
                self.status.update(|s| s.trouble = Some(trouble));
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = backoff.wait() => {}
                }
            } else {
                tracing::info!(reason = %restart, "folding starts anew");
            }
        }
    }

    /// Folds until something makes it start anew; `None` at shutdown.
    async fn session(
        &mut self,
        shutdown: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Option<Restart> {
        let held = self.holds.borrow_and_update().clone();
        self.status.update(|s| s.held = held.len());
        if held.is_empty() {
            tokio::select! {
                () = shutdown.cancelled() => return None,
                changed = self.holds.changed() => return changed.ok().map(|()| Restart::Held),
            }
        }
        let attached = tokio::select! {
            () = shutdown.cancelled() => return None,
            attached = self.attach(&held) => attached,
        };
        let (mut cursors, mut reader) = match attached {
            Ok(attached) => attached,
            Err(restart) => return Some(restart),
        };
        backoff.reset();
        let mut rebuilding = Some(Instant::now());
        loop {
            let entries = tokio::select! {
                () = shutdown.cancelled() => return None,
                _ = self.holds.changed() => {
                    let held = self.holds.borrow_and_update().clone();
                    if held.is_empty() || !cursors.cover(&held) {
                        return Some(Restart::Held);
                    }
                    cursors.retain(&held);
                    self.status.update(|s| s.held = held.len());
                    continue;
                }
                entries = reader.next_batch(self.config.batch) => match entries {
                    Ok(entries) => entries,
                    Err(error) => return Some(error.into()),
                },
            };
            for piece in pieces(&entries, PIECE_BYTES) {
                if let Err(restart) = self.take(&mut cursors, piece, shutdown).await {
                    return Some(restart);
                }
            }
            let newest = self.status.get().newest;
            let now = self.clock.now();
            let is_rebuilt = newest.is_some_and(|at| is_caught_up(at, now));
            if let Some(began) = rebuilding.take_if(|_| is_rebuilt) {
                let took = began.elapsed().as_secs_f64();
                ::metrics::histogram!(metrics::REBUILD_SECONDS).record(took);
            }
        }
    }

    /// Reads the positions, proves the furthest one, and attaches where the lowest one is.
    async fn attach(&self, held: &[Partition]) -> Result<(Cursors, Box<dyn LogReader>), Restart> {
        let states = self.store.partitions().await?;
        let mut cursors = Cursors::new(held, &states);
        let mut is_first = true;
        while let Some(position) = cursors.furthest_unproven() {
            let mut found = self.first_from(position.offset).await?;
            if found.is_none() && is_first {
                // A good position must not be given up because the broker was slow once.
                found = self.first_from(position.offset).await?;
            }
            is_first = false;
            if found.as_ref() == Some(&position) {
                cursors.prove(&position);
                break;
            }
            for (partition, position) in cursors.void_by(&position, found.as_ref()) {
                self.void(partition, &position, found.as_ref()).await?;
                cursors.void(partition);
            }
        }
        let reader = self.log.read(cursors.start()).await?;
        Ok((cursors, reader))
    }

    /// Returns the place of the first entry that the log gives from an offset on; `None` when none
    /// comes in time.
    async fn first_from(&self, offset: u64) -> Result<Option<Position>, Restart> {
        let mut reader = self.log.read(LogStart::Offset(offset)).await?;
        let limit = self.config.position_timeout;
        Ok(
            match tokio::time::timeout(limit, reader.next_batch(1)).await {
                Ok(entries) => entries?.first().map(place),
                Err(_) => None,
            },
        )
    }

    async fn void(
        &self,
        partition: Partition,
        position: &Position,
        found: Option<&Position>,
    ) -> Result<(), Restart> {
        // Entries that were dropped before they were read are gone; in every other case the log is
        // another one, or lost its tail, and what it holds is all there is.
        let reason = match found {
            Some(found) if found.offset > position.offset => "hole",
            _ => "void",
        };
        tracing::warn!(
            %partition,
            offset = position.offset,
            reason,
            "the log does not hold the entry of this position any more, reading from its start"
        );
        metrics::add(metrics::VOID, reason, 1);
        self.store.void_position(partition, position).await?;
        Ok(())
    }

    async fn take(
        &mut self,
        cursors: &mut Cursors,
        entries: &[LogEntry],
        shutdown: &CancellationToken,
    ) -> Result<(), Restart> {
        let batches = match cursors.plan(entries, self.config.retention, self.clock.now()) {
            Plan::Write(batches) => batches,
            Plan::Void { positions, found } => {
                let count = positions.len();
                for (partition, position) in positions {
                    self.void(partition, &position, Some(&found)).await?;
                }
                return Err(Restart::Void(count));
            }
        };
        cursors.proven_by(entries);
        if !batches.is_empty() {
            let spans = traces::begin(entries, &batches, self.clock.now());
            let (written, outcomes) = self.write(&batches, shutdown).await?;
            drop(spans);
            self.warn(&written.ahead);
            let mut moved = None;
            for (batch, outcome) in written.batches.iter().zip(outcomes) {
                match outcome {
                    FoldOutcome::Written { changed } => {
                        cursors.written(batch);
                        metrics::add(metrics::EVENTS, "applied", changed);
                        let stale = batch.facts.len().saturating_sub(changed);
                        metrics::add(metrics::EVENTS, "stale", stale);
                        metrics::add(metrics::EVENTS, "invalid", batch.bad.len());
                    }
                    // Written already, and the answer was lost.
                    FoldOutcome::Moved(Some(at)) if at == batch.position => {
                        cursors.written(batch);
                        metrics::add(metrics::EVENTS, "stale", batch.facts.len());
                        metrics::add(metrics::EVENTS, "invalid", batch.bad.len());
                    }
                    FoldOutcome::Moved(_) => {
                        metrics::add(metrics::EVENTS, "conflict", batch.facts.len());
                        moved = Some(batch.partition);
                    }
                }
            }
            if let Some(partition) = moved {
                return Err(Restart::Moved(partition));
            }
        }
        self.report(cursors, entries);
        Ok(())
    }

    /// Says that marks were put aside: their server's clock is wrong, or the one here.
    fn warn(&mut self, ahead: &[(String, Timestamp)]) {
        metrics::add(metrics::MARKS, "ahead", ahead.len());
        let Some((server, time)) = ahead.last() else {
            return;
        };
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                server = server.as_str(),
                mark = %time,
                clock = %self.clock.now(),
                "a mark from the future is not believed: one of the two clocks is wrong, or somebody forges marks"
            );
        }
    }

    /// Writes what is believed until the store takes it. A batch that was written although the answer was lost is
    /// then refused as moved, to just where it moves its partition.
    async fn write(
        &self,
        batches: &[PartitionBatch],
        shutdown: &CancellationToken,
    ) -> Result<(Believed, Vec<FoldOutcome>), Restart> {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            match self.try_write(batches).await {
                Ok(written) => {
                    ::metrics::histogram!(metrics::FOLD_SECONDS)
                        .record(started.elapsed().as_secs_f64());
                    return Ok(written);
                }
                Err(error) => {
                    let trouble = chain(&error);
                    tracing::warn!(error = %trouble, "a batch is not written yet");
                    self.status.update(|s| s.trouble = Some(trouble));
                    tokio::select! {
                        () = shutdown.cancelled() => return Err(error.into()),
                        () = backoff.wait() => {}
                    }
                }
            }
        }
    }

    /// What the view has is read just before: if somebody else has moved a partition since, its batch is
    /// refused.
    async fn try_write(
        &self,
        batches: &[PartitionBatch],
    ) -> Result<(Believed, Vec<FoldOutcome>), StoreError> {
        let now = self.clock.now();
        let believed = believed(&*self.store, batches, now).await?;
        let outcomes = self.store.fold(believed.batches.clone(), now).await?;
        Ok((believed, outcomes))
    }

    fn report(&self, cursors: &Cursors, entries: &[LogEntry]) {
        let newest = entries.iter().rev().find_map(|e| e.message.timestamp);
        self.status.update(|s| {
            s.newest = newest.or(s.newest);
            s.lowest = cursors.lowest();
            s.written_at = Some(Instant::now());
            s.trouble = None;
        });
    }
}
