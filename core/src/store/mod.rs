//! The view of jobs, as ports: [`JobStore`] for those who ask, [`FoldStore`] for the reader.
//!
//! The view is not the truth: it may be empty at any time and is rebuilt from the log while it
//! serves. Nothing here is needed to accept, run or end a job.

pub mod project;
pub mod share;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vmctl_api_types::{JobId, LogLine};

use crate::{
    bus::BoxError,
    clock::Clock,
    fact::JobFact,
    lines::LogChunk,
    partition::Partition,
    record::{HistoryEntry, Record, Tick},
    turn::{Line, Step},
};

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or did not answer in time.
    #[error("the job store is not available")]
    Unavailable(#[source] BoxError),
    /// It is full and takes no writes.
    #[error("the job store is full")]
    Full(#[source] BoxError),
    /// It holds something that this version cannot read.
    #[error("the job store holds something unreadable: {0}")]
    Corrupt(String),
}

/// Where a partition stands in the log: the last entry that is in it.
///
/// Offsets have gaps and start again in a recreated stream, so an offset alone proves nothing; the
/// id of the entry there does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The entry's offset.
    pub offset: u64,
    /// The entry's message id, empty if it had none.
    pub id: String,
}

/// What a partition knows about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionState {
    /// The last entry folded in; `None` means that the next one is the first of the log.
    pub position: Option<Position>,
    /// The newest mark passed, by the clock of whoever published it.
    pub newest_mark: Option<Timestamp>,
    /// The newest mark of each server, for the servers seen in the last hour.
    pub marks: BTreeMap<String, Timestamp>,
    /// The time of the oldest entry that it was built from.
    pub oldest: Option<Timestamp>,
    /// The time of the first entry that it has read without a gap since. What a record from before it
    /// lacks may have been in entries that nobody has read.
    pub since: Option<Timestamp>,
    /// Jobs with ids that were drawn until then may have been forgotten before their time (see
    /// [`FoldStore::shorten`]).
    pub shortened: Option<Timestamp>,
    /// Which life of the partition this is. It differs from what was read before if the partition
    /// may have lost something in between: it was flushed, or another server answers for it.
    pub life: Option<String>,
}

/// A record, and how far its partition was when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// The record; `None` when nothing has decided a state yet.
    pub record: Option<Record>,
    /// The partition.
    pub partition: PartitionState,
}

/// A record with its partition and its history, all of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// The record and the partition.
    pub lookup: Lookup,
    /// Oldest first, each message once, at its first place in the log; empty when there is none.
    pub history: Vec<HistoryEntry>,
}

/// One line of a project's index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexKey {
    /// When the job was submitted.
    pub created_at: Timestamp,
    /// The job.
    pub id: JobId,
}

/// How many dead jobs of a partition are known: the newest ones.
pub const MOST_DEAD: usize = 2_000;

/// One line of the list of dead jobs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadKey {
    /// When the job failed, to the millisecond.
    pub died_at: Timestamp,
    /// The job.
    pub id: JobId,
}

/// One line of the order of live jobs by when they were last heard of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeardKey {
    /// The time of the newest message about the job, to the millisecond.
    pub heard_at: Timestamp,
    /// The job.
    pub id: JobId,
}

/// Most ended records that one call of [`FoldStore::shorten`] takes.
pub const MOST_SHORTENED: usize = 1_000;

/// Returns how many of so many ended records one call of [`FoldStore::shorten`] takes at most.
pub fn shortened_of(ended: usize) -> usize {
    ended.div_ceil(8).min(MOST_SHORTENED)
}

/// Names one run of one command, so that a copy of it does not run beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunKey {
    /// The job.
    pub job: JobId,
    /// The run.
    pub epoch: u32,
    /// The try inside the run.
    pub attempt: u32,
    /// The command.
    pub seq: u32,
}

/// What servers and workers ask of the view.
#[async_trait]
pub trait JobStore: project::ProjectStore {
    /// Merges one fact ahead of the log (see [`crate::merge`]), so that a caller reads its own
    /// write, and puts the job into its project's index. Repeating it changes nothing. The record
    /// expires as the fact says.
    async fn prewrite(&self, fact: &JobFact, now: Timestamp) -> Result<(), StoreError>;

