//! The merge: a record and one more fact give a record.
//!
//! It is a join (commutative, associative, idempotent), so the order of facts, their duplicates and
//! readers in parallel do not matter. Each part of a record has its own order:
//!
//! | part | which fact it comes from |
//! |---|---|
//! | winner | the greatest by epoch, then terminal; among terminals the first in the log; else attempt, rank, seq, id; of copies of one message the newest `kept`, else the first in the log |
//! | submission | the greatest epoch, then the submission itself before copies in other messages, then the earliest `created_at`, the smallest id, the earliest copy |
//! | cancel | the greatest epoch, then the earliest wish; sets this flag and nothing else |
//! | started | the greatest epoch, then the earliest start |
//! | confirmed | the greatest epoch; said by servers, and by a `kept` that repeats it |
//! | tick | the greatest of the winner's epoch and attempt; touches only a live record |
//!
//! A [`kept`](crate::kept) is a copy of the winner that it repeats, and says the other parts as they were.
//!
//! All messages of a job name the same project and kind. One that does not is not merged, which is the
//! one place where the order counts: who came first stays.
//!
//! A fact whose record would have expired by `now` adds nothing. If it is the end of the job, and the
//! record does not have it yet, then the record itself is over: it is emptied, so that reading an old
//! log does not bring an ended job back to life. The Redis backend does the same in Lua, and a test
//! compares the two.

use std::{
    cmp::{Ordering, Reverse},
    collections::HashSet,
};

use jiff::Timestamp;
use vmctl_api_types::JobEvent;

use crate::{
    event::EventType,
    fact::JobFact,
    kept::Described,
    record::{
        Cancel, HISTORY_HEAD, HISTORY_TAIL, HISTORY_TERMINAL, HistoryEntry, Record, Started,
        Submission, Tick, Winner,
    },
};

/// Says whether a fact speaks of a job of another project or kind under this job's id. No honest
/// process says that. Whoever does must not move a job to another project: who came first stays.
pub fn is_foreign(record: &Record, fact: &JobFact) -> bool {
    let (Some(have), Some(said)) = (&record.spec, &fact.spec) else {
        return false;
    };
    let have = &have.spec;
    have.auth.project_id != said.auth.project_id || have.kind != said.kind
}

/// Merges one fact into a record. Returns whether anything changed. A foreign fact changes nothing.
pub fn merge(record: &mut Record, fact: &JobFact, now: Timestamp) -> bool {
    if is_foreign(record, fact) {
        return false;
    }
    if fact.expires <= now {
        return forget(record, fact);
    }
    let before = record.clone();
    merge_spec(record, fact);
    if decides_state(fact) {
        merge_winner(record, fact);
    }
    merge_cancel(record, fact);
    merge_started(record, fact);
    let confirmed = fact.confirmed.then_some(fact.epoch);
    let kept = fact.kept.as_ref().and_then(|kept| kept.confirmed);
    record.confirmed = record.confirmed.max(confirmed).max(kept);
    *record != before
}

/// Empties a record whose end has come and is already past its time.
fn forget(record: &mut Record, fact: &JobFact) -> bool {
    let ended = fact.state.is_terminal() && decides_state(fact);
    let over = ended
        && record
            .winner
            .as_ref()
            .is_some_and(|have| order(&candidate(fact), have) == Ordering::Greater);
    if over {
        *record = Record::default();
    }
    over
}

/// Says whether a fact takes part in deciding the state; a wish to cancel does not.
pub fn decides_state(fact: &JobFact) -> bool {
    fact.event_type != EventType::CancelRequested
}

/// Returns what a record says of its state if this fact decides it.
pub fn candidate(fact: &JobFact) -> Winner {
    let kept = fact.kept.as_deref();
    Winner {
        id: kept.map_or(fact.id, |kept| kept.id),
        offset: fact.offset,
        kept: kept.is_some(),
        first: kept.and_then(|_| fact.first_said()),
        event_type: kept.map_or(fact.event_type, |kept| kept.event_type),
        state: fact.state,
        epoch: fact.epoch,
        attempt: fact.attempt,
        rank: fact.rank(),
        seq: fact.seq,
        time: kept.map_or(fact.time, |kept| kept.time),
        expires: fact.expires,
        body: fact.body.clone(),
    }
}

fn merge_winner(record: &mut Record, fact: &JobFact) {
    let candidate = candidate(fact);
    let wins = record
        .winner
        .as_ref()
        .is_none_or(|have| order(&candidate, have) == Ordering::Greater);
    if wins {
        record.winner = Some(candidate);
    }
}

/// The order of winners. It is total, down to copies of one message, so that taking the greatest is
/// a join. A message without an offset was written ahead of the log; any place in the log is before
/// it. The log has dropped all copies before the newest `kept`, or will: that one is the one to read.
fn order(a: &Winner, b: &Winner) -> Ordering {
    let terminal = a.state.is_terminal();
    let place = |w: &Winner| w.offset.unwrap_or(u64::MAX);
    a.epoch
        .cmp(&b.epoch)
        .then(terminal.cmp(&b.state.is_terminal()))
        .then_with(|| {
            if terminal {
                let key = |w: &Winner| Reverse((place(w), w.id));
                key(a).cmp(&key(b))
            } else {
                let kept = |w: &Winner| w.kept.then(|| place(w));
                let key = |w: &Winner| (w.attempt, w.rank, w.seq, w.id, kept(w), Reverse(place(w)));
                key(a).cmp(&key(b))
            }
        })
        .then_with(|| {
            let key = |w: &Winner| Reverse((w.time, w.expires));
            key(a).cmp(&key(b))
        })
}

