//! One partition: its records, its position, its live jobs.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Bound,
};

use jiff::{SignedDuration, Timestamp};
use vmctl_api_types::{JobId, LogLine};

use super::{expiring::Expiring, line::Lines as ProjectLines};
use crate::{
    clock::{from_unix_ms, is_ahead},
    fact::JobFact,
    lines::{Lines, LogChunk},
    merge::{history_entry, is_foreign, merge, merge_history, merge_tick, shown},
    record::{HistoryEntry, Record, Tick},
    store::{
        DeadKey, FoldOutcome, HeardKey, MOST_DEAD, PartitionBatch, PartitionState, shortened_of,
    },
};

/// How many entries that could not be merged are kept.
const BAD: usize = 100;

/// How long a server's mark is kept after its last, by the newest mark.
const MARK_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// Of how many servers the newest mark is kept.
const SERVERS: usize = 100;

#[derive(Debug, Clone, Default)]
struct Kept {
    record: Record,
    history: Vec<HistoryEntry>,
    lines: Lines,
    /// When it was last heard of, while it lives.
    heard: Option<Timestamp>,
}

impl Kept {
    /// Where the job stands among the live ones; `None` when it is not one of them.
    fn limit(&self) -> Option<Timestamp> {
        let live = self.record.state().is_some_and(|s| !s.is_terminal());
        let limit = self.record.next_limit()?;
        live.then(|| milliseconds(limit))
    }

    /// Where the job stands among the ended ones; `None` when it is not one of them.
    fn ended(&self, id: JobId, expires: Timestamp) -> Option<(Timestamp, JobId)> {
        let ended = self.record.is_terminal();
        ended.then(|| (milliseconds(expires), id))
    }

    fn heard(&self, id: JobId) -> Option<HeardKey> {
        let heard_at = self.heard?;
        Some(HeardKey { heard_at, id })
    }

    /// Hears of the job.
    fn hear(&mut self, fact: &JobFact, now: Timestamp) {
        let said = milliseconds(fact.time.min(now));
        self.heard = self.limit().and(self.heard.max(Some(said)));
    }

    /// Where the job stands among the dead ones; `None` when it is not one of them.
    fn dead(&self, id: JobId) -> Option<DeadKey> {
        let winner = self.record.winner.as_ref().filter(|w| w.is_dead())?;
        let died_at = milliseconds(winner.time);
        Some(DeadKey { died_at, id })
    }
}

/// One partition.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub state: PartitionState,
    pub bad: VecDeque<(u64, String)>,
    pub line: ProjectLines,
    records: Expiring<JobId, Kept>,
    live: BTreeSet<(Timestamp, JobId)>,
    heard: BTreeSet<HeardKey>,
    ended: BTreeSet<(Timestamp, JobId)>,
    dead: BTreeSet<DeadKey>,
}

impl Part {
    /// Forgets what has expired.
    pub fn prune(&mut self, now: Timestamp) {
        for (job, kept) in self.records.prune(now) {
            self.unlive(job, &kept);
        }
        self.line.prune(now);
        while self.ended.first().is_some_and(|(at, _)| *at <= now) {
            self.ended.pop_first();
        }
    }

    pub fn records(&self) -> usize {
        self.records.len()
    }

    pub fn record(&self, job: JobId, now: Timestamp) -> Option<Record> {
        let kept = self.records.get(&job, now)?;
        let expires = self.records.expires(&job).map(milliseconds);
        let winner = kept.record.winner.as_ref()?;
        Some(Record {
            shortened: expires.filter(|at| *at < milliseconds(winner.expires)),
            ..kept.record.clone()
        })
    }

    pub fn history(&self, job: JobId, now: Timestamp) -> Vec<HistoryEntry> {
        let kept = self.records.get(&job, now);
        shown(kept.map(|k| k.history.clone()).unwrap_or_default())
    }

    /// Merges a fact. Returns whether the record changed.
    pub fn merge(&mut self, fact: &JobFact, now: Timestamp) -> bool {
        let (mut kept, expires) = self.records.remove(&fact.job).unwrap_or_default();
        if is_foreign(&kept.record, fact) {
            self.records.insert(fact.job, kept, expires);
            return false;
        }
        self.unlive(fact.job, &kept);
        self.ended.remove(&(milliseconds(expires), fact.job));
        let was = kept.record.winner.clone();
        let changed = merge(&mut kept.record, fact, now);
        let forgotten = was.is_some() && kept.record.winner.is_none();
        let over = fact.expires <= now;
        if !over {
            kept.hear(fact, now);
            if let Some(entry) = history_entry(fact) {
                merge_history(&mut kept.history, entry);
            }
        }
        let expires = match &kept.record.winner {
            Some(winner) if kept.record.winner != was => winner.expires,
            Some(_) => expires,
            None if over => expires,
            None => expires.max(fact.expires),
        };
        if !forgotten && kept.record != Record::default() {
            if let Some(limit) = kept.limit() {
                self.live.insert((limit, fact.job));
            }
            self.heard.extend(kept.heard(fact.job));
            self.ended.extend(kept.ended(fact.job, expires));
            self.dead.extend(kept.dead(fact.job));
            if self.dead.len() > MOST_DEAD {
                self.dead.pop_first();
            }
            self.records.insert(fact.job, kept, expires);
        }
        changed
    }

