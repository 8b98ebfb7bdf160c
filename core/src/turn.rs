//! Whose turn it is among jobs that run one after the other.
//!
//! A run that asked for it stands in a line at each of its keys. Lines are folded from the log, those
//! of a project in one partition (see [`Partition::of_project`]), in the write that moves its position.
//! So what is read of a line is what some beginning of the log says, never a mixture, whatever was lost
//! or rebuilt.
//!
//! ```text
//!            submitted, redriven                 its turn has come
//! (nowhere) --------------------> [waiting] ------------------------> [running] ---> ended
//!     |                               \______ cancelled, deadline ___________________/
//!     +--- submitted without waiting -------------------------------> [running]
//! ```
//!
//! What must always hold: a run that waits goes on only if nobody runs at its keys and nobody waits
//! there whose submission is before its own in the log. Two runs that wait at one key never both find
//! that: the later one is in no line in which the earlier one is not, until that one has ended. A log that has
//! forgotten the earlier one has what keeps it (see [`crate::kept`]), which may lie behind the later one; so
//! whoever lets a run go on asks besides that the log was read to its end. Clocks and locks have no part in it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use vmctl_api_types::{JobId, JobState};

use crate::{
    clock,
    event::{EventType, JobSpec},
    fact::JobFact,
    merge::decides_state,
    store::project::{Run, expires},
};

/// Most runs at a key. A further one that would wait there is refused.
pub const MOST: usize = 100;

/// What a fact says about the lines of its project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The project.
    pub project: String,
    /// Whose run.
    pub run: Run,
    /// The run's keys.
    pub keys: Vec<String>,
    /// What became of it.
    pub moved: Moved,
    /// Until when that counts if nobody says more. The end of a run is remembered for as long, so that
    /// a late copy of its command does not put it into the line again.
    pub expires: Timestamp,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It waits, unless it was in the line before.
    In {
        /// Where the log says so first.
        offset: u64,
    },
    /// It is free to run.
    On,
    /// A worker has begun it.
    Begun,
    /// It has ended.
    Out(End),
}

/// Who says that a run has ended. What the record does not believe (see [`crate::belief`]) must not make room
/// in a line either, and lines are in another partition than the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Somebody who needs nothing to have been before: its time is over, it was cancelled, or the broker gave
    /// it up.
    Any,
    /// A worker: not of a run that waits.
    Worker,
    /// Whoever says that it was not started in time: not of a run that was begun.
    NotStarted,
}

/// Where a run stands in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// It waits since this offset.
    Waits(u64),
    /// It is free to run.
    Free,
    /// A worker has begun it.
    Begun,
}

impl Moved {
    /// Returns where a run stands after this, that stood there before; `None` = nowhere. The same as it was when
    /// this cannot be. The script that folds on Redis does the same.
    pub fn from(self, stand: Option<Stand>) -> Option<Stand> {
        match (self, stand) {
            (Self::In { offset }, Some(Stand::Waits(since))) => {
                Some(Stand::Waits(since.min(offset)))
            }
            (Self::In { .. }, Some(stand)) => Some(stand),
            (Self::In { offset }, None) => Some(Stand::Waits(offset)),
            (Self::Begun, _) | (Self::On, Some(Stand::Begun)) => Some(Stand::Begun),
            (Self::On, _) => Some(Stand::Free),
            (Self::Out(End::Worker), Some(Stand::Waits(_)))
            | (Self::Out(End::NotStarted), Some(Stand::Begun)) => stand,
            (Self::Out(_), _) => None,
        }
    }
}

impl Step {
    /// Reads a fact of the log; `None` when it says nothing about a line, or nothing that counts any
    /// more.
    pub fn of(fact: &JobFact, now: Timestamp) -> Option<Self> {
        let spec = fact.spec.as_ref().filter(|spec| !spec.unique.is_empty())?;
        let expires = expires(spec.deadline);
        if expires <= now || !decides_state(fact) {
            return None;
        }
        let offset = fact.first_said()?;
        let moved = if fact.state.is_terminal() {
            Moved::Out(end(fact, spec)?)
        } else if fact.body.in_line {
            Moved::In { offset }
        } else if (fact.state, fact.attempt, fact.seq) == (JobState::Queued, 1, 0) {
            Moved::On
        } else {
            Moved::Begun
        };
        Some(Self {
            project: spec.auth.project_id.clone(),
            run: Run {
                job: fact.job,
                epoch: fact.epoch,
            },
            keys: spec
                .unique
                .iter()
                .map(|unique| unique.key.clone())
                .collect(),
            moved,
            expires,
        })
    }
}

/// Says who ends a run; `None` when it is too early for anybody.
fn end(fact: &JobFact, spec: &JobSpec) -> Option<End> {
    let latest = clock::add(fact.time, clock::DIFFERENCE);
    match fact.event_type {
        _ if fact.given_up => Some(End::Any),
        EventType::Succeeded | EventType::Failed => Some(End::Worker),
        EventType::Deadline if latest < spec.deadline => {
            let late = spec.start_by.is_some_and(|at| at <= latest);
            late.then_some(End::NotStarted)
        }
        _ => Some(End::Any),
    }
}

