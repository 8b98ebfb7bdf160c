//! Ends jobs whose deadline has passed and that no worker has ended, and jobs that no worker has started
//! in time; has those said again that nobody has spoken of for long (see [`crate::silent`]).
//!
//! Only partitions that are caught up are swept, and their time is that of the newest mark: a
//! reader that lags must not end a job whose success it has not read yet. The end is an event in
//! the log like any other, with an id that is derived, so that saying it twice says it once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    JobError, JobId, JobState,
    bus::Publisher,
    clock::Clock,
    error::chain,
    event::{Event, EventData, EventType},
    fact::derived_id,
    partition::Partition,
    record::Record,
    store::{FoldStore, StoreError},
};

use crate::{Config, metrics, silent::Silent};

/// A partition whose newest mark is older than this is not caught up.
const CAUGHT_UP: Duration = Duration::from_secs(10);

/// Most jobs of one partition that are ended in one round.
const BATCH: usize = 100;

pub(crate) struct Sweep {
    pub publisher: Arc<dyn Publisher>,
    pub store: Arc<dyn FoldStore>,
    pub clock: Arc<dyn Clock>,
    pub config: Config,
    pub holds: watch::Receiver<Vec<Partition>>,
    pub silent: Silent,
}

impl Sweep {
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) {
        let mut interval = tokio::time::interval(self.config.sweep_interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = interval.tick() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                swept = self.round() => if let Err(error) = swept {
                    tracing::debug!(error = %chain(&error), "no sweep for now");
                }
            }
        }
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let held = self.holds.borrow().clone();
        if held.is_empty() {
            self.silent.let_go();
            return Ok(());
        }
        let states = self.store.partitions().await?;
        let (mut marks, number) = (BTreeMap::new(), held.len());
        for partition in held {
            let mark = states.get(partition.index()).and_then(|s| s.newest_mark);
            if let Some(mark) = mark.filter(|mark| is_caught_up(*mark, self.clock.now())) {
                marks.insert(partition, mark);
            }
        }
        for (&partition, &mark) in &marks {
            self.sweep(partition, mark).await?;
        }
        self.silent.round(&marks, number).await
    }

    async fn sweep(&self, partition: Partition, mark: Timestamp) -> Result<(), StoreError> {
        let before = |grace| mark.checked_sub(grace).unwrap_or(Timestamp::MIN);
        let limits = Limits {
            deadline: before(self.config.sweep_grace),
            start: before(self.config.start_grace),
        };
        // Earliest first, so that what is over for the longer grace is never hidden.
        let latest = limits.deadline.max(limits.start);
        let due = self.store.overdue(partition, latest, BATCH).await?;
        for lookup in self.store.get_many(&due).await? {
            let event = lookup
                .record
                .and_then(|record| end(&record, limits, self.clock.now(), &self.config.name));
            if let Some(event) = event {
                self.publish(event).await;
            }
        }
        Ok(())
    }

    async fn publish(&self, event: Event) {
        let id: JobId = event.subject;
        match self.publisher.publish(event.to_message()).await {
            Ok(()) => {
                metrics::add(metrics::SWEPT, "published", 1);
                tracing::info!(job.id = %id, "ended a job whose time was over");
            }
            // The next round finds it again.
            Err(error) => {
                tracing::warn!(job.id = %id, error = %chain(&error), "an overdue job is not ended yet");
            }
        }
    }
}

/// Says whether whoever has read this mark has read what was said until a moment ago.
pub(crate) fn is_caught_up(mark: Timestamp, now: Timestamp) -> bool {
    now.duration_since(mark).unsigned_abs() <= CAUGHT_UP
}

/// What is over: whatever limit of a job is at or before these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    deadline: Timestamp,
    start: Timestamp,
}

impl Limits {
    /// A worker that has begun may be saying how it went; of what nobody has begun there is nothing to say.
    const fn of_deadline(self, started: bool) -> Timestamp {
        if started { self.deadline } else { self.start }
    }

    /// Whatever is over by now, for a job that nobody else may be starting.
    pub(crate) fn at(now: Timestamp) -> Self {
        Self {
            deadline: now,
            start: now,
        }
    }
}

/// Makes the event that ends a job whose time is over; `None` when it has ended, or nothing of it is
/// over in its current epoch.
pub(crate) fn end(record: &Record, limits: Limits, now: Timestamp, reader: &str) -> Option<Event> {
    let winner = record.winner.as_ref()?;
    let spec = &record.spec.as_ref()?.spec;
    if winner.state.is_terminal() {
        return None;
    }
    let started = record.may_have_begun();
    let late = spec.start_by.filter(|at| !started && *at <= limits.start);
    let (at, error) = match late {
        Some(at) => (at, JobError::start_deadline()),
        None if spec.deadline <= limits.of_deadline(started) => {
            (spec.deadline, past_deadline(started))
        }
        None => return None,
    };
    let from = format!("{}:{}", spec.id, winner.epoch);
    Some(Event::new(
        derived_id(&from, "deadline", at),
        EventType::Deadline,
        format!("/reader/{reader}"),
        now,
        EventData {
            epoch: winner.epoch,
            attempt: winner.attempt,
            seq: winner.seq,
            progress: record.progress().cloned(),
            children: winner.body.children.clone(),
            compensation: winner.body.compensation,
            error: Some(JobError {
                attempt: Some(winner.attempt),
                ..error
            }),
            ..EventData::new(JobState::Failed, spec.clone())
        },
    ))
}

fn past_deadline(started: bool) -> JobError {
    let (error_type, title, detail) = if started {
        (
            "outcome-unknown",
            "the deadline passed and no worker has said how the job ended",
            "what the job was to make may exist; look at the provider before asking again",
        )
    } else {
        (
            "deadline",
            "the deadline passed before a worker started the job",
            "nothing was done; ask again, with a later deadline or with more workers",
        )
    };
    JobError {
        error_type: error_type.to_owned(),
        title: title.to_owned(),
        detail: Some(detail.to_owned()),
        retryable: !started,
        attempt: None,
        worker: None,
    }
}
