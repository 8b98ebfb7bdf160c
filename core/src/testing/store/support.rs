//! Waiting, and the few things that every case needs.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use vmctl_api_types::JobId;

use super::{
    StoreFixture,
    sample::{Saying, Story, TYPES, entry_id},
};
use crate::{
    event::{EventType, JobSpec},
    fact::JobFact,
    merge::{history_entry, merge, merge_history, shown},
    partition::Partition,
    record::{HistoryEntry, Record},
    store::{FoldOutcome, FoldStore, Lookup, PartitionBatch, Position},
    testing::bus::patience,
};

/// The partition that most cases use.
pub fn here() -> Partition {
    Partition::new(17).unwrap()
}

/// Lets time pass until the condition holds, with patience.
pub async fn until<F: StoreFixture>(fixture: &F, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    const STEP: Duration = Duration::from_millis(20);
    let steps = patience().as_millis() / STEP.as_millis();
    for _ in 0..steps {
        if holds().await {
            return;
        }
        fixture.pass(STEP).await;
    }
    panic!("no {what} within {:?}", patience());
}

/// One job in one partition, and the story that it belongs to.
pub struct OneJob {
    pub store: Arc<dyn FoldStore>,
    pub story: Story,
    pub spec: JobSpec,
    pub now: Timestamp,
}

impl OneJob {
    /// Makes a job whose submission was a second ago.
    pub fn new(fixture: &impl StoreFixture) -> Self {
        let now = fixture.now();
        let start = now.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap();
        let story = Story { start };
        let spec = story.spec(story.job_in(here(), "job"), "demo", 0);
        Self {
            store: fixture.store(),
            story,
            spec,
            now,
        }
    }

    pub fn id(&self) -> JobId {
        self.spec.id
    }

    /// Says something about the job, in its first epoch and attempt.
    pub fn says(&self, event_type: EventType, seq: u32, offset: u64) -> JobFact {
        let said = said(event_type, 0, seq, offset);
        self.story.fact(&self.spec, &said, Some(offset))
    }

    /// Folds facts of this partition behind what it stands at.
    pub async fn fold(&self, facts: &[JobFact]) -> usize {
        let expected = self.position().await;
        let batch = batch(here(), expected, facts);
        let outcomes = self.store.fold(vec![batch], self.now).await.unwrap();
        match outcomes.as_slice() {
            [FoldOutcome::Written { changed }] => *changed,
            other => panic!("{other:?}"),
        }
    }

    pub async fn position(&self) -> Option<Position> {
        self.lookup().await.partition.position
    }

    pub async fn lookup(&self) -> Lookup {
        self.store.get(self.id()).await.unwrap()
    }

    pub async fn record(&self) -> Option<Record> {
        self.lookup().await.record
    }
}

/// Something said in some epoch, in its first attempt.
pub fn said(event_type: EventType, epoch: u32, seq: u32, offset: u64) -> Saying {
    Saying {
        what: TYPES.iter().position(|&t| t == event_type).unwrap(),
        epoch,
        attempt: 1,
        seq,
        at: i64::try_from(offset).unwrap(),
    }
}

/// A batch of facts that moves the partition to behind the last of them.
pub fn batch(
    partition: Partition,
    expected: Option<Position>,
    facts: &[JobFact],
) -> PartitionBatch {
    let at = expected.as_ref().map_or(0, |p| p.offset + 1);
    let last = facts.iter().filter_map(|f| f.offset).max().unwrap_or(at);
    PartitionBatch {
        partition,
        expected,
        position: position(last.max(at)),
        facts: facts.to_vec(),
        steps: Vec::new(),
        marks: Vec::new(),
        bad: Vec::new(),
        first_time: None,
    }
}

pub fn position(offset: u64) -> Position {
    Position {
        offset,
        id: entry_id(offset),
    }
}

/// What the pure merge makes of the facts.
pub fn merged(facts: &[JobFact], now: Timestamp) -> (Record, Vec<HistoryEntry>) {
    let (mut record, mut history) = (Record::default(), Vec::new());
    for fact in facts.iter().filter(|f| f.expires > now) {
        merge(&mut record, fact, now);
        if let Some(entry) = history_entry(fact) {
            merge_history(&mut history, entry);
        }
    }
    (record, shown(history))
}
