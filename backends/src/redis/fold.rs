//! What the reader asks of the view.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use redis::{Value, cmd};
use vmctl_core::{
    JobId, clock,
    fact::JobFact,
    lines::{self, LogChunk},
    partition::Partition,
    record::Tick,
    store::{
        FoldOutcome, FoldStore, HeardKey, IndexKey, MOST_DEAD, MOST_SHORTENED, PartitionBatch,
        Position, StoreError,
        share::{Share, share},
    },
    turn::{End, Moved, Step},
};

use super::{
    RedisStore, codec,
    error::corrupt,
    jobs, join,
    keys::{Keys, line, milliseconds},
    project,
    script::{ALIVE, Call, EARLIEST, FOLD, FULLNESS, INDEX, LEASE, LINES, SHORTEN, TICKS, VOID},
};

/// How many jobs of an order one call returns at most.
const EARLIEST_LIMIT: usize = 1000;

/// Whether a batch looks at the position.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Written only where it belongs; the position moves.
    Position,
    /// Written anyway; the position stays.
    Nothing,
}

#[async_trait]
impl FoldStore for RedisStore {
    async fn fold(
        &self,
        batches: Vec<PartitionBatch>,
        now: Timestamp,
    ) -> Result<Vec<FoldOutcome>, StoreError> {
        let start = tokio::time::Instant::now();
        let facts = batches.iter().flat_map(|b| &b.facts);
        let mut index = index_calls(&self.keys, facts.clone(), now);
        index.extend(project::note_calls(&self.keys, facts, now));
        let calls = batches
            .iter()
            .map(|batch| fold_call(&self.keys, batch, Check::Position, now))
            .collect::<Result<Vec<_>, _>>()?;
        let deadline = self.config.fold_timeout;
        self.send_within("fold_index", deadline, &index).await?;
        let left = deadline.saturating_sub(start.elapsed());
        let outcomes = self.send_within("fold", left, &calls).await?;
        outcomes.into_iter().map(codec::outcome).collect()
    }

    async fn void_position(
        &self,
        partition: Partition,
        expected: &Position,
    ) -> Result<(), StoreError> {
        let call = VOID.call(vec![self.keys.position(partition)]);
        let call = call
            .with(expected.offset.to_string())
            .with(expected.id.as_str());
        self.one("void_position", call).await.map(|_| ())
    }

    async fn ticks(&self, ticks: &[Tick]) -> Result<(), StoreError> {
        let mut partitions: BTreeMap<Partition, Vec<&Tick>> = BTreeMap::new();
        for tick in ticks {
            let partition = Partition::of(tick.job);
            partitions.entry(partition).or_default().push(tick);
        }
        let mut calls = Vec::with_capacity(partitions.len());
        for ticks in partitions.values() {
            let jobs = ticks.iter().map(|tick| self.keys.job(tick.job));
            let mut call = TICKS.call(jobs.collect());
            for tick in ticks {
                call.arg(join::run(tick))
                    .arg(join::tick(tick))
                    .arg(codec::json(Some(*tick))?);
            }
            calls.push(call);
        }
        self.send("ticks", &calls).await.map(|_| ())
    }

    async fn add_lines(&self, chunks: &[LogChunk], late: Timestamp) -> Result<(), StoreError> {
        let mut partitions: BTreeMap<Partition, Vec<&LogChunk>> = BTreeMap::new();
        for chunk in chunks {
            let partition = Partition::of(chunk.job);
            partitions.entry(partition).or_default().push(chunk);
        }
        let mut calls = Vec::with_capacity(partitions.len());
        for chunks in partitions.values() {
            let keys = chunks.iter().map(|chunk| chunk.job);
            let keys = keys.flat_map(|job| [self.keys.job(job), self.keys.lines(job)]);
            let mut call = LINES.call(keys.collect());
            call.arg(milliseconds(late).to_string())
                .arg(lines::MOST.to_string())
                .arg(lines::SLACK.to_string())
                .arg(lines::BYTES.to_string());
            for chunk in chunks {
                call.arg(join::confirmed(chunk.epoch))
                    .arg(chunk.attempt.to_string())
                    .arg(chunk.lines.len().to_string());
                for line in &chunk.lines {
                    call.arg(join::line(line.id)).arg(codec::json(Some(line))?);
                }
            }
            calls.push(call);
        }
        self.send("lines", &calls).await.map(|_| ())
    }

