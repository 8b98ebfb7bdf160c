//! Says live jobs again that nobody has spoken of for long.
//!
//! - The log forgets after a day. A job that was not heard of for half of that is said again as `kept`,
//!   which alone rebuilds its record (see [`vmctl_core::kept`]).
//! - A queue may lose what it holds: somebody purges or deletes it. A job that waits in a queue which has
//!   been empty for minutes is published again, under the same id: where it was not lost, worker and merge
//!   absorb the copy.
//!
//! The view is gone through page by page, for at most a second in one round of the sweep. What was found
//! empty when a pass began holds for the whole pass, so that it publishes a job at most once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;
use vmctl_core::{
    Kind,
    bus::Bus,
    clock::Clock,
    error::chain,
    event::Event,
    kept::{first_command, kept},
    partition::Partition,
    record::Record,
    store::{FoldStore, HeardKey, StoreError},
    topology::work_queue,
};

use crate::{Config, emptied::Emptied, metrics, said};

/// Jobs that are read at once.
const PAGE: usize = 100;

/// How long a round may take: deadlines are looked at between two of them.
const ROUND: Duration = Duration::from_secs(1);

/// So many rounds may pass between two looks at a queue.
const MISSED: u32 = 3;

pub(crate) struct Silent {
    bus: Bus,
    store: Arc<dyn FoldStore>,
    clock: Arc<dyn Clock>,
    source: String,
    keep_after: Duration,
    empty_for: Duration,
    gap: Duration,
    emptied: Emptied,
    pass: Option<Pass>,
    begun: Option<Instant>,
    /// Since when the oldest job of a kind has waited, as the last whole pass has found.
    oldest: BTreeMap<Kind, Timestamp>,
}

/// One pass through the partitions.
struct Pass {
    /// What is left, in order; the last one first.
    left: Vec<Partition>,
    /// How far the partition at its end is.
    after: Option<HeardKey>,
    /// Queues that were empty when the pass began, and since when.
    emptied: BTreeMap<Kind, Timestamp>,
    /// Since when the oldest job of a kind has waited, of those looked at.
    oldest: BTreeMap<Kind, Timestamp>,
    /// Whether every partition held was caught up: what was not looked at may have older ones.
    is_whole: bool,
}

/// The broker does not take what is said: the round is over.
struct NotTaken;

impl Silent {
    pub(crate) fn new(
        bus: Bus,
        store: Arc<dyn FoldStore>,
        clock: Arc<dyn Clock>,
        config: &Config,
        kinds: impl IntoIterator<Item = Kind>,
    ) -> Self {
        let mut emptied = Emptied::default();
        kinds.into_iter().for_each(|kind| emptied.watch(kind));
        Self {
            bus,
            store,
            clock,
            source: format!("/reader/{}", config.name),
            keep_after: config.keep_after,
            empty_for: config.empty_for,
            gap: config.sweep_interval * MISSED,
            emptied,
            pass: None,
            begun: None,
            oldest: BTreeMap::new(),
        }
    }

    /// No partition is held: others know what waits in them.
    pub(crate) fn let_go(&mut self) {
        self.pass = None;
        self.found(BTreeMap::new());
    }

