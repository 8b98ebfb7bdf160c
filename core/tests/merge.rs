//! The laws of the merge, on random jobs: retries, redrives, conflicting ends, cancels, copies.
//!
//! A random job is a list of messages. The log holds each of them once or more, copies of submissions
//! with another time among them; servers have written some of them ahead of the log. Whatever order
//! they are merged in, the record and the history must be the same.
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;
use vmctl_core::{
    JobState,
    clock::from_unix_ms,
    event::EventType,
    fact::JobFact,
    merge::{history_entry, merge, merge_history, merge_tick, shown},
    record::{HISTORY_HEAD, HISTORY_TAIL, HISTORY_TERMINAL, HistoryEntry, Record, Tick, Winner},
    testing::store::sample::{Saying, Story, TYPES},
};

const STORY: Story = Story {
    start: Timestamp::constant(1_795_000_000, 0),
};

fn now() -> Timestamp {
    STORY.at(10_000)
}

fn saying() -> impl Strategy<Value = Saying> {
    (0..TYPES.len(), 0..3_u32, 1..4_u32, 0..4_u32, 0..1000_i64).prop_map(
        |(what, epoch, attempt, seq, at)| Saying {
            what,
            epoch,
            attempt,
            seq,
            at,
        },
    )
}

/// An entry: which message it is, by how much its time differs from the message's, and whether a
/// server has written it ahead of the log.
type Copied = (prop::sample::Index, i64, bool);

/// A log of at most `entries` facts with growing offsets, and what servers wrote ahead of it.
fn log(entries: usize) -> impl Strategy<Value = Vec<JobFact>> {
    let messages = prop::collection::vec(saying(), 1..20);
    let copied = (
        any::<prop::sample::Index>(),
        0..3_i64,
        prop::bool::weighted(0.2),
    );
    (messages, prop::collection::vec(copied, 1..entries)).prop_map(|(messages, copies)| {
        copies
            .iter()
            .enumerate()
            .flat_map(|(place, copied)| facts(&messages, place as u64 * 3, copied))
            .collect()
    })
}

fn facts(messages: &[Saying], offset: u64, (index, shift, ahead): &Copied) -> Vec<JobFact> {
    let message = index.get(messages);
    let submission = TYPES[message.what].is_submission();
    // Only a submission is ever said again at another time.
    let shift = if submission { *shift } else { 0 };
    let job = STORY.job("job", 0);
    let said = Saying {
        at: message.at + shift,
        ..message.clone()
    };
    let spec = STORY.spec(job, "demo", shift);
    let in_log = STORY.fact(&spec, &said, Some(offset));
    let ahead = (*ahead).then(|| JobFact {
        offset: None,
        confirmed: submission,
        ..in_log.clone()
    });
    ahead.into_iter().chain([in_log]).collect()
}

/// Some order of some facts: all of them, some of them several times.
fn shuffled(facts: Vec<JobFact>) -> impl Strategy<Value = (Vec<JobFact>, Vec<JobFact>)> {
    let again = prop::collection::vec(any::<prop::sample::Index>(), 0..10);
    again
        .prop_flat_map(move |again| {
            let mut all = facts.clone();
            all.extend(again.iter().map(|i| i.get(&facts).clone()));
            (Just(facts.clone()), Just(all).prop_shuffle())
        })
        .boxed()
}

/// Several readers that each read a part of the log from some place to the end, in turns.
fn interleaved(facts: Vec<JobFact>) -> impl Strategy<Value = (Vec<JobFact>, Vec<JobFact>)> {
    let starts = prop::collection::vec(any::<prop::sample::Index>(), 1..4);
    let turns = prop::collection::vec(any::<prop::sample::Index>(), 0..600);
    (starts, turns).prop_map(move |(starts, turns)| {
        let mut readers: Vec<_> = starts
            .iter()
            .map(|start| facts[start.index(facts.len())..].iter())
            .chain([facts.iter()])
            .collect();
        let mut read = Vec::new();
        for turn in turns {
            let reader = turn.index(readers.len());
            read.extend(readers[reader].next().cloned());
        }
        read.extend(readers.into_iter().flatten().cloned());
        (facts.clone(), read)
    })
}

