//! Texts of digits whose order is the order of the merge.
//!
//! The merge takes the greatest of each part of a record by an order of numbers. Written with all
//! their digits one after the other, and those where the smaller wins counted down, they make a text
//! whose plain order is the same. Digits only: scripts compare texts by the locale of the server.

use std::fmt::Write as _;

use jiff::Timestamp;
use uuid::Uuid;
use vmctl_core::{
    LineId,
    event::JobSpec,
    record::{Cancel, Started, Submission, Tick, Winner},
};

/// A text of digits.
#[derive(Default)]
struct Digits(String);

impl Digits {
    fn number(mut self, number: u128, width: usize) -> Self {
        // Writing to a text does not fail.
        let _ = write!(self.0, "{number:0width$}");
        self
    }

    fn small(self, number: u32) -> Self {
        self.number(number.into(), 10)
    }

    fn flag(self, flag: bool) -> Self {
        self.number(flag.into(), 1)
    }

    fn place(self, offset: Option<u64>) -> Self {
        self.number((u64::MAX - offset.unwrap_or(u64::MAX)).into(), 20)
    }

    /// The newest `kept` is greater than every other place.
    fn copy(self, winner: &Winner) -> Self {
        if !winner.kept {
            return self.place(winner.offset);
        }
        let offset = winner.offset.unwrap_or(u64::MAX);
        self.number((1 << 64) + u128::from(offset), 20)
    }

    fn id(self, id: Uuid) -> Self {
        self.number(id.as_u128(), 39)
    }

    fn smallest_id(self, id: Uuid) -> Self {
        self.number(u128::MAX - id.as_u128(), 39)
    }

    fn earliest(self, at: Timestamp) -> Self {
        let left = Timestamp::MAX.as_nanosecond() - at.as_nanosecond();
        self.number(u128::try_from(left).unwrap_or(0), 21)
    }
}

/// Orders winners. Begins with the epoch (10 digits), whether it is an end (1 digit) and, if it is
/// not, the attempt (10 digits), the rank (1 digit) and the number (10 digits): scripts look at these.
pub fn winner(winner: &Winner) -> String {
    let terminal = winner.state.is_terminal();
    let text = Digits::default().small(winner.epoch).flag(terminal);
    let text = if terminal {
        text.place(winner.offset).smallest_id(winner.id)
    } else {
        text.small(winner.attempt)
            .number(winner.rank.into(), 1)
            .small(winner.seq)
            .id(winner.id)
            .copy(winner)
    };
    text.earliest(winner.time).earliest(winner.expires).0
}

/// Orders submissions.
pub fn submission(submission: &Submission) -> String {
    Digits::default()
        .small(submission.epoch)
        .flag(submission.original)
        .earliest(submission.spec.created_at)
        .smallest_id(submission.id)
        .earliest(submission.at)
        .0
}

/// Names the project and the kind of a job: all its messages must name the same.
pub fn identity(spec: &JobSpec) -> String {
    // A kind has no space.
    format!("{} {}", spec.kind, spec.auth.project_id)
}

/// Orders wishes to cancel.
pub fn cancel(cancel: &Cancel) -> String {
    Digits::default()
        .small(cancel.epoch)
        .earliest(cancel.at)
        .smallest_id(cancel.id)
        .0
}

/// Orders starts.
pub fn started(started: &Started) -> String {
    let text = Digits::default().small(started.epoch);
    text.earliest(started.at).0
}

/// Orders confirmed epochs.
pub fn confirmed(epoch: u32) -> String {
    Digits::default().small(epoch).0
}

/// Names the run of a tick as a winner's text does.
pub fn run(tick: &Tick) -> String {
    let text = Digits::default().small(tick.epoch);
    text.small(tick.attempt).0
}

/// Orders ticks.
pub fn tick(tick: &Tick) -> String {
    format!("{}{:010}{:010}", run(tick), tick.seq, tick.number)
}

/// Orders the lines of a log.
pub fn line(id: LineId) -> String {
    let text = Digits::default().small(id.epoch).small(id.attempt);
    text.small(id.seq).small(id.number).0
}

/// Orders the entries of a history, and says at its end whether an entry is an end.
pub fn place(offset: u64, id: Uuid, terminal: bool) -> String {
    let text = Digits::default().number(offset.into(), 20);
    text.id(id).flag(terminal).0
}

/// Reads the offset back from a place.
pub fn offset(place: &str) -> Option<u64> {
    place.get(..20)?.parse().ok()
}
