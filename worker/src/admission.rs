//! Whether a command still wants to run, from what the store knows of its job. Pure.

use crate::signals::CancelWish;
use vmctl_core::{
    JobState,
    event::{Event, EventType},
    record::{Record, Winner},
};

/// What becomes of a command that is due and in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Somebody has done it: nothing is left to do.
    Overtaken,
    /// It is cancelled, and no worker ever entered it.
    Cancelled(Option<String>),
    /// Run it.
    Run {
        /// Somebody wants it cancelled, and it may have left something: the handler cleans up.
        cancel: Option<CancelWish>,
        /// Say that the attempt has started.
        announce: bool,
    },
}

/// Decides. `record` is `None` when the store has none or is down; `wish` is a cancel that was
/// heard on the control feed.
pub(crate) fn admit(
    command: &Event,
    redelivered: bool,
    record: Option<&Record>,
    wish: Option<CancelWish>,
) -> Admission {
    if record.is_some_and(|record| is_overtaken(command, record)) {
        return Admission::Overtaken;
    }
    let stored = record
        .and_then(|r| r.cancel.as_ref())
        .filter(|c| c.epoch == command.data.epoch)
        .map(|c| CancelWish {
            reason: c.reason.clone(),
        });
    let cancel = stored.or(wish);
    match cancel {
        Some(wish) if !may_have_begun(command, redelivered, record) => {
            Admission::Cancelled(wish.reason)
        }
        cancel => Admission::Run {
            cancel,
            announce: opens_attempt(command) && !is_announced(command, record),
        },
    }
}

/// Says whether a worker may have entered the job in this epoch.
pub(crate) fn may_have_begun(command: &Event, redelivered: bool, record: Option<&Record>) -> bool {
    let data = &command.data;
    let started = record
        .and_then(|r| r.started.as_ref())
        .is_some_and(|s| s.epoch == data.epoch);
    redelivered || started || data.attempt > 1 || data.seq > 0 || data.checkpoint.is_some()
}

fn opens_attempt(command: &Event) -> bool {
    command.event_type != EventType::Continued || command.data.state != JobState::Running
}

fn is_announced(command: &Event, record: Option<&Record>) -> bool {
    record.and_then(|r| r.winner.as_ref()).is_some_and(|w| {
        (w.epoch, w.attempt) == (command.data.epoch, command.data.attempt)
            && w.state == JobState::Running
    })
}

fn is_overtaken(command: &Event, record: &Record) -> bool {
    let Some(winner) = &record.winner else {
        return false;
    };
    let data = &command.data;
    if winner.epoch != data.epoch {
        return winner.epoch > data.epoch;
    }
    if winner.state.is_terminal() {
        return true;
    }
    later_command_ran(command, winner)
        || record.tick.as_ref().is_some_and(|tick| {
            (tick.epoch, tick.attempt) == (data.epoch, data.attempt) && tick.seq > data.seq
        })
}

/// Says whether a command after this one has been run by somebody.
///
/// That the *next* command is in the log proves nothing: its publish may have been refused by the
/// work queue, and then this delivery is the only one there is. The command after the next one
/// proves that the next one ran, and so does a `started` of a later command.
fn later_command_ran(command: &Event, winner: &Winner) -> bool {
    let (attempt, seq) = (command.data.attempt, command.data.seq);
    match winner.event_type {
        EventType::Started => (winner.attempt, winner.seq) > (attempt, seq),
        _ if winner.attempt == attempt => winner.seq > seq.saturating_add(1),
        _ if winner.attempt == attempt.saturating_add(1) => winner.seq > 0,
        _ => winner.attempt > attempt,
    }
}