fn fold(facts: &[JobFact]) -> (Record, Vec<HistoryEntry>) {
    let mut record = Record::default();
    let mut history = Vec::new();
    for fact in facts {
        merge(&mut record, fact, now());
        if let Some(entry) = history_entry(fact) {
            merge_history(&mut history, entry);
        }
    }
    (record, history)
}

/// What the history must be, said in another way: sort all, cut it in three.
fn expected_history(facts: &[JobFact]) -> Vec<HistoryEntry> {
    let mut all: Vec<_> = facts.iter().filter_map(history_entry).collect();
    all.sort_by(|a, b| (a.offset, &a.event.id).cmp(&(b.offset, &b.event.id)));
    all.dedup_by(|a, b| (a.offset, &a.event.id) == (b.offset, &b.event.id));
    if all.len() <= HISTORY_HEAD + HISTORY_TAIL {
        return all;
    }
    let tail = all.split_off(all.len() - HISTORY_TAIL);
    let middle = all.split_off(HISTORY_HEAD);
    let ends = middle.into_iter().filter(|e| e.event.state.is_terminal());
    all.into_iter()
        .chain(ends.take(HISTORY_TERMINAL))
        .chain(tail)
        .collect()
}

/// What decides the state, said in another way.
fn expected_winner(facts: &[JobFact]) -> Option<&JobFact> {
    let deciding: Vec<_> = facts
        .iter()
        .filter(|f| f.event_type != EventType::CancelRequested)
        .collect();
    let epoch = deciding.iter().map(|f| f.epoch).max()?;
    let of_epoch = || deciding.iter().copied().filter(move |f| f.epoch == epoch);
    of_epoch()
        .filter(|f| f.state.is_terminal() && f.offset.is_some())
        .min_by_key(|f| f.offset)
        .or_else(|| of_epoch().max_by_key(|f| (f.attempt, f.rank(), f.seq, decides(f))))
}

/// The id of the message that decides if a fact does.
fn decides(fact: &JobFact) -> Uuid {
    fact.kept.as_ref().map_or(fact.id, |kept| kept.id)
}

/// The state as a client compares it: it must never get smaller.
fn height(winner: &Winner) -> (u32, bool, u32, u8, u32) {
    if winner.state.is_terminal() {
        (winner.epoch, true, 0, 0, 0)
    } else {
        (winner.epoch, false, winner.attempt, winner.rank, winner.seq)
    }
}