    /// Goes on with the pass, or begins one if it is time. `marks` has the newest mark of each partition
    /// that is caught up.
    pub(crate) async fn round(
        &mut self,
        marks: &BTreeMap<Partition, Timestamp>,
        held: usize,
    ) -> Result<(), StoreError> {
        self.look().await;
        if !marks.is_empty() {
            self.tell_ages();
        }
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None if !marks.is_empty() && self.is_time() => self.begin(marks, held),
            None => return Ok(()),
        };
        let until = Instant::now() + ROUND;
        while Instant::now() < until {
            let Some(&partition) = pass.left.last() else {
                break;
            };
            let more = if let Some(mark) = marks.get(&partition) {
                self.page(&mut pass, partition, *mark, until).await
            } else {
                pass.is_whole = false;
                Ok(Ok(false))
            };
            match more {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    pass.left.pop();
                    pass.after = None;
                }
                Ok(Err(NotTaken)) => {
                    // What was seen before the broker was away says nothing any more.
                    pass.emptied.clear();
                    self.pass = Some(pass);
                    return Ok(());
                }
                Err(error) => {
                    self.pass = Some(pass);
                    return Err(error);
                }
            }
        }
        if !pass.left.is_empty() {
            self.pass = Some(pass);
        } else if pass.is_whole {
            self.found(pass.oldest);
        }
        Ok(())
    }

    /// Takes what a whole pass has found.
    fn found(&mut self, oldest: BTreeMap<Kind, Timestamp>) {
        for kind in self.oldest.keys().filter(|kind| !oldest.contains_key(kind)) {
            age(kind, Duration::ZERO);
        }
        self.oldest = oldest;
        self.tell_ages();
    }

    fn tell_ages(&self) {
        let now = self.clock.now();
        for (kind, since) in &self.oldest {
            age(
                kind,
                now.duration_since(*since).try_into().unwrap_or_default(),
            );
        }
    }

    /// A pass for every time that a queue must have been empty, and when one has been.
    fn is_time(&self) -> bool {
        let every = self.empty_for.min(self.keep_after);
        self.begun.is_none_or(|at| at.elapsed() >= every) || self.emptied.is_any(self.empty_for)
    }

    fn begin(&mut self, marks: &BTreeMap<Partition, Timestamp>, held: usize) -> Pass {
        self.begun = Some(Instant::now());
        Pass {
            left: marks.keys().rev().copied().collect(),
            after: None,
            emptied: self.emptied.take(self.empty_for),
            oldest: BTreeMap::new(),
            is_whole: marks.len() == held,
        }
    }

    /// Looks at the queues that jobs wait in.
    async fn look(&mut self) {
        for kind in self.emptied.watched() {
            let queue = format!("work.{kind}");
            match self.bus.admin.inspect(&queue).await {
                Ok(stats) => {
                    let empty = stats.is_some_and(|stats| stats.ready == 0);
                    let now = self.clock.now();
                    self.emptied.looked(&kind, empty, self.gap, now);
                }
                Err(error) => {
                    tracing::debug!(bus.queue = queue, error = %chain(&error), "cannot look at the queue");
                    self.emptied.forget();
                    self.pass.iter_mut().for_each(|pass| pass.emptied.clear());
                    return;
                }
            }
        }
    }

    /// Reads a page of silent jobs and says again what is to be said, until it is time to stop. Returns whether there
    /// may be more.
    async fn page(
        &mut self,
        pass: &mut Pass,
        partition: Partition,
        mark: Timestamp,
        until: Instant,
    ) -> Result<Result<bool, NotTaken>, StoreError> {
        let before = |time| mark.checked_sub(time).unwrap_or(Timestamp::MIN);
        let (keep, wait) = (before(self.keep_after), before(self.empty_for));
        let latest = keep.max(wait);
        let after = pass.after.as_ref();
        let silent = self.store.silent(partition, after, latest, PAGE).await?;
        let ids: Vec<_> = silent.iter().map(|key| key.id).collect();
        let found = self.store.get_many(&ids).await?;
        for (key, lookup) in silent.iter().zip(found) {
            let Some(record) = lookup.record else {
                pass.after = Some(key.clone());
                continue;
            };
            let mut said = true;
            if let Some(command) = self.waiting(&record) {
                let kind = &command.data.job.kind;
                // Not since the job is there: it may have stood in a line, or run before.
                let since = due(&command).map_or(command.time, |at| at.max(command.time));
                let oldest = pass.oldest.entry(kind.clone()).or_insert(since);
                *oldest = since.min(*oldest);
                let lost = pass.emptied.get(kind);
                self.emptied.watch(kind.clone());
                if lost.is_some_and(|since| is_lost(&command, key, *since)) {
                    tracing::warn!(
                        job.id = %key.id,
                        job.kind = %kind,
                        "the work queue is empty and may have lost this job, it is queued again"
                    );
                    said = self.publish(&command, "queued").await;
                }
            }
            if key.heard_at <= keep {
                said &= self.keep(&record, key).await;
            }
            if !said {
                return Ok(Err(NotTaken));
            }
            pass.after = Some(key.clone());
            if Instant::now() >= until {
                return Ok(Ok(true));
            }
        }
        Ok(Ok(silent.len() == PAGE))
    }

    /// Returns the command of a job that waits in its queue for its first worker, and that the broker has
    /// confirmed: to a server, or to whoever asked for it as a part of another job.
    fn waiting(&self, record: &Record) -> Option<Event> {
        let command = first_command(record, &self.source)?;
        let job = &command.data.job;
        let confirmed = record.confirmed == Some(command.data.epoch) || job.parent_id.is_some();
        let wanted = confirmed && job.deadline > self.clock.now();
        wanted.then_some(command)
    }

    async fn keep(&self, record: &Record, key: &HeardKey) -> bool {
        let winner = record.winner.as_ref();
        let Some(winner) = winner.filter(|winner| !winner.state.is_terminal()) else {
            return true;
        };
        // Only a job that waits for others, or for its turn, is woken by a message that is read again.
        let said = if winner.body.waits.is_some() || winner.body.in_line {
            match said::command(&*self.bus.log, winner).await {
                Ok(said) => said,
                // The next pass reads it. What was kept without it could wake nobody any more.
                Err(said::Unread) => return true,
            }
        } else {
            None
        };
        let now = self.clock.now();
        let Some(event) = kept(record, said, key.heard_at, &self.source, now) else {
            tracing::warn!(
                job.id = %key.id,
                "a live job does not fit a message, the log will forget it"
            );
            return true;
        };
        self.publish(&event, "kept").await
    }

    async fn publish(&self, event: &Event, what: &'static str) -> bool {
        let now = self.clock.now();
        match self.bus.publisher.publish(event.to_due_message(now)).await {
            Ok(()) => {
                metrics::add(metrics::SAID_AGAIN, what, 1);
                tracing::debug!(job.id = %event.subject, what, "said a silent job again");
                true
            }
            // The next round goes on here.
            Err(error) => {
                metrics::add(metrics::SAID_AGAIN, "failed", 1);
                tracing::warn!(
                    job.id = %event.subject,
                    error = %chain(&error),
                    "a silent job is not said again yet"
                );
                false
            }
        }
    }
}

fn age(kind: &Kind, age: Duration) {
    let queue = work_queue(kind);
    ::metrics::gauge!(metrics::OLDEST_SECONDS, "queue" => queue).set(age.as_secs_f64());
}

/// Says whether a command was due, and its job heard of last, before its queue was first seen empty.
fn is_lost(command: &Event, key: &HeardKey, since: Timestamp) -> bool {
    key.heard_at <= since && due(command).is_none_or(|at| at <= since)
}

fn due(command: &Event) -> Option<Timestamp> {
    command.data.not_before.max(command.data.job.run_at)
}
