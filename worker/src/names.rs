//! The names of jobs that a job asks for: taken before their commands are published.
//!
//! It is what a server does for a submission, with the same rules about who still has a name. Nobody is
//! there to try again later, so whatever cannot be told is no obstacle: then the name is left to whoever
//! makes what has it. A project that is at its limit of active jobs is none either, because its jobs would
//! wait for each other for ever; the children count as soon as the log has them.
//!
//! A run that holds its own name already is the same job asked for again after a crash.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::timeout;
use vmctl_core::{
    JobError, JobId, clock,
    event::Event,
    store::{
        JobStore, Lookup, StoreError,
        project::{Entered, Entry, Holder, ProjectLimits, Run, UNDER_WAY, expires},
    },
};

use crate::children::AT_ONCE;

/// How often holders that have lost a name may be replaced for one child.
const TRIES: usize = 4;

/// How far clocks may differ.
const CLOCK_SLACK: Duration = Duration::from_secs(10);

/// Takes names in the store for the children of one job.
pub(crate) struct Names<'a> {
    pub(crate) store: &'a dyn JobStore,
    /// How long one question to the store may take.
    pub(crate) patience: Duration,
    /// The command of the job that asks.
    pub(crate) parent: &'a Event,
    pub(crate) now: Timestamp,
}

/// A child that wants names.
struct Wish {
    child: String,
    entry: Entry,
}

impl Wish {
    fn of(command: &Event) -> Option<Self> {
        let job = &command.data.job;
        let keys: BTreeSet<String> = job.unique.iter().map(|u| u.key.clone()).collect();
        let entry = Entry {
            run: Run {
                job: job.id,
                epoch: command.data.epoch,
            },
            expires: expires(job.deadline),
            keys,
            frees: job.frees.iter().cloned().collect(),
            queue: false,
            limits: ProjectLimits::default(),
        };
        (!entry.keys.is_empty()).then(|| Self {
            child: job.step.clone().unwrap_or_default(),
            entry,
        })
    }
}

/// What became of one child.
enum Answer {
    /// It has its names, since then. `fresh` when it had not before.
    In {
        entry: Entry,
        fresh: bool,
        since: Timestamp,
    },
    /// Another job has a name of it.
    Held { child: String, holder: Holder },
    /// It goes on without: nobody can tell, or whoever has the name lends it.
    Without,
}

/// What holders of a name come to.
enum Conflict {
    With(Holder),
    /// They have lost it.
    Gone,
    /// Nobody can tell, or they are above the job.
    No,
}

