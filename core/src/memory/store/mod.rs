//! The view in memory: a real backend for one process.
//!
//! It lasts as long as the process. Expired entries are removed at the next write; beyond
//! [`RECORDS`] records it is full, as a Redis at its memory limit is.

mod book;
mod expiring;
mod line;
mod part;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use vmctl_api_types::{JobId, LogLine};

use self::{
    book::Book,
    expiring::Expiring,
    part::{Part, milliseconds},
};
use crate::{
    clock::{self, Clock},
    fact::JobFact,
    lines::LogChunk,
    partition::Partition,
    record::Tick,
    store::{
        DeadKey, FoldOutcome, FoldStore, HeardKey, IndexKey, JobStore, Lookup, PartitionBatch,
        PartitionState, Position, RunKey, StoreError, Story,
        project::{Entered, Entry, Holder, Note, ProjectLimits, ProjectStore, Run, Usage},
        share::{Share, share},
    },
    turn::Line,
};

/// How many records it takes.
pub const RECORDS: usize = 1_000_000;

/// The view in memory. Clones share it.
#[derive(Clone)]
pub struct InMemoryJobStore {
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
    limit: usize,
}

#[derive(Clone, Default)]
struct Inner {
    down: bool,
    /// How many answers of folds are to be lost.
    losing: usize,
    /// Counts flushes and failovers.
    life: u64,
    parts: BTreeMap<Partition, Part>,
    lines: Expiring<(String, IndexKey), ()>,
    /// The same lines, in order.
    projects: HashMap<String, BTreeMap<IndexKey, Timestamp>>,
    runs: Expiring<(JobId, u32, u32, u32), String>,
    claims: Expiring<(String, String), String>,
    books: HashMap<String, Book>,
    /// When the books of projects that are not heard of were looked at last.
    books_seen: Option<Timestamp>,
    readers: Expiring<String, ()>,
    leases: Expiring<Partition, String>,
}

impl InMemoryJobStore {
    /// Makes an empty one that expires entries by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_limit(clock, RECORDS)
    }

    /// Makes one that takes at most about `limit` records.
    pub fn with_limit(clock: Arc<dyn Clock>, limit: usize) -> Self {
        Self {
            clock,
            inner: Arc::default(),
            limit,
        }
    }

    /// Forgets everything, as `FLUSHALL` does.
    pub fn flush(&self) {
        let mut inner = self.lock();
        *inner = Inner {
            down: inner.down,
            life: inner.life + 1,
            ..Inner::default()
        };
    }

    /// Copies what it holds now, as a replica that hears nothing from here on.
    #[must_use]
    pub fn replica(&self) -> Self {
        Self {
            inner: Arc::new(Mutex::new(self.lock().clone())),
            ..self.clone()
        }
    }

    /// Holds what a replica has, as after a failover to it: what came later is lost.
    pub fn fail_over(&self, replica: &Self) {
        let held = replica.lock().clone();
        let mut inner = self.lock();
        *inner = Inner {
            down: inner.down,
            life: inner.life + 1,
            ..held
        };
    }

    /// Makes every call fail as if the store were away, or no longer.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Loses the answers of the next folds, which are written all the same.
    pub fn lose_next_answers(&self, count: usize) {
        self.lock().losing = count;
    }

    /// Returns the entries of a partition that could not be merged: offset and reason, oldest first.
    pub fn bad(&self, partition: Partition) -> Vec<(u64, String)> {
        let inner = self.lock();
        let part = inner.parts.get(&partition);
        part.map(|p| p.bad.iter().cloned().collect())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn up(&self) -> Result<(MutexGuard<'_, Inner>, Timestamp), StoreError> {
        let inner = self.lock();
        if inner.down {
            return Err(StoreError::Unavailable("it was taken down".into()));
        }
        Ok((inner, self.clock.now()))
    }

    /// As [`Self::up`], for a write: makes room first.
    fn room(&self) -> Result<(MutexGuard<'_, Inner>, Timestamp), StoreError> {
        let (mut inner, now) = self.up()?;
        inner.prune(now);
        if inner.records() >= self.limit {
            let reason = format!("it holds {} records", self.limit);
            return Err(StoreError::Full(reason.into()));
        }
        Ok((inner, now))
    }
}

/// Returns what share of `most` there is.
fn ratio(count: usize, most: usize) -> f64 {
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    number(count) / number(most.max(1))
}