    /// Reads a record and its partition in one step.
    async fn get(&self, id: JobId) -> Result<Lookup, StoreError>;

    /// Reads many records, in the order of `ids`.
    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Lookup>, StoreError>;

    /// Reads a record, its partition and its history in one step: the history has every message up to
    /// the partition's position that it keeps, and the record says what they come to.
    async fn story(&self, id: JobId) -> Result<Story, StoreError>;

    /// Reads the newest lines of a job's log, oldest first, at most [`crate::lines::MOST`]. Empty when
    /// there is none, also when there is no such job.
    async fn lines(&self, id: JobId) -> Result<Vec<LogLine>, StoreError>;

    /// Reads at most `limit` lines of a project's index, newest first, starting after `after`.
    /// Lines may name jobs that have expired, and name a job twice when copies of its submission were
    /// made at two times: the record says which is right. Times are to the millisecond.
    async fn list(
        &self,
        project: &str,
        after: Option<&IndexKey>,
        limit: usize,
    ) -> Result<Vec<IndexKey>, StoreError>;

    /// As [`JobStore::list`], oldest first.
    async fn list_oldest(
        &self,
        project: &str,
        after: Option<&IndexKey>,
        limit: usize,
    ) -> Result<Vec<IndexKey>, StoreError>;

    /// Removes lines from a project's index.
    async fn unlist(&self, project: &str, keys: &[IndexKey]) -> Result<(), StoreError>;

    /// Reads at most `limit` dead jobs (see [`crate::record::Winner::is_dead`]) of all projects, newest
    /// first, starting after `after`. A job that runs again, or whose record is forgotten, is not one of
    /// them. Of each partition the newest [`MOST_DEAD`] are known.
    async fn dead(&self, after: Option<&DeadKey>, limit: usize)
    -> Result<Vec<DeadKey>, StoreError>;

    /// Reads all partitions, by number. Marks and `oldest` are to the millisecond.
    async fn partitions(&self) -> Result<Vec<PartitionState>, StoreError>;

    /// Takes a run for `worker` unless somebody has it; true when it was taken now. Forgotten after
    /// `ttl`. Advisory: a flushed store has forgotten it.
    async fn claim_run(
        &self,
        run: &RunKey,
        worker: &str,
        ttl: Duration,
    ) -> Result<bool, StoreError>;

    /// Remembers `value` under `(project, name)` for `ttl` unless there is a value already; returns
    /// the value that is there now. Advisory, as above.
    async fn claim(
        &self,
        project: &str,
        name: &str,
        value: &str,
        ttl: Duration,
    ) -> Result<String, StoreError>;

    /// Reads who is at these keys of a project, in one step: what some beginning of the log says (see
    /// [`crate::turn`]).
    async fn line(&self, project: &str, keys: &[String]) -> Result<Line, StoreError>;

    /// Says whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Tells the time by the store's own clock: one that all processes share.
    async fn time(&self) -> Result<Timestamp, StoreError>;
}

/// Says how far a clock is ahead of the store's; less than zero when it is behind.
///
/// # Errors
///
/// When the store does not answer.
pub async fn clock_ahead(
    store: &(impl JobStore + ?Sized),
    clock: &dyn Clock,
) -> Result<SignedDuration, StoreError> {
    let asked = clock.now();
    let there = store.time().await?;
    // It was asked between two looks at the clock here; about in the middle.
    let middle = asked.duration_since(there) + clock.now().duration_since(there);
    Ok(middle / 2)
}

/// One partition's share of a batch of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionBatch {
    /// The partition.
    pub partition: Partition,
    /// Where the partition must stand for the batch to be written.
    pub expected: Option<Position>,
    /// Where it stands afterwards.
    pub position: Position,
    /// Facts of its jobs, in log order.
    pub facts: Vec<JobFact>,
    /// What facts say about the lines of its projects, in log order.
    pub steps: Vec<Step>,
    /// Marks passed: server and time.
    pub marks: Vec<(String, Timestamp)>,
    /// Entries that could not be merged: offset and reason. The last 100 are kept.
    pub bad: Vec<(u64, String)>,
    /// The time of the first entry of the batch.
    pub first_time: Option<Timestamp>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoldOutcome {
    /// Written, with how many facts changed a record.
    Written {
        /// Facts that changed a record.
        changed: usize,
    },
    /// Not written: the partition stands elsewhere.
    Moved(Option<Position>),
}