    pub fn tick(&mut self, tick: &Tick, now: Timestamp) {
        if let Some(kept) = self.records.get_mut(&tick.job, now) {
            merge_tick(&mut kept.record, tick);
        }
    }

    pub fn lines(&self, job: JobId, now: Timestamp) -> Vec<LogLine> {
        let kept = self.records.get(&job, now);
        kept.map(|k| k.lines.newest()).unwrap_or_default()
    }

    pub fn add_lines(&mut self, chunk: &LogChunk, late: Timestamp, now: Timestamp) {
        if let Some(kept) = self.records.get_mut(&chunk.job, now)
            && chunk.belongs_to(&kept.record, late)
        {
            kept.lines.add(&chunk.lines);
        }
    }

    /// Writes a batch, if it belongs here.
    pub fn fold(&mut self, batch: PartitionBatch, now: Timestamp) -> FoldOutcome {
        if self.state.position != batch.expected {
            return FoldOutcome::Moved(self.state.position.clone());
        }
        let changed = batch.facts.iter().filter(|f| self.merge(f, now)).count();
        for step in &batch.steps {
            self.line.apply(step, now);
        }
        if batch.expected.is_none() {
            self.state.since = batch.first_time.map(milliseconds);
        }
        if !batch.marks.is_empty() {
            self.mark(batch.marks, now);
        }
        self.bad.extend(batch.bad);
        self.bad.drain(..self.bad.len().saturating_sub(BAD));
        self.state.position = Some(batch.position);
        let first = batch.first_time.map(milliseconds);
        self.state.oldest = self.state.oldest.into_iter().chain(first).min();
        FoldOutcome::Written { changed }
    }

    fn mark(&mut self, marks: Vec<(String, Timestamp)>, now: Timestamp) {
        let state = &mut self.state;
        for (server, time) in marks {
            let time = milliseconds(time);
            let own = state.marks.entry(server).or_insert(time);
            *own = time.max(*own);
        }
        state.marks.retain(|_, at| !is_ahead(*at, now));
        state.newest_mark = state.marks.values().max().copied();
        let since = state
            .newest_mark
            .and_then(|at| at.checked_sub(MARK_LIFE).ok());
        state.marks.retain(|_, at| Some(*at) >= since);
        while state.marks.len() > SERVERS
            && let Some(oldest) = state.marks.iter().min_by_key(|(_, at)| **at)
        {
            let oldest = oldest.0.clone();
            state.marks.remove(&oldest);
        }
    }

    pub fn overdue(&self, at: Timestamp, limit: usize) -> Vec<JobId> {
        self.live
            .iter()
            .take_while(|(limit, _)| *limit <= at)
            .take(limit)
            .map(|(_, job)| *job)
            .collect()
    }

    /// Live jobs that were heard of at or before `at`, those behind `after`, longest ago first.
    pub fn silent(
        &self,
        after: Option<&HeardKey>,
        at: Timestamp,
    ) -> impl Iterator<Item = &HeardKey> {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.heard.range((behind, Bound::Unbounded));
        range.take_while(move |key| key.heard_at <= at)
    }

    /// Has ended records forgotten earlier. Returns how many.
    pub fn shorten(&mut self, latest: Timestamp, at: Timestamp) -> usize {
        let later = self.ended.iter().filter(|(expires, _)| *expires > at);
        let first = later.take_while(|(expires, _)| *expires <= latest);
        let first = first.take(shortened_of(self.ended.len()));
        let first: Vec<_> = first.copied().collect();
        for entry in &first {
            let (_, job) = *entry;
            self.ended.remove(entry);
            if let Some((kept, _)) = self.records.remove(&job) {
                self.records.insert(job, kept, at);
                self.ended.insert((at, job));
            }
            let drawn = job.unix_ms().map(from_unix_ms);
            self.state.shortened = self.state.shortened.max(drawn);
        }
        first.len()
    }

    /// Dead jobs before `after`, newest first.
    pub fn dead(&self, after: Option<&DeadKey>) -> impl Iterator<Item = &DeadKey> {
        let older = match after {
            Some(key) => self.dead.range(..key.clone()),
            None => self.dead.range(..),
        };
        older.rev()
    }

    /// Takes a job out of the orders that it is in.
    fn unlive(&mut self, job: JobId, kept: &Kept) {
        if let Some(limit) = kept.limit() {
            self.live.remove(&(limit, job));
        }
        if let Some(key) = kept.heard(job) {
            self.heard.remove(&key);
        }
        if let Some(key) = kept.dead(job) {
            self.dead.remove(&key);
        }
    }
}

/// Cuts an instant to the millisecond, as every backend keeps it.
pub fn milliseconds(at: Timestamp) -> Timestamp {
    from_unix_ms(at.as_millisecond())
}