impl Inner {
    fn records(&self) -> usize {
        self.parts.values().map(Part::records).sum()
    }

    fn prune(&mut self, now: Timestamp) {
        for part in self.parts.values_mut() {
            part.prune(now);
        }
        for ((project, key), ()) in self.lines.prune(now) {
            self.unlist(&project, &key);
        }
        self.runs.prune(now);
        self.claims.prune(now);
        let seen = self.books_seen.get_or_insert(now);
        if now.duration_since(*seen) >= book::LOOK {
            *seen = now;
            self.books.retain(|_, book| !book.prune(now));
        }
        self.prune_leases(now);
    }

    fn prune_leases(&mut self, now: Timestamp) {
        self.readers.prune(now);
        self.leases.prune(now);
    }

    fn part(&mut self, partition: Partition) -> &mut Part {
        self.parts.entry(partition).or_default()
    }

    fn lookup(&self, id: JobId, now: Timestamp) -> Lookup {
        let part = self.parts.get(&Partition::of(id));
        Lookup {
            record: part.and_then(|p| p.record(id, now)),
            partition: self.state(Partition::of(id)),
        }
    }

    fn state(&self, partition: Partition) -> PartitionState {
        let part = self.parts.get(&partition);
        PartitionState {
            life: Some(self.life.to_string()),
            ..part.map(|p| p.state.clone()).unwrap_or_default()
        }
    }

    /// Puts the job of a fact into its project's index, for as long as any fact about it says.
    fn list(&mut self, fact: &JobFact, now: Timestamp) {
        let Some(spec) = fact.spec.as_ref().filter(|_| fact.expires > now) else {
            return;
        };
        let project = spec.auth.project_id.clone();
        let key = IndexKey {
            created_at: milliseconds(spec.created_at),
            id: spec.id,
        };
        let lines = self.projects.entry(project.clone()).or_default();
        let expires = lines.entry(key.clone()).or_insert(fact.expires);
        *expires = fact.expires.max(*expires);
        self.lines.insert((project, key), (), *expires);
    }

    fn unlist(&mut self, project: &str, key: &IndexKey) {
        if let Some(lines) = self.projects.get_mut(project) {
            lines.remove(key);
            if lines.is_empty() {
                self.projects.remove(project);
            }
        }
        self.lines.remove(&(project.to_owned(), key.clone()));
    }
}

#[async_trait]
impl ProjectStore for InMemoryJobStore {
    async fn enter(&self, project: &str, entry: &Entry) -> Result<(Entered, Usage), StoreError> {
        let (mut inner, now) = self.room()?;
        let book = inner.books.entry(project.to_owned()).or_default();
        Ok(book.enter(entry, now))
    }

    async fn leave(
        &self,
        project: &str,
        run: Run,
        keys: &BTreeSet<String>,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        let (mut inner, _) = self.up()?;
        if let Some(book) = inner.books.get_mut(project) {
            book.leave(run, keys, since);
        }
        Ok(())
    }

    async fn release(&self, project: &str, holders: &[Holder]) -> Result<(), StoreError> {
        let (mut inner, _) = self.up()?;
        if let Some(book) = inner.books.get_mut(project) {
            book.release(holders);
        }
        Ok(())
    }

    async fn holders(&self, project: &str, keys: &[String]) -> Result<Vec<Holder>, StoreError> {
        let (inner, _) = self.up()?;
        let book = inner.books.get(project);
        Ok(book.map(|book| book.holders(keys)).unwrap_or_default())
    }

    async fn usage(&self, project: &str, limits: ProjectLimits) -> Result<Usage, StoreError> {
        let (mut inner, now) = self.up()?;
        let book = inner.books.entry(project.to_owned()).or_default();
        book.prune_runs(now);
        Ok(book.usage(limits, now))
    }

    async fn active(&self, project: &str, limit: usize) -> Result<Vec<Run>, StoreError> {
        let (inner, _) = self.up()?;
        let book = inner.books.get(project);
        Ok(book.map(|book| book.active(limit)).unwrap_or_default())
    }
}

#[async_trait]
impl JobStore for InMemoryJobStore {
    async fn prewrite(&self, fact: &JobFact, now: Timestamp) -> Result<(), StoreError> {
        let (mut inner, _) = self.room()?;
        inner.list(fact, now);
        inner.part(Partition::of(fact.job)).merge(fact, now);
        Ok(())
    }