impl Names<'_> {
    /// Takes the names of all children, or of none.
    ///
    /// # Errors
    ///
    /// Why the children may not be asked for: another job has a name.
    pub(crate) async fn take(&self, children: &[Event]) -> Result<(), JobError> {
        let stop = AtomicBool::new(false);
        let wanted: Vec<Wish> = children.iter().filter_map(Wish::of).collect();
        let answers: Vec<Answer> = stream::iter(wanted)
            .map(|wish| self.enter(wish, &stop))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let held = answers.iter().find_map(|answer| match answer {
            Answer::Held { child, holder } => Some(conflict(child, holder)),
            _ => None,
        });
        match held {
            // What was begun before a crash is finished.
            Some(error) if !self.is_begun(children).await => {
                self.give_back(answers).await;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Enters one child, unless there was an answer already that decides for all.
    async fn enter(&self, wish: Wish, stop: &AtomicBool) -> Answer {
        let Wish { child, entry } = wish;
        for _ in 0..TRIES {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let holders = match self.ask(self.store.enter(self.project(), &entry)).await {
                Some((Entered::In { fresh, since }, _)) => {
                    return Answer::In {
                        entry,
                        fresh,
                        since,
                    };
                }
                Some((Entered::Held(holders), _)) => holders,
                // Without limits there is no other answer.
                Some(_) => break,
                None => {
                    stop.store(true, Ordering::Relaxed);
                    break;
                }
            };
            match self.conflict(&holders).await {
                Conflict::Gone => {}
                Conflict::No => break,
                Conflict::With(holder) => {
                    stop.store(true, Ordering::Relaxed);
                    return Answer::Held { child, holder };
                }
            }
        }
        Answer::Without
    }

    /// Looks at the holders of names, and takes the names from those that have lost them.
    async fn conflict(&self, holders: &[Holder]) -> Conflict {
        let jobs: Vec<JobId> = holders.iter().map(|holder| holder.run.job).collect();
        let Some(lookups) = self.ask(self.store.get_many(&jobs)).await else {
            return Conflict::No;
        };
        let mut lost = Vec::new();
        for (holder, lookup) in holders.iter().zip(&lookups) {
            match self.has_it(holder, lookup) {
                _ if self.is_above(holder.run.job) => {}
                Some(true) => return Conflict::With(holder.clone()),
                Some(false) => lost.push(holder.clone()),
                None => {}
            }
        }
        let released = self.ask(self.store.release(self.project(), &lost)).await;
        if released.is_some() && lost.len() == holders.len() {
            Conflict::Gone
        } else {
            Conflict::No
        }
    }

    /// Says whether a holder has its name; `None` while the view cannot tell.
    fn has_it(&self, holder: &Holder, lookup: &Lookup) -> Option<bool> {
        let ours =
            |record: &&_| vmctl_core::record::Record::project(record) == Some(self.project());
        if let Some(record) = lookup.record.as_ref().filter(ours) {
            return Some(holder.has_it(record));
        }
        if holder.is_under_way(self.now) {
            return Some(true);
        }
        // Its command was confirmed by then, if it ever was.
        let latest = clock::add(holder.hold.since, UNDER_WAY + CLOCK_SLACK);
        let is_past = lookup.partition.newest_mark >= Some(latest);
        is_past.then_some(false)
    }

    /// Says whether a job stands above the children: it has reserved the name for them.
    fn is_above(&self, job: JobId) -> bool {
        let asks = &self.parent.data.job;
        job == asks.id || Some(job) == asks.parent_id || Some(job) == asks.root_id
    }

    /// Says whether one of the children was asked for already.
    async fn is_begun(&self, children: &[Event]) -> bool {
        let ids: Vec<JobId> = children.iter().map(|child| child.subject).collect();
        let known = |lookup: &Lookup| {
            let spec = lookup
                .record
                .as_ref()
                .and_then(|record| record.spec.as_ref());
            spec.is_some_and(|spec| spec.spec.parent_id == Some(self.parent.subject))
        };
        let lookups = self.ask(self.store.get_many(&ids)).await;
        lookups.is_some_and(|lookups| lookups.iter().any(known))
    }

    /// Gives back what was taken now. What stays ends by itself: nobody finds a job behind it.
    async fn give_back(&self, answers: Vec<Answer>) {
        let taken = answers.into_iter().filter_map(|answer| match answer {
            Answer::In {
                entry,
                fresh: true,
                since,
            } => Some((entry, since)),
            _ => None,
        });
        let leave = |(Entry { run, keys, .. }, since)| async move {
            let left = self.store.leave(self.project(), run, &keys, since);
            self.ask(left).await;
        };
        let taken: Vec<_> = taken.collect();
        stream::iter(taken)
            .map(leave)
            .buffer_unordered(AT_ONCE)
            .collect::<()>()
            .await;
    }

    fn project(&self) -> &str {
        &self.parent.data.job.auth.project_id
    }

    /// Returns the store's answer; `None` when there is none in time.
    async fn ask<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        match timeout(self.patience, question).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "names are not taken while the store is away"
                );
                None
            }
            Err(_) => None,
        }
    }
}

fn conflict(child: &str, holder: &Holder) -> JobError {
    JobError {
        error_type: "conflict".to_owned(),
        title: format!("another job has the name {}", holder.key),
        detail: Some(format!(
            "job {} has it, and {child} needs it; nothing was asked for",
            holder.run.job
        )),
        retryable: true,
        attempt: None,
        worker: None,
    }
}