/// A run at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The run.
    pub run: Run,
    /// The offset of the message that put it there, while it waits; `None` = it runs.
    pub waits: Option<u64>,
}

/// Who is at some keys of a project, in one step, and how far the log had been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The places. A run is named once for each of its keys.
    pub places: Vec<Place>,
    /// The newest mark that had been read.
    pub newest_mark: Option<Timestamp>,
}

/// What a run finds at its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is in no line: the log has not been read that far, or it has ended.
    Unknown,
    /// It waits for this many other jobs.
    After(usize),
    /// Its turn has come.
    Now,
    /// It runs already, or is free to.
    Past,
}

/// Says what a run finds, from the places at all of its keys.
pub fn turn(run: Run, places: &[Place]) -> Turn {
    let own: Vec<_> = places.iter().filter(|p| p.run == run).collect();
    let Some(first) = own.first() else {
        return Turn::Unknown;
    };
    let Some(since) = first.waits else {
        return Turn::Past;
    };
    let before: BTreeSet<JobId> = places
        .iter()
        // An earlier run of the same job has ended.
        .filter(|place| place.run.job != run.job)
        .filter(|place| place.waits.is_none_or(|offset| offset < since))
        .map(|place| place.run.job)
        .collect();
    match before.len() {
        0 => Turn::Now,
        others => Turn::After(others),
    }
}

/// Returns the run that waits longest; `None` when nobody waits.
pub fn next(places: &[Place]) -> Option<Run> {
    let waiting = places.iter().filter_map(|p| Some((p.waits?, p.run)));
    waiting.min().map(|(_, run)| run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, new_job_id};

    #[test]
    fn nothing_that_cannot_be_moves_a_run() {
        use {
            End::{Any, NotStarted, Worker},
            Moved::{In, On, Out},
            Stand::{Free, Waits},
        };
        let waits = Some(Waits(5));
        for (moved, stand, after) in [
            (In { offset: 7 }, None, Some(Waits(7))),
            (In { offset: 7 }, waits, waits),
            (In { offset: 3 }, waits, Some(Waits(3))),
            (In { offset: 3 }, Some(Free), Some(Free)),
            (On, waits, Some(Free)),
            (On, Some(Stand::Begun), Some(Stand::Begun)),
            (Moved::Begun, waits, Some(Stand::Begun)),
            (Out(Worker), waits, waits),
            (Out(Worker), Some(Free), None),
            (Out(NotStarted), waits, None),
            (Out(NotStarted), Some(Free), None),
            (Out(NotStarted), Some(Stand::Begun), Some(Stand::Begun)),
            (Out(Any), waits, None),
            (Out(Any), Some(Stand::Begun), None),
        ] {
            assert_eq!(moved.from(stand), after, "{moved:?} from {stand:?}");
        }
    }

    #[test]
    fn it_is_the_turn_of_the_first_when_nobody_runs() {
        let jobs: Vec<_> = (0..3).map(|_| new_job_id(&SystemClock)).collect();
        let run = |job: usize, epoch| Run {
            job: jobs[job],
            epoch,
        };
        let waits = |job, offset| Place {
            run: run(job, 0),
            waits: Some(offset),
        };
        let runs = |job| Place {
            run: run(job, 0),
            waits: None,
        };
        for (places, found) in [
            (vec![], Turn::Unknown),
            (vec![runs(1), waits(2, 5)], Turn::Unknown),
            (vec![waits(0, 7)], Turn::Now),
            (vec![runs(0)], Turn::Past),
            // Whoever is before it in the log goes first, whatever the ids are.
            (vec![waits(0, 7), waits(1, 8)], Turn::Now),
            (vec![waits(0, 7), waits(1, 6)], Turn::After(1)),
            (vec![waits(0, 7), runs(1)], Turn::After(1)),
            (vec![waits(0, 7), runs(1), waits(2, 6)], Turn::After(2)),
            // The same job at two keys is one.
            (
                vec![waits(0, 7), waits(1, 6), waits(0, 7), waits(1, 6)],
                Turn::After(1),
            ),
            // Another key of it may be held alone.
            (vec![waits(0, 7), waits(0, 7), runs(2)], Turn::After(1)),
        ] {
            assert_eq!(turn(run(0, 0), &places), found, "{places:?}");
        }
        // An earlier run of the same job is over.
        let again = Place {
            run: run(0, 1),
            waits: Some(9),
        };
        assert_eq!(turn(run(0, 1), &[runs(0), again]), Turn::Now);
        assert_eq!(next(&[runs(1), waits(2, 6), waits(0, 5)]), Some(run(0, 0)));
        assert_eq!(next(&[runs(1)]), None);
    }
}
