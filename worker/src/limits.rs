//! How long a slice may run, and why it is stopped. Pure.

use std::time::Duration;

use jiff::Timestamp;
use vmctl_core::{
    JobError, clock,
    event::{Event, EventType},
    kinds::KindSpec,
    record::Record,
};

use crate::{handler::Outcome, signals::CancelReason};

/// What the broker's acknowledgement timeout must leave after the longest slice: for publishing its
/// outcome, and because the broker enforces it up to a minute late.
pub(crate) const ACK_MARGIN: Duration = Duration::from_secs(5 * 60);

/// The limits of one slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The longest that the slice may run.
    pub(crate) slice: Duration,
    /// When its attempt must have ended.
    pub(crate) attempt_until: Option<Timestamp>,
    /// How long the handler may report nothing.
    pub(crate) stall_after: Option<Duration>,
}

impl Limits {
    /// Puts together what the command, its kind and the worker's settings say. What the command says
    /// goes before the kind: its server may know another version of the registry.
    pub(crate) fn new(
        command: &Event,
        kind: Option<&KindSpec>,
        slice_limit: Duration,
        record: Option<&Record>,
        now: Timestamp,
    ) -> Self {
        let (data, job) = (&command.data, &command.data.job);
        let seconds = |given: Option<u64>, of_kind: Option<Duration>| {
            given.map(Duration::from_secs).or(of_kind)
        };
        let attempt = seconds(job.attempt_timeout, kind.and_then(|k| k.attempt_timeout));
        Self {
            slice: kind.and_then(|k| k.slice_limit).unwrap_or(slice_limit),
            attempt_until: data.attempt_until.or_else(|| {
                let began = announced(command, record).unwrap_or(now);
                Some(clock::add(began, attempt?))
            }),
            stall_after: seconds(job.stall_after, kind.and_then(|k| k.stall_after)),
        }
    }
}

/// When the attempt that a command opens was said to have started: by a worker that had it before.
fn announced(command: &Event, record: Option<&Record>) -> Option<Timestamp> {
    let winner = record?.winner.as_ref()?;
    let data = &command.data;
    let same = (winner.epoch, winner.attempt) == (data.epoch, data.attempt);
    (same && winner.event_type == EventType::Started).then_some(winner.time)
}

/// Why a running handler was told to stop by the worker itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The job's time is over.
    Deadline,
    /// The attempt's time is over.
    AttemptTimeout,
    /// The handler has given no sign of life.
    Stalled,
    /// The slice's time is over.
    SliceTimeout,
}

impl Ending {
    /// What the handler is told.
    pub(crate) fn reason(self) -> CancelReason {
        match self {
            Self::Deadline => CancelReason::Deadline,
            Self::AttemptTimeout => CancelReason::AttemptTimeout,
            Self::Stalled | Self::SliceTimeout => CancelReason::Stalled,
        }
    }

    /// The failed attempt that the job is shown. A deadline ends the job and is no such thing.
    pub(crate) fn failure(self) -> Outcome {
        match self {
            Self::AttemptTimeout => retry(
                "attempt-timeout",
                "the attempt took longer than an attempt of this job may",
            ),
            Self::Stalled => retry(
                "stalled",
                "the worker gave no sign of life for too long and was stopped",
            ),
            Self::Deadline | Self::SliceTimeout => {
                retry("stalled", "the attempt did not end in time and was stopped")
            }
        }
    }

    /// What becomes of the outcome that a handler still gave after it was told to stop. What it did
    /// or knows to be hopeless stands; everything else is a failed attempt.
    pub(crate) fn judge(self, outcome: Outcome, reason: Option<&CancelReason>) -> Outcome {
        match outcome {
            Outcome::Done(_) | Outcome::Fail(_) => outcome,
            Outcome::Cancelled if matches!(reason, Some(CancelReason::Requested(_))) => outcome,
            _ => self.failure(),
        }
    }
}

/// A failed attempt whose handler does not say itself why it failed.
pub(crate) fn retry(error_type: &str, title: &str) -> Outcome {
    Outcome::Retry {
        after: None,
        error: JobError {
            error_type: error_type.to_owned(),
            title: title.to_owned(),
            detail: Some("what it has made, such as a machine, may remain".to_owned()),
            retryable: true,
            attempt: None,
            worker: None,
        },
    }
}