    async fn get(&self, id: JobId) -> Result<Lookup, StoreError> {
        let (inner, now) = self.up()?;
        Ok(inner.lookup(id, now))
    }

    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Lookup>, StoreError> {
        let (inner, now) = self.up()?;
        Ok(ids.iter().map(|&id| inner.lookup(id, now)).collect())
    }

    async fn story(&self, id: JobId) -> Result<Story, StoreError> {
        let (inner, now) = self.up()?;
        let part = inner.parts.get(&Partition::of(id));
        Ok(Story {
            lookup: inner.lookup(id, now),
            history: part.map(|p| p.history(id, now)).unwrap_or_default(),
        })
    }

    async fn lines(&self, id: JobId) -> Result<Vec<LogLine>, StoreError> {
        let (inner, now) = self.up()?;
        let part = inner.parts.get(&Partition::of(id));
        Ok(part.map(|p| p.lines(id, now)).unwrap_or_default())
    }

    async fn list(
        &self,
        project: &str,
        after: Option<&IndexKey>,
        limit: usize,
    ) -> Result<Vec<IndexKey>, StoreError> {
        let (inner, now) = self.up()?;
        let Some(lines) = inner.projects.get(project) else {
            return Ok(Vec::new());
        };
        let older = match after {
            Some(key) => lines.range(..key.clone()),
            None => lines.range(..),
        };
        let fresh = older.rev().filter(|(_, expires)| **expires > now);
        Ok(fresh.take(limit).map(|(key, _)| key.clone()).collect())
    }

    async fn list_oldest(
        &self,
        project: &str,
        after: Option<&IndexKey>,
        limit: usize,
    ) -> Result<Vec<IndexKey>, StoreError> {
        let (inner, now) = self.up()?;
        let Some(lines) = inner.projects.get(project) else {
            return Ok(Vec::new());
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let newer = lines.range((from, Bound::Unbounded));
        let fresh = newer.filter(|(_, expires)| **expires > now);
        Ok(fresh.take(limit).map(|(key, _)| key.clone()).collect())
    }

    async fn unlist(&self, project: &str, keys: &[IndexKey]) -> Result<(), StoreError> {
        let (mut inner, _) = self.up()?;
        for key in keys {
            inner.unlist(project, key);
        }
        Ok(())
    }

    async fn dead(
        &self,
        after: Option<&DeadKey>,
        limit: usize,
    ) -> Result<Vec<DeadKey>, StoreError> {
        let (mut inner, now) = self.up()?;
        inner.prune(now);
        let parts = inner.parts.values();
        let newest = parts.flat_map(|part| part.dead(after).take(limit));
        let mut dead: Vec<_> = newest.cloned().collect();
        dead.sort_unstable_by(|a, b| b.cmp(a));
        dead.truncate(limit);
        Ok(dead)
    }

    async fn partitions(&self) -> Result<Vec<PartitionState>, StoreError> {
        let (inner, _) = self.up()?;
        Ok(Partition::all().map(|p| inner.state(p)).collect())
    }

    async fn claim_run(
        &self,
        run: &RunKey,
        worker: &str,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let (mut inner, now) = self.up()?;
        inner.runs.prune(now);
        let key = (run.job, run.epoch, run.attempt, run.seq);
        let free = inner.runs.get(&key, now).is_none();
        if free {
            let expires = clock::add(now, ttl);
            inner.runs.insert(key, worker.to_owned(), expires);
        }
        Ok(free)
    }

    async fn claim(
        &self,
        project: &str,
        name: &str,
        value: &str,
        ttl: Duration,
    ) -> Result<String, StoreError> {
        let (mut inner, now) = self.up()?;
        inner.claims.prune(now);
        let key = (project.to_owned(), name.to_owned());
        if let Some(first) = inner.claims.get(&key, now) {
            return Ok(first.clone());
        }
        let expires = clock::add(now, ttl);
        inner.claims.insert(key, value.to_owned(), expires);
        Ok(value.to_owned())
    }

    async fn line(&self, project: &str, keys: &[String]) -> Result<Line, StoreError> {
        let (inner, now) = self.up()?;
        let part = inner.parts.get(&Partition::of_project(project));
        Ok(part
            .map(|part| Line {
                places: part.line.places(project, keys, now),
                newest_mark: part.state.newest_mark,
            })
            .unwrap_or_default())
    }

    async fn time(&self) -> Result<Timestamp, StoreError> {
        self.up().map(|(_, now)| now)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.up().map(|_| ())
    }
}

#[async_trait]
impl FoldStore for InMemoryJobStore {
    async fn fold(
        &self,
        batches: Vec<PartitionBatch>,
        now: Timestamp,
    ) -> Result<Vec<FoldOutcome>, StoreError> {
        let (mut inner, _) = self.room()?;
        for fact in batches.iter().flat_map(|b| &b.facts) {
            inner.list(fact, now);
            if let Some(note) = Note::of(fact, now) {
                let book = inner.books.entry(note.project.clone()).or_default();
                book.note(&note, now);
            }
        }
        let outcomes = batches
            .into_iter()
            .map(|batch| inner.part(batch.partition).fold(batch, now))
            .collect();
        if inner.losing > 0 {
            inner.losing -= 1;
            return Err(StoreError::Unavailable("its answer was lost".into()));
        }
        Ok(outcomes)
    }