    async fn hold_partitions(
        &self,
        reader: &str,
        ttl: Duration,
    ) -> Result<Vec<Partition>, StoreError> {
        let note = ALIVE.call(vec![self.keys.readers()]);
        let note = note.with(reader).with(jobs::milliseconds(ttl));
        let alive = codec::texts(self.one("readers", note).await?)?;
        let holders = self.holders().await?;
        let Share { keep, give, take } = share(reader, &alive, &holders);
        let wanted = keep.iter().chain(&take).copied();
        let calls: Vec<_> = wanted
            .clone()
            .map(|partition| self.lease(partition, reader, &jobs::milliseconds(ttl)))
            .chain(give.iter().map(|&p| self.lease(p, reader, "0")))
            .collect();
        let answers = self.send("leases", &calls).await?;
        let mut held = Vec::with_capacity(calls.len());
        for (partition, answer) in wanted.zip(answers) {
            if codec::number(answer)? == 1 {
                held.push(partition);
            }
        }
        held.sort_unstable();
        Ok(held)
    }

    async fn release_partitions(&self, reader: &str) -> Result<(), StoreError> {
        let mut forget = cmd("ZREM");
        forget.arg(self.keys.readers()).arg(reader);
        let leases = Partition::all().map(|p| self.lease(p, reader, "0"));
        let calls: Vec<_> = leases.chain([Call::Plain(forget)]).collect();
        self.send("release", &calls).await.map(|_| ())
    }

