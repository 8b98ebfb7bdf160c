//! What a kind implements: [`Handler`], what it is given: [`Ctx`], what it answers: [`Outcome`].

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    Compensation, JobError, LogStream,
    clock::Clock,
    event::{Event, JobSpec},
};

use crate::{
    children::{ChildOutcome, Spawn},
    logs::LogSink,
    progress::ProgressSink,
    pulse::Pulse,
    signals::{CancelReason, Signals},
};

/// Does the work of one kind.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Runs one slice of a job.
    ///
    /// The same slice may run again, here or elsewhere, also while an older run of it still winds
    /// down: every effect is keyed by the job id, and a second run finds what the first one did.
    /// A slice should end within minutes; longer work answers [`Outcome::Continue`]. A wait of more than
    /// seconds observes [`Ctx::stop`].
    ///
    /// Only an attempt that is known to have done nothing may [`Outcome::Fail`]; when that is not
    /// known, the answer is [`Outcome::Retry`]. A panic counts as a failed attempt. The future may
    /// be dropped at any await.
    async fn run(&self, ctx: Ctx) -> Outcome;

    /// Decides what becomes of a job whose [`Outcome::Spawn`] is refused: an input is wrong, a limit is
    /// passed, another job has a name that a child needs. None of the jobs was asked for. The answer comes
    /// from what is known, at once; the same slice may run again.
    fn refused(&self, _ctx: &Ctx, _spawn: Spawn, error: JobError) -> Outcome {
        Outcome::Fail(error)
    }
}

/// How a slice ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The job succeeded with this output.
    Done(Value),
    /// The job goes on in another slice of the same attempt.
    Continue {
        /// Not before this time has passed.
        after: Duration,
        /// What that slice finds in [`Ctx::checkpoint`].
        checkpoint: Value,
    },
    /// The attempt failed; the next one may succeed. The job fails when it was the last one.
    Retry {
        /// Not before this time has passed; as the registry says when `None`.
        after: Option<Duration>,
        /// Why.
        error: JobError,
    },
    /// The job asks for other jobs, and goes on in another slice when it has what it asked for.
    /// Asking twice for the same child is asking once.
    Spawn(Spawn),
    /// The job failed, and another attempt would fail as well.
    Fail(JobError),
    /// The job was cancelled, and nothing of it is left.
    Cancelled,
}

/// One slice, as its handler sees it.
#[derive(Clone)]
pub struct Ctx {
    command: Arc<Event>,
    worker: Arc<str>,
    signals: Signals,
    progress: ProgressSink,
    log: LogSink,
    pulse: Pulse,
    children: Arc<[ChildOutcome]>,
    undoing: Undoing,
    clock: Arc<dyn Clock>,
}

/// How far undoing is, on its way out of a slice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Undoing(Arc<Mutex<Option<Compensation>>>);

impl Undoing {
    pub(crate) fn get(&self) -> Option<Compensation> {
        // One assignment under the lock, so a panic leaves it whole.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, compensation: Compensation) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(compensation);
    }
}

/// What a slice gives its handler besides the command.
pub(crate) struct Parts {
    pub worker: Arc<str>,
    pub signals: Signals,
    pub progress: ProgressSink,
    pub log: LogSink,
    pub pulse: Pulse,
    pub children: Vec<ChildOutcome>,
    pub undoing: Undoing,
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx")
            .field("job", &self.job().id)
            .finish_non_exhaustive()
    }
}

impl Ctx {
    pub(crate) fn new(command: Arc<Event>, parts: Parts) -> Self {
        Self {
            command,
            worker: parts.worker,
            signals: parts.signals,
            progress: parts.progress,
            log: parts.log,
            pulse: parts.pulse,
            children: parts.children.into(),
            undoing: parts.undoing,
            clock: parts.clock,
        }
    }

    /// The job as it was submitted.
    pub fn job(&self) -> &JobSpec {
        &self.command.data.job
    }

    /// The run, from 0.
    pub fn epoch(&self) -> u32 {
        self.command.data.epoch
    }

    /// The try inside the run, from 1.
    pub fn attempt(&self) -> u32 {
        self.command.data.attempt
    }

    /// The worker's name.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Reads what the slice before left; `None` in the first slice, or when it does not fit `T`.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Option<T> {
        T::deserialize(self.command.data.checkpoint.as_ref()?).ok()
    }

    /// How the jobs ended that the slice before asked for with [`Outcome::Spawn`], in that order;
    /// empty in every other slice.
    pub fn children(&self) -> &[ChildOutcome] {
        &self.children
    }

    /// Says on the job how far undoing is. It stays until something else is said.
    pub fn set_compensation(&self, compensation: Compensation) {
        self.undoing.set(compensation);
    }

    /// The time, by the clock that deadlines are measured with.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Fires when the job is to end: see [`Ctx::cancel_reason`].
    pub fn cancel(&self) -> &CancellationToken {
        self.signals.cancel()
    }

    /// Why [`Ctx::cancel`] has fired.
    pub fn cancel_reason(&self) -> Option<&CancelReason> {
        self.signals.reason()
    }

    /// Fires when the delivery is not ours any more: stop and touch nothing. The answer does not
    /// matter.
    pub fn lost(&self) -> &CancellationToken {
        self.signals.lost()
    }

    /// Fires when the process is about to stop: a handler that can hand over answers
    /// [`Outcome::Continue`] at once. A slice that is given back instead costs no attempt, but one
    /// of the deliveries that the broker allows a message.
    pub fn drain(&self) -> &CancellationToken {
        self.signals.drain()
    }

    /// Fires together with `cancel`, `lost` and `drain`: what a wait inside a slice observes.
    pub fn stop(&self) -> &CancellationToken {
        self.signals.stop()
    }

    /// Writes to the job's log, which clients read and follow: each line of the text is one line.
    /// Never waits, and may lose lines: of many in a short time the newest 200 stay.
    pub fn log(&self, text: impl AsRef<str>) {
        self.log.write(LogStream::Log, text.as_ref());
    }

    /// The job's log, for lines that come from a program.
    pub fn log_sink(&self) -> &LogSink {
        &self.log
    }

    /// Says that the handler is alive, for work that has nothing to report. A handler that reports
    /// nothing at all for its kind's `stall_after` is stopped, and its attempt has failed.
    pub fn alive(&self) {
        self.pulse.beat();
    }

    /// Reports progress, which is a sign of life.
    pub fn progress(&self) -> &ProgressSink {
        &self.progress
    }
}