fn merge_spec(record: &mut Record, fact: &JobFact) {
    let Some(spec) = &fact.spec else { return };
    let described = described(fact);
    let candidate = (
        described.epoch,
        described.original,
        Reverse((spec.created_at, described.id, described.at)),
    );
    let key = |s: &Submission| {
        let earliest = Reverse((s.spec.created_at, s.id, s.at));
        (s.epoch, s.original, earliest)
    };
    let have = record.spec.as_ref();
    if have.is_none_or(|have| candidate > key(have)) {
        record.spec = Some(Submission {
            epoch: described.epoch,
            original: described.original,
            id: described.id,
            at: described.at,
            spec: spec.clone(),
        });
    }
}

/// Which message the job's fields come from that a fact carries.
fn described(fact: &JobFact) -> Described {
    let kept = fact.kept.as_ref().map(|kept| kept.described.clone());
    kept.unwrap_or_else(|| Described {
        epoch: fact.epoch,
        original: fact.event_type.is_submission(),
        id: fact.id,
        at: fact.time,
    })
}

fn merge_cancel(record: &mut Record, fact: &JobFact) {
    let said = match fact.event_type {
        EventType::CancelRequested => Some(Cancel {
            epoch: fact.epoch,
            at: fact.time,
            id: fact.id,
            reason: fact.reason.clone(),
        }),
        _ => fact.kept.as_ref().and_then(|kept| kept.cancel.clone()),
    };
    let key = |c: &Cancel| (c.epoch, Reverse((c.at, c.id)));
    if said.as_ref().map(key) > record.cancel.as_ref().map(key) {
        record.cancel = said;
    }
}

fn merge_started(record: &mut Record, fact: &JobFact) {
    let said = match fact.event_type {
        EventType::Started => Some(Started {
            epoch: fact.epoch,
            at: fact.time,
        }),
        _ => fact.kept.as_ref().and_then(|kept| kept.started.clone()),
    };
    let key = |s: &Started| (s.epoch, Reverse(s.at));
    if said.as_ref().map(key) > record.started.as_ref().map(key) {
        record.started = said;
    }
}

/// Merges progress. Returns whether anything changed.
pub fn merge_tick(record: &mut Record, tick: &Tick) -> bool {
    let Some(winner) = &record.winner else {
        return false;
    };
    let same_run = (tick.epoch, tick.attempt) == (winner.epoch, winner.attempt);
    let newer = record.tick.as_ref().is_none_or(|have| {
        (tick.epoch, tick.attempt, tick.order()) > (have.epoch, have.attempt, have.order())
    });
    if winner.state.is_terminal() || !same_run || !newer {
        return false;
    }
    record.tick = Some(tick.clone());
    true
}

/// Returns the history entry of a fact; `None` when it has no place in the log.
pub fn history_entry(fact: &JobFact) -> Option<HistoryEntry> {
    Some(HistoryEntry {
        offset: fact.offset?,
        event: JobEvent {
            id: fact.id.to_string(),
            event_type: fact.event_type.word().to_owned(),
            time: fact.time,
            state: fact.state,
            epoch: fact.epoch,
            attempt: fact.attempt,
            seq: fact.seq,
            progress: fact.body.progress.clone(),
            output: fact.body.output.clone(),
            error: fact.body.error.clone(),
            worker: fact.body.worker.clone(),
        },
    })
}

/// Adds an entry to a history in log order and keeps its bound: the first and the last ones, and
/// the terminal ones between them.
///
/// What is kept depends on the set of entries alone, not on their order. That is why copies of one
/// message at two places are two entries: [`shown`] hides the later ones.
pub fn merge_history(history: &mut Vec<HistoryEntry>, entry: HistoryEntry) {
    let place = (entry.offset, &entry.event.id);
    let Err(at) = history.binary_search_by(|e| (e.offset, &e.event.id).cmp(&place)) else {
        return;
    };
    history.insert(at, entry);
    while history.len() > HISTORY_HEAD + HISTORY_TAIL {
        let middle = HISTORY_HEAD..history.len() - HISTORY_TAIL;
        let ordinary = middle
            .clone()
            .find(|&i| !history[i].event.state.is_terminal());
        match ordinary {
            Some(i) => history.remove(i),
            None if middle.len() > HISTORY_TERMINAL => history.remove(middle.end - 1),
            None => break,
        };
    }
}

/// Returns a history as a client sees it: each message once, at its first place.
pub fn shown(mut history: Vec<HistoryEntry>) -> Vec<HistoryEntry> {
    let mut seen = HashSet::new();
    history.retain(|entry| seen.insert(entry.event.id.clone()));
    history
}