    async fn overdue(
        &self,
        partition: Partition,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError> {
        let call = self.earliest(self.keys.live(partition), partition, at, limit);
        let answer = self.one("overdue", call.with("").with("")).await?;
        codec::order(answer, |_, id| id)
    }

    async fn silent(
        &self,
        partition: Partition,
        after: Option<&HeardKey>,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<HeardKey>, StoreError> {
        let call = self.earliest(self.keys.heard(partition), partition, at, limit);
        let time = after.map(|key| milliseconds(key.heard_at).to_string());
        let id = after.map(|key| key.id.to_string());
        let call = call
            .with(time.unwrap_or_default())
            .with(id.unwrap_or_default());
        let answer = self.one("silent", call).await?;
        codec::order(answer, |heard_at, id| HeardKey { heard_at, id })
    }

    async fn fullness(&self, partitions: &[Partition]) -> Result<Vec<Option<f64>>, StoreError> {
        let ask = |partition: &Partition| FULLNESS.call(vec![self.keys.position(*partition)]);
        let calls: Vec<_> = partitions.iter().map(ask).collect();
        let answers = self.send("fullness", &calls).await?;
        answers.into_iter().map(codec::fullness).collect()
    }

    async fn shorten(
        &self,
        partition: Partition,
        latest: Timestamp,
        at: Timestamp,
    ) -> Result<usize, StoreError> {
        let keys = vec![
            self.keys.ended_jobs(partition),
            self.keys.position(partition),
        ];
        let mut call = SHORTEN.call(keys);
        for instant in [latest, at] {
            call.arg(milliseconds(instant).to_string());
        }
        call.arg(MOST_SHORTENED.to_string())
            .arg(self.keys.jobs(partition))
            .arg(self.keys.histories(partition))
            .arg(self.keys.all_lines(partition));
        let taken = codec::number(self.one("shorten", call).await?)?;
        usize::try_from(taken).map_err(corrupt)
    }
}

impl RedisStore {
    fn earliest(&self, order: String, partition: Partition, at: Timestamp, limit: usize) -> Call {
        EARLIEST
            .call(vec![order])
            .with(milliseconds(at).to_string())
            .with(limit.min(EARLIEST_LIMIT).to_string())
            .with(self.keys.jobs(partition))
    }

    fn lease(&self, partition: Partition, reader: &str, ttl: &str) -> Call {
        let call = LEASE.call(vec![self.keys.lease(partition)]);
        call.with(reader).with(ttl)
    }

    /// Who holds each partition, by number.
    async fn holders(&self) -> Result<Vec<Option<String>>, StoreError> {
        let read = |partition| {
            let mut read = cmd("GET");
            read.arg(self.keys.lease(partition));
            Call::Plain(read)
        };
        let calls: Vec<_> = Partition::all().map(read).collect();
        let holders = self.send("holders", &calls).await?.into_iter();
        let holder = |value| match value {
            Value::Nil => Ok(None),
            other => codec::text(other).map(Some),
        };
        holders.map(holder).collect()
    }
}

/// Puts jobs of facts into the indexes of their projects, one call for each project.
pub fn index_calls<'a>(
    keys: &Keys,
    facts: impl IntoIterator<Item = &'a JobFact>,
    now: Timestamp,
) -> Vec<Call> {
    let mut projects: BTreeMap<&str, BTreeSet<(String, i64)>> = BTreeMap::new();
    for fact in facts {
        let Some(spec) = fact.spec.as_ref().filter(|_| fact.expires > now) else {
            continue;
        };
        let key = IndexKey {
            created_at: spec.created_at,
            id: spec.id,
        };
        let lines = projects.entry(&spec.auth.project_id).or_default();
        lines.insert((line(&key), milliseconds(fact.expires)));
    }
    let call = |(project, lines)| {
        let keys = vec![keys.index(project), keys.index_over(project)];
        let mut call = INDEX.call(keys).with(milliseconds(now).to_string());
        for (line, expires) in lines {
            call.arg(line).arg(i64::to_string(&expires));
        }
        call
    };
    projects.into_iter().map(call).collect()
}

/// Folds a batch, or writes its facts ahead.
pub fn fold_call(
    keys: &Keys,
    batch: &PartitionBatch,
    check: Check,
    now: Timestamp,
) -> Result<Call, StoreError> {
    let partition = batch.partition;
    let facts: Vec<_> = batch
        .facts
        .iter()
        .filter(|fact| codec::counts(fact, now))
        .collect();
    let own = [
        keys.position(partition),
        keys.live(partition),
        keys.bad(partition),
        keys.dead(partition),
        keys.past(partition),
        keys.heard(partition),
        keys.ended_jobs(partition),
    ];
    let line = |step: &Step, key: &String| keys.line(&step.project, key);
    let lines: BTreeSet<_> = batch
        .steps
        .iter()
        .flat_map(|step| step.keys.iter().map(move |key| line(step, key)))
        .collect();
    let lines: Vec<_> = lines.into_iter().collect();
    let jobs = facts
        .iter()
        .map(|fact| fact.job)
        .flat_map(|job| [keys.job(job), keys.history(job), keys.lines(job)]);
    let named = own.into_iter().chain(lines.iter().cloned()).chain(jobs);
    let mut call = FOLD.call(named.collect());
    call.arg(MOST_DEAD.to_string());
    let expected = batch.expected.as_ref();
    call.arg(if check == Check::Position { "1" } else { "0" })
        .arg(expected.map(|p| p.offset.to_string()).unwrap_or_default())
        .arg(expected.map(|p| p.id.as_str()).unwrap_or_default())
        .arg(batch.position.offset.to_string())
        .arg(batch.position.id.as_str());
    let first = batch.first_time.map(|at| milliseconds(at).to_string());
    call.arg(first.unwrap_or_default())
        // Names the life of a partition that has none yet.
        .arg(format!("{:016x}", rand::random::<u64>()))
        .arg(milliseconds(now).to_string())
        .arg(batch.marks.len().to_string())
        .arg(milliseconds(clock::add(now, clock::DIFFERENCE)).to_string());
    for (server, time) in &batch.marks {
        call.arg(server.as_str())
            .arg(milliseconds(*time).to_string());
    }
    call.arg(batch.bad.len().to_string());
    for bad in &batch.bad {
        call.arg(codec::json(Some(bad))?);
    }
    call.arg(lines.len().to_string())
        .arg(batch.steps.len().to_string());
    for step in &batch.steps {
        let (what, since) = match step.moved {
            Moved::In { offset } => ("i", offset.to_string()),
            Moved::On => ("n", String::new()),
            Moved::Begun => ("b", String::new()),
            Moved::Out(End::Any) => ("o", String::new()),
            Moved::Out(End::Worker) => ("w", String::new()),
            Moved::Out(End::NotStarted) => ("s", String::new()),
        };
        call.arg(what)
            .arg(step.run.to_string())
            .arg(since)
            .arg(milliseconds(step.expires).to_string())
            .arg(step.keys.len().to_string());
        for key in &step.keys {
            let place = lines.partition_point(|name| *name < line(step, key));
            // Scripts count from 1.
            call.arg((place + 1).to_string());
        }
    }
    for fact in facts {
        codec::push_fact(&mut call, fact, now)?;
    }
    Ok(call)
}
