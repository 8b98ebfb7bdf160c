//! What can be said of a job after what the log has said of it before.
//!
//! The merge takes facts in any order. Whether an honest process can have said one is another question, and
//! has an order: that of the log. Who asks it has the record that the entries before have made. Because each
//! entry is judged by what lies before it, every reader and every rebuild judges alike.
//!
//! | said of a job that the log knows | is believed |
//! |---|---|
//! | anything of another project or kind | never |
//! | anything of a later epoch | if it opens the epoch, and that is the next one |
//! | by a worker, before `run_at` by its own time | never |
//! | `succeeded`, `failed` by a worker | once a worker has begun the job in this epoch |
//! | `cancelled` | once a worker has begun it, or somebody has asked to cancel it |
//! | `deadline` | not before the deadline, or before `start_by` of a job that nobody has begun |
//! | `kept` | if it says nothing that the log has not said |
//!
//! What is said of a job that the log does not know is believed: a shortened log may begin anywhere. So is
//! what is said of a record from before a gap in the log. A `kept` tells of a job that was submitted before the
//! log begins what the log has forgotten: that is believed too.

use jiff::Timestamp;

use crate::{
    clock,
    event::EventType,
    fact::JobFact,
    merge::{is_foreign, merge},
    record::{Record, Winner},
};

/// Says why a fact cannot be true after what `record` has from the entries before it. `since` is from when
/// on the log was read without a gap.
pub fn unfounded(
    record: &Record,
    fact: &JobFact,
    since: Option<Timestamp>,
) -> Option<&'static str> {
    if is_foreign(record, fact) {
        return Some("it speaks of another project or kind");
    }
    let winner = record.winner.as_ref()?;
    if since.is_some_and(|since| winner.time < since) {
        return None;
    }
    if fact.event_type == EventType::Kept {
        return unfounded_kept(record, winner, fact, since);
    }
    let opens = fact.event_type.is_submission();
    if fact.epoch > winner.epoch {
        return if !opens {
            Some("its epoch was never opened")
        } else if fact.epoch - winner.epoch > 1 {
            Some("its epoch is not the next one")
        } else {
            None
        };
    }
    // What a server wrote ahead of the log says nothing of what the log has.
    if opens || fact.given_up || fact.epoch < winner.epoch || winner.offset.is_none() {
        return None;
    }
    unfounded_in_epoch(record, fact)
}

/// The same inside the record's epoch.
fn unfounded_in_epoch(record: &Record, fact: &JobFact) -> Option<&'static str> {
    // Whoever says it has waited by a clock of its own, which may have no more than seconds.
    let latest = clock::add(fact.time, clock::DIFFERENCE);
    let before = |at: Timestamp| latest < at;
    if fact.event_type == EventType::Deadline {
        let is_early = record.next_limit().is_some_and(before);
        return is_early.then_some("its time is not over");
    }
    if record.may_have_begun() {
        return None;
    }
    let run_at = record.spec.as_ref().and_then(|s| s.spec.run_at);
    match fact.event_type {
        EventType::Succeeded | EventType::Failed => Some("no worker has started it"),
        // Who asks to cancel a scheduled job lets it be entered, to clean up.
        _ if record.cancel_requested().is_some() => None,
        EventType::Cancelled => Some("nobody has asked to cancel it"),
        EventType::Started | EventType::Retry | EventType::Continued
            if run_at.is_some_and(before) =>
        {
            Some("it is not to run yet")
        }
        _ => None,
    }
}

/// The same for a job that is said again. Whoever keeps it may have read the view before what was said last, so it may
/// say less.
fn unfounded_kept(
    record: &Record,
    winner: &Winner,
    fact: &JobFact,
    since: Option<Timestamp>,
) -> Option<&'static str> {
    let spec = record.spec.as_ref()?;
    let begins = since.map(|since| clock::add(since, clock::DIFFERENCE));
    let is_whole = begins.is_none_or(|begins| begins <= spec.spec.created_at);
    if !is_whole || winner.offset.is_none() {
        return None;
    }
    let Some(kept) = &fact.kept else {
        return Some("it does not say what it keeps");
    };
    let describes = kept.described.id == spec.id;
    if describes && fact.spec.as_ref() != Some(&spec.spec) {
        return Some("it keeps another job");
    }
    let mut after = record.clone();
    merge(&mut after, fact, Timestamp::MIN);
    // A confirm is not in the log.
    after.confirmed = record.confirmed;
    let again = after.winner.take().map(said);
    after.winner.clone_from(&record.winner);
    (again != Some(said(winner.clone())) || after != *record)
        .then_some("it keeps what nobody has said")
}

