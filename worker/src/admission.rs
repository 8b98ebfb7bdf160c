//! Whether a command still wants to run, from what the store knows of its job. Pure.

use std::time::Duration;

use jiff::Timestamp;
use vmctl_core::{
    JobState, clock,
    event::{Event, EventType},
    record::{Record, Winner},
    store::Lookup,
};

use crate::signals::CancelWish;

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

/// Whether a command that wants to run may be entered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Yes.
    Now,
    /// No, and never: it had to be started before.
    TooLate,
    /// That cannot be told before the view is there and far enough.
    NotKnown,
}

/// How long before `run_at` the view must be complete. A server ends a scheduled job by itself up to a
/// minute before that instant, and its clock and those of other servers may differ.
const VIEW_BEFORE: Duration = Duration::from_secs(30);

/// Says whether asking [`entry`] needs the view.
pub(crate) fn is_timed(command: &Event, now: Timestamp) -> bool {
    let job = &command.data.job;
    let is_late = job.start_by.is_some_and(|at| at <= now);
    command.is_untouched() && (job.run_at.is_some() || is_late)
}

/// Decides, for a command that wants to run. Nobody's guess: a job that was cancelled before it was due
/// must not run, and one that another worker has started has not failed to start.
pub(crate) fn entry(
    command: &Event,
    redelivered: bool,
    lookup: Option<&Lookup>,
    now: Timestamp,
) -> Entry {
    if !is_timed(command, now) {
        return Entry::Now;
    }
    let job = &command.data.job;
    let known = lookup.filter(|l| l.record.as_ref().is_some_and(|r| r.winner.is_some()));
    let Some(Lookup { record, partition }) = known else {
        return Entry::NotKnown;
    };
    if let Some(run_at) = job.run_at
        && partition
            .newest_mark
            .is_none_or(|mark| clock::add(mark, VIEW_BEFORE) < run_at)
    {
        return Entry::NotKnown;
    }
    let is_late = job.start_by.is_some_and(|at| at <= now);
    if is_late && !may_have_begun(command, redelivered, record.as_ref()) {
        return Entry::TooLate;
    }
    Entry::Now
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::json;
    use vmctl_core::{
        clock::{self, from_unix_ms},
        event::{Caller, EventData, JobSpec},
        fact::{JobFact, Retention},
        merge::merge,
    };

    use super::*;

    fn now() -> Timestamp {
        from_unix_ms(1_795_000_000_000)
    }

    fn event(event_type: EventType, epoch: u32, attempt: u32, seq: u32) -> Event {
        let id = clock::new_job_id(&clock::ManualClock::new(now()));
        let state = match event_type {
            EventType::Submitted | EventType::Redriven => JobState::Queued,
            EventType::Retry => JobState::Retrying,
            EventType::Succeeded => JobState::Succeeded,
            _ => JobState::Running,
        };
        let data = EventData {
            epoch,
            attempt,
            seq,
            ..EventData::new(
                state,
                JobSpec::new(
                    id,
                    "vm.create".parse().unwrap(),
                    json!({}),
                    now(),
                    clock::add(now(), Duration::from_secs(3600)),
                    Caller {
                        project_id: "p1".to_owned(),
                        ..Caller::default()
                    },
                ),
            )
        };
        Event::new(*id.as_uuid(), event_type, "/test", now(), data)
    }

    fn record(of: &[Event]) -> Record {
        let mut record = Record::default();
        for event in of {
            let fact = JobFact::from_event(event.clone(), Some(1), Retention::default());
            merge(&mut record, &fact, now());
        }
        record
    }

    #[test]
    fn only_what_a_later_command_has_run_is_overtaken() {
        use EventType::{Continued, Redriven, Retry, Started, Submitted, Succeeded};
        // A command of attempt 2, slice 3, and the newest message of its job.
        let command = event(Continued, 1, 2, 3);
        for (newest, overtaken) in [
            (event(Submitted, 1, 1, 0), false),
            (event(Continued, 1, 2, 3), false),
            // The next command is in the log; its work queue may not have taken it.
            (event(Continued, 1, 2, 4), false),
            (event(Retry, 1, 3, 0), false),
            // Somebody ran the next command.
            (event(Continued, 1, 2, 5), true),
            (event(Started, 1, 3, 0), true),
            (event(Continued, 1, 3, 1), true),
            (event(Retry, 1, 4, 0), true),
            (event(Succeeded, 1, 2, 3), true),
            (event(Succeeded, 0, 2, 3), false),
            (event(Redriven, 2, 1, 0), true),
        ] {
            let record = record(std::slice::from_ref(&newest));
            for redelivered in [false, true] {
                let admission = admit(&command, redelivered, Some(&record), None);
                assert_eq!(
                    admission == Admission::Overtaken,
                    overtaken,
                    "{} {}.{}.{}",
                    newest.event_type,
                    newest.data.epoch,
                    newest.data.attempt,
                    newest.data.seq
                );
            }
        }
    }

    #[test]
    fn an_attempt_is_announced_once() {
        use EventType::{Continued, Retry, Started, Submitted};
        let announced = |command: &Event, record: Option<&Record>| {
            matches!(
                admit(command, true, record, None),
                Admission::Run { announce: true, .. }
            )
        };
        let first = event(Submitted, 0, 1, 0);
        assert!(announced(&first, None));
        assert!(announced(
            &first,
            Some(&record(std::slice::from_ref(&first)))
        ));
        let started = record(&[first.clone(), event(Started, 0, 1, 0)]);
        assert!(!announced(&first, Some(&started)));
        assert!(!announced(&event(Continued, 0, 1, 1), Some(&started)));
        assert!(announced(&event(Retry, 0, 2, 0), Some(&started)));
    }

    #[test]
    fn a_cancel_spares_the_handler_only_when_nobody_was_in_it() {
        use EventType::{Continued, Retry, Submitted};
        let wish = || {
            Some(CancelWish {
                reason: Some("why".to_owned()),
            })
        };
        let first = event(Submitted, 0, 1, 0);
        let spared = Admission::Cancelled(Some("why".to_owned()));
        assert_eq!(admit(&first, false, None, wish()), spared);
        for (command, redelivered) in [
            (first, true),
            (event(Continued, 0, 1, 1), false),
            (event(Retry, 0, 2, 0), false),
        ] {
            let admission = admit(&command, redelivered, None, wish());
            assert!(
                matches!(&admission, Admission::Run { cancel, .. } if *cancel == wish()),
                "{admission:?}"
            );
        }
    }

    #[test]
    fn a_cancel_of_another_epoch_is_none() {
        let mut wish = event(EventType::CancelRequested, 0, 1, 0);
        wish.data.state = JobState::Queued;
        let record = record(&[wish]);
        let redriven = event(EventType::Redriven, 1, 1, 0);
        let admission = admit(&redriven, false, Some(&record), None);
        assert!(matches!(admission, Admission::Run { cancel: None, .. }));
        let same = event(EventType::Submitted, 0, 1, 0);
        let admission = admit(&same, false, Some(&record), None);
        assert_eq!(admission, Admission::Cancelled(None));
    }
}