    async fn void_position(
        &self,
        partition: Partition,
        expected: &Position,
    ) -> Result<(), StoreError> {
        let (mut inner, _) = self.up()?;
        let state = &mut inner.part(partition).state;
        if state.position.as_ref() == Some(expected) {
            state.position = None;
        }
        Ok(())
    }

    async fn ticks(&self, ticks: &[Tick]) -> Result<(), StoreError> {
        let (mut inner, now) = self.up()?;
        for tick in ticks {
            inner.part(Partition::of(tick.job)).tick(tick, now);
        }
        Ok(())
    }

    async fn add_lines(&self, chunks: &[LogChunk], late: Timestamp) -> Result<(), StoreError> {
        let (mut inner, now) = self.up()?;
        for chunk in chunks {
            let part = inner.part(Partition::of(chunk.job));
            part.add_lines(chunk, late, now);
        }
        Ok(())
    }

    async fn hold_partitions(
        &self,
        reader: &str,
        ttl: Duration,
    ) -> Result<Vec<Partition>, StoreError> {
        let (mut inner, now) = self.up()?;
        let expires = clock::add(now, ttl);
        inner.prune_leases(now);
        inner.readers.insert(reader.to_owned(), (), expires);
        let alive: Vec<_> = inner.readers.keys().cloned().collect();
        let holders: Vec<_> = Partition::all()
            .map(|p| inner.leases.get(&p, now).cloned())
            .collect();
        let Share { keep, give, take } = share(reader, &alive, &holders);
        for partition in give {
            inner.leases.remove(&partition);
        }
        let mut held: Vec<_> = keep.into_iter().chain(take).collect();
        held.sort_unstable();
        for partition in &held {
            let lease = reader.to_owned();
            inner.leases.insert(*partition, lease, expires);
        }
        Ok(held)
    }

    async fn release_partitions(&self, reader: &str) -> Result<(), StoreError> {
        let (mut inner, now) = self.up()?;
        inner.readers.remove(&reader.to_owned());
        for partition in Partition::all() {
            let own = inner.leases.get(&partition, now).map(String::as_str) == Some(reader);
            if own {
                inner.leases.remove(&partition);
            }
        }
        Ok(())
    }

    async fn overdue(
        &self,
        partition: Partition,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError> {
        let (mut inner, now) = self.up()?;
        let part = inner.part(partition);
        part.prune(now);
        Ok(part.overdue(milliseconds(at), limit))
    }

    async fn silent(
        &self,
        partition: Partition,
        after: Option<&HeardKey>,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<HeardKey>, StoreError> {
        let (mut inner, now) = self.up()?;
        let part = inner.part(partition);
        part.prune(now);
        let silent = part.silent(after, milliseconds(at)).take(limit);
        Ok(silent.cloned().collect())
    }

    async fn fullness(&self, partitions: &[Partition]) -> Result<Vec<Option<f64>>, StoreError> {
        let (mut inner, now) = self.up()?;
        inner.prune(now);
        let share = ratio(inner.records(), self.limit);
        Ok(vec![Some(share); partitions.len()])
    }

    async fn shorten(
        &self,
        partition: Partition,
        latest: Timestamp,
        at: Timestamp,
    ) -> Result<usize, StoreError> {
        let (mut inner, now) = self.up()?;
        let part = inner.part(partition);
        part.prune(now);
        Ok(part.shorten(milliseconds(latest), milliseconds(at)))
    }
}