/// A message, wherever it can be read, and however long its record is kept after the end: that is a setting.
fn said(winner: Winner) -> Winner {
    Winner {
        first: winner.first_said(),
        offset: None,
        expires: Timestamp::MIN,
        kept: false,
        ..winner
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use EventType::{
        CancelRequested, Cancelled, Continued, Deadline, Failed, Kept, Redriven, Retry, Started,
        Submitted, Succeeded,
    };
    use serde_json::json;
    use vmctl_api_types::JobState;

    use super::*;
    use crate::{
        clock::from_unix_ms,
        event::{Caller, Event, EventData, JobSpec},
        fact::Retention,
        kept::kept,
    };

    fn at(seconds: i64) -> Timestamp {
        from_unix_ms(1_795_000_000_000 + seconds * 1000)
    }

    /// A job with an hour, to be run in ten minutes if it is scheduled.
    fn says(event_type: EventType, epoch: u32, seconds: i64, scheduled: bool) -> JobFact {
        let mut spec = JobSpec::new(
            "019ab0f3-7c00-7a00-8abc-1f2e3d4c5b6a".parse().unwrap(),
            "vm.create".parse().unwrap(),
            json!({}),
            at(0),
            at(3600),
            Caller::default(),
        );
        spec.run_at = scheduled.then(|| at(600));
        let state = match event_type {
            Submitted | Redriven | CancelRequested | Kept => JobState::Queued,
            Succeeded => JobState::Succeeded,
            Failed | Deadline => JobState::Failed,
            Cancelled => JobState::Cancelled,
            _ => JobState::Running,
        };
        let data = EventData {
            epoch,
            ..EventData::new(state, spec)
        };
        let id = uuid::Uuid::from_u128(u128::from(seconds.unsigned_abs()));
        let event = Event::new(id, event_type, "/t", at(seconds), data);
        JobFact::from_event(event, Some(7), Retention(Duration::from_secs(3600)))
    }

    fn record(facts: &[JobFact]) -> Record {
        let mut record = Record::default();
        for fact in facts {
            merge(&mut record, fact, at(0));
        }
        record
    }

    fn is_believed(before: &[JobFact], fact: &JobFact) -> bool {
        unfounded(&record(before), fact, None).is_none()
    }

    #[test]
    fn a_job_that_nobody_has_begun_is_ended_by_a_wish_its_time_or_the_broker() {
        let submitted = says(Submitted, 0, 0, false);
        let started = says(Started, 0, 1, false);
        let wish = says(CancelRequested, 0, 1, false);
        for (end, untouched, wished) in [
            (says(Succeeded, 0, 2, false), false, false),
            (says(Failed, 0, 2, false), false, false),
            (says(Cancelled, 0, 2, false), false, true),
            (says(Deadline, 0, 2, false), false, false),
            (says(Deadline, 0, 3600, false), true, true),
        ] {
            let is = |before: &[JobFact]| is_believed(before, &end);
            assert_eq!(is(std::slice::from_ref(&submitted)), untouched, "{end:?}");
            assert_eq!(is(&[submitted.clone(), wish.clone()]), wished, "{end:?}");
            // Its deadline has not come for a running job either.
            let is_early = end.event_type == Deadline && end.time < at(3600);
            let begun = [submitted.clone(), started.clone()];
            assert_eq!(is(&begun), !is_early, "{end:?}");
            let given_up = JobFact {
                given_up: true,
                ..end.clone()
            };
            assert!(is_believed(std::slice::from_ref(&submitted), &given_up));
            // The log begins with it, or there is a gap before it.
            assert!(is_believed(&[], &end));
            let old = record(std::slice::from_ref(&submitted));
            assert_eq!(unfounded(&old, &end, Some(at(1))), None);
        }
    }

    #[test]
    fn nothing_is_believed_of_another_project_or_kind() {
        let submitted = [says(Submitted, 0, 0, false)];
        let honest = says(Started, 0, 1, false);
        assert!(is_believed(&submitted, &honest));
        let lies: [fn(&mut JobSpec); 2] = [
            |spec| spec.auth.project_id = "evil".to_owned(),
            |spec| spec.kind = "vm.delete".parse().unwrap(),
        ];
        for lie in lies {
            let mut fact = honest.clone();
            lie(fact.spec.as_mut().unwrap());
            assert!(!is_believed(&submitted, &fact), "{fact:?}");
        }
    }

    #[test]
    fn an_epoch_is_opened_by_its_own_command_one_after_the_other() {
        let ended = [
            says(Submitted, 0, 0, false),
            says(Started, 0, 1, false),
            says(Failed, 0, 2, false),
        ];
        for what in [
            Started,
            Retry,
            Continued,
            Succeeded,
            Failed,
            Cancelled,
            CancelRequested,
            Kept,
        ] {
            for epoch in [1, 1 << 30] {
                assert!(!is_believed(&ended, &says(what, epoch, 3, false)), "{what}");
            }
        }
        assert!(is_believed(&ended, &says(Redriven, 1, 3, false)));
        assert!(!is_believed(&ended, &says(Redriven, 2, 3, false)));
        let mut again = ended.to_vec();
        again.push(says(Redriven, 1, 3, false));
        assert!(!is_believed(&again, &says(Succeeded, 1, 4, false)));
        assert!(
            is_believed(&again, &says(Succeeded, 0, 4, false)),
            "late, and nothing comes of it"
        );
        again.push(says(Started, 1, 4, false));
        assert!(is_believed(&again, &says(Succeeded, 1, 5, false)));
    }

    #[test]
    fn what_keeps_a_job_says_nothing_that_the_log_has_not_said() {
        let before = [
            says(Submitted, 0, 0, false),
            says(CancelRequested, 0, 1, false),
            says(Started, 0, 2, false),
        ];
        let keeps = |before: &[JobFact]| {
            let event = kept(&record(before), None, at(3), "/reader/r", at(3)).unwrap();
            JobFact::from_event(event, Some(9), Retention(Duration::from_secs(3600)))
        };
        let fact = keeps(&before);
        assert!(is_believed(&before, &fact));
        // It was read from the view before the rest was said.
        assert!(is_believed(&before, &keeps(&before[..1])));
        let mut ended = before.to_vec();
        ended.push(says(Succeeded, 0, 4, false));
        assert!(is_believed(&ended, &fact));
        // That comes later, if it comes at all.
        assert!(!is_believed(&before[..1], &fact));
        assert!(!is_believed(&before[..2], &fact));
        assert!(!is_believed(&before, &says(Kept, 0, 3, false)));
        let forge: [fn(&mut JobFact); 6] = [
            |fact| fact.seq = 5,
            |fact| fact.epoch = 1,
            |fact| fact.body.worker = Some("another".to_owned()),
            |fact| fact.spec.as_mut().unwrap().labels = [("a".to_owned(), "b".to_owned())].into(),
            |fact| fact.kept.as_mut().unwrap().id = uuid::Uuid::max(),
            |fact| fact.kept.as_mut().unwrap().first = Some(0),
        ];
        for (n, forge) in forge.iter().enumerate() {
            let mut fact = fact.clone();
            forge(&mut fact);
            assert!(!is_believed(&before, &fact), "{n}");
        }
        // What was submitted before the log begins may have been said before that, too.
        let known = record(&before[..1]);
        assert_eq!(unfounded(&known, &fact, Some(at(0))), None);
        assert!(unfounded(&known, &fact, Some(at(-60))).is_some());
    }

    #[test]
    fn nobody_begins_a_scheduled_job_before_it_is_due() {
        let submitted = [says(Submitted, 0, 0, true)];
        for what in [Started, Retry, Continued] {
            assert!(
                !is_believed(&submitted, &says(what, 0, 589, true)),
                "{what}"
            );
            // Its clock may be behind, or tell no more than seconds.
            assert!(is_believed(&submitted, &says(what, 0, 590, true)), "{what}");
        }
        // Its own word for when it is due is not asked.
        assert!(!is_believed(&submitted, &says(Started, 0, 589, false)));
        let mut wished = submitted.to_vec();
        wished.push(says(CancelRequested, 0, 1, true));
        assert!(is_believed(&wished, &says(Cancelled, 0, 2, true)));
        assert!(is_believed(&wished, &says(Started, 0, 2, true)));
    }
}