proptest! {
    #[test]
    fn t04_any_order_with_duplicates_gives_the_same(
        (log, read) in log(60).prop_flat_map(shuffled)
    ) {
        prop_assert_eq!(fold(&log), fold(&read));
    }

    #[test]
    fn parallel_readers_give_the_same(
        (log, read) in log(200).prop_flat_map(interleaved)
    ) {
        prop_assert_eq!(fold(&log), fold(&read));
    }

    #[test]
    fn merging_everything_again_changes_nothing(log in log(40)) {
        let (record, history) = fold(&log);
        let mut again = (record.clone(), history.clone());
        for fact in &log {
            prop_assert!(!merge(&mut again.0, fact, now()), "{:?}", fact);
            if let Some(entry) = history_entry(fact) {
                merge_history(&mut again.1, entry);
            }
        }
        prop_assert_eq!((record, history), again);
    }

    #[test]
    fn the_record_says_what_the_rules_say(
        (log, read) in log(60).prop_flat_map(shuffled)
    ) {
        let (record, _) = fold(&read);
        let winner = record.winner.as_ref();
        let expected = expected_winner(&log);
        prop_assert_eq!(winner.map(|w| w.id), expected.map(decides));
        prop_assert_eq!(record.state(), expected.map(|f| f.state));
        let kept = || log.iter().filter_map(|f| f.kept.as_ref());
        let cancel = log
            .iter()
            .filter(|f| f.event_type == EventType::CancelRequested)
            .map(|f| (f.epoch, f.time))
            .chain(kept().filter_map(|k| Some((k.cancel.as_ref()?.epoch, k.cancel.as_ref()?.at))))
            .max_by_key(|(epoch, at)| (*epoch, std::cmp::Reverse(*at)));
        prop_assert_eq!(record.cancel.as_ref().map(|c| (c.epoch, c.at)), cancel);
        let confirmed = log.iter().filter(|f| f.confirmed).map(|f| f.epoch);
        let confirmed = confirmed.chain(kept().filter_map(|k| k.confirmed)).max();
        prop_assert_eq!(record.confirmed, confirmed);
    }

    #[test]
    fn state_never_goes_back((_, read) in log(60).prop_flat_map(shuffled)) {
        let mut record = Record::default();
        for fact in &read {
            let before = record.winner.clone();
            merge(&mut record, fact, now());
            let (Some(before), Some(after)) = (before, &record.winner) else {
                continue;
            };
            prop_assert!(height(&before) <= height(after), "{:?} -> {:?}", before, after);
            let moved = before.id != after.id && before.epoch == after.epoch;
            if moved && before.state.is_terminal() {
                let place = |w: &Winner| w.offset.unwrap_or(u64::MAX);
                let earlier = (place(after), after.id) < (place(&before), before.id);
                prop_assert!(earlier, "{:?} -> {:?}", before, after);
            }
        }
    }

    #[test]
    fn a_history_keeps_the_first_the_last_and_the_ends(
        (log, read) in log(400).prop_flat_map(shuffled)
    ) {
        let (_, history) = fold(&read);
        prop_assert_eq!(&history, &expected_history(&log));
        let shown = shown(history);
        let ids: std::collections::HashSet<_> = shown.iter().map(|e| &e.event.id).collect();
        prop_assert_eq!(ids.len(), shown.len());
    }

    #[test]
    fn ticks_only_move_forward_and_touch_only_their_own_run(
        log in log(20),
        ticks in prop::collection::vec((0..3_u32, 1..4_u32, 0..4_u32, 1..20_u32), 1..30),
    ) {
        let (mut record, _) = fold(&log);
        let Some(winner) = record.winner.clone() else { return Ok(()) };
        let job = STORY.job("job", 0);
        let (mut newest, before) = (None, record.clone());
        for (epoch, attempt, seq, number) in ticks {
            let tick = STORY.tick(job, (epoch, attempt), seq, number);
            let fits = !winner.state.is_terminal()
                && (epoch, attempt) == (winner.epoch, winner.attempt)
                && newest < Some(tick.order());
            prop_assert_eq!(merge_tick(&mut record, &tick), fits);
            if fits {
                newest = Some(tick.order());
            }
        }
        prop_assert_eq!(record.tick.as_ref().map(Tick::order), newest);
        record.tick = None;
        prop_assert_eq!(record, before);
    }
}

fn said(event_type: EventType, seq: u32, at: i64) -> Saying {
    Saying {
        what: TYPES.iter().position(|&t| t == event_type).unwrap(),
        epoch: 0,
        attempt: 1,
        seq,
        at,
    }
}

#[test]
fn an_old_log_does_not_bring_an_ended_job_back() {
    let spec = STORY.spec(STORY.job("job", 0), "demo", 0);
    let submitted = STORY.fact(&spec, &said(EventType::Submitted, 0, 0), Some(1));
    let succeeded = STORY.fact(&spec, &said(EventType::Succeeded, 2, 1000), Some(2));
    // The end is forgotten a day after the end, the submission a day after the deadline.
    let now = succeeded.expires;
    assert!(submitted.expires > now);
    let mut record = Record::default();
    assert!(merge(&mut record, &submitted, now));
    assert_eq!(record.state(), Some(JobState::Queued));
    assert!(merge(&mut record, &succeeded, now));
    assert_eq!(record, Record::default());
    assert!(!merge(&mut record, &succeeded, now));
}

#[test]
fn an_expired_fact_touches_no_newer_run() {
    let spec = STORY.spec(STORY.job("job", 0), "demo", 0);
    let redriven = Saying {
        epoch: 1,
        ..said(EventType::Redriven, 0, 2000)
    };
    let redriven = STORY.fact(&spec, &redriven, Some(3));
    let succeeded = STORY.fact(&spec, &said(EventType::Succeeded, 2, 1000), Some(2));
    let mut record = Record::default();
    merge(&mut record, &redriven, from_unix_ms(0));
    let before = record.clone();
    assert!(!merge(&mut record, &succeeded, succeeded.expires));
    assert_eq!(record, before);
}