/// What the reader asks of the view.
#[async_trait]
pub trait FoldStore: JobStore {
    /// Writes each batch, if its partition stands where the batch expects it, together with the new
    /// position: both or neither. Merges each fact into its record and its history, keeps the
    /// set of live jobs, moves the marks, takes the steps of runs in their lines. A mark that is ahead of
    /// `now` (see [`crate::clock::is_ahead`]) is forgotten, also one that was there before. The project
    /// index and its standing (see [`project`]) are
    /// written first.
    ///
    /// Batches are independent of each other; outcomes come in the same order.
    async fn fold(
        &self,
        batches: Vec<PartitionBatch>,
        now: Timestamp,
    ) -> Result<Vec<FoldOutcome>, StoreError>;

    /// Forgets a partition's position, if it is still `expected`: the next entry that it takes is
    /// the first of the log. Records stay.
    async fn void_position(
        &self,
        partition: Partition,
        expected: &Position,
    ) -> Result<(), StoreError>;

    /// Merges progress into the records that are live in the same epoch and attempt.
    async fn ticks(&self, ticks: &[Tick]) -> Result<(), StoreError>;

    /// Adds lines to the logs of jobs, each line once, and keeps the newest ones (see
    /// [`crate::lines`]). They are forgotten with the record.
    ///
    /// A live record takes lines of its epoch, up to the attempt after its own: lines may be faster
    /// than the event that opens the attempt. A record that has ended takes lines of its epoch if it
    /// is to be forgotten at `late` or later, that is, if it has ended just now: lines and the end
    /// of a job come by different ways. Other lines are dropped.
    async fn add_lines(&self, chunks: &[LogChunk], late: Timestamp) -> Result<(), StoreError>;

    /// Takes, renews and gives back partitions so that the readers alive share them evenly, and
    /// returns those that `reader` holds for the next `ttl`. Called every `ttl / 3`. A partition of
    /// a reader that has stopped calling is free after `ttl`.
    async fn hold_partitions(
        &self,
        reader: &str,
        ttl: Duration,
    ) -> Result<Vec<Partition>, StoreError>;

    /// Gives everything back.
    async fn release_partitions(&self, reader: &str) -> Result<(), StoreError>;

    /// Returns at most `limit` live jobs of a partition whose next limit is at or before `at`,
    /// earliest first: the instant by which a worker must have started it, while none has, and the
    /// deadline (see [`Record::next_limit`]).
    async fn overdue(
        &self,
        partition: Partition,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError>;

    /// Returns at most `limit` live jobs of a partition that were last heard of at or before `at`,
    /// longest ago first, starting after `after`. A message counts with its own time, and not later
    /// than the fold's; whatever the log says of a live job counts, also what changes nothing.
    async fn silent(
        &self,
        partition: Partition,
        after: Option<&HeardKey>,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<HeardKey>, StoreError>;

    /// Says how full the store is where each of these partitions is: at 1.0 it takes no writes. `None`
    /// where it has no limit.
    async fn fullness(&self, partitions: &[Partition]) -> Result<Vec<Option<f64>>, StoreError>;

    /// Has ended records of a partition forgotten at `at`: those that would be forgotten first, of those
    /// that would be at or before `latest`; an eighth of all ended ones, at most [`MOST_SHORTENED`]. From
    /// then on they say so (see [`crate::record::Record::shortened`]), and so does the partition. Live
    /// records stay, and a job that runs again has its whole time. Works in a full store. Returns how many.
    async fn shorten(
        &self,
        partition: Partition,
        latest: Timestamp,
        at: Timestamp,
    ) -> Result<usize, StoreError>;
}

/// An id that no entry has; for tests and for marks without a message id.
pub fn no_id() -> String {
    Uuid::nil().to_string()
}
