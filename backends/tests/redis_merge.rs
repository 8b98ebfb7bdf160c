//! The merge in Lua is the merge: random logs through both, records and histories compared.
#![cfg(feature = "redis")]
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod redis_support;

use proptest::{prelude::*, test_runner::TestRunner};
use redis_support::Redis;
use vmctl_core::{
    clock::{Clock as _, SystemClock},
    fact::JobFact,
    merge::{history_entry, merge, merge_history, merge_tick, shown},
    partition::Partition,
    record::{HistoryEntry, Record, Tick},
    store::{FoldOutcome, FoldStore, JobStore, PartitionBatch, Position},
    testing::store::{
        StoreFixture as _,
        sample::{Saying, Story, TYPES, entry_id},
    },
};

/// What a reader or a server does next with one job.
#[derive(Debug, Clone)]
enum Step {
    Fold(Vec<(Saying, u64, i64)>),
    Prewrite(Saying, i64),
    Tick(u32, u32, u32, u32),
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

fn step() -> impl Strategy<Value = Step> {
    // Few offsets, so that copies fall on the same place; some at the end of what a number holds.
    let offset = prop_oneof![9 => 0..200_u64, 1 => u64::MAX - 3..=u64::MAX];
    let read = prop::collection::vec((saying(), offset, 0..3_i64), 1..30);
    prop_oneof![
        4 => read.prop_map(Step::Fold),
        1 => (saying(), 0..3_i64).prop_map(|(said, shift)| Step::Prewrite(said, shift)),
        1 => (0..3_u32, 1..4_u32, 0..4_u32, 1..9_u32).prop_map(|(e, a, s, n)| Step::Tick(e, a, s, n)),
    ]
}

/// Both views of one job.
struct Pair<'a> {
    redis: &'a Redis,
    story: Story,
    name: String,
    record: Record,
    history: Vec<HistoryEntry>,
    position: Option<Position>,
}

impl Pair<'_> {
    fn fact(&self, said: &Saying, offset: Option<u64>, shift: i64) -> JobFact {
        let spec = self
            .story
            .spec(self.story.job(&self.name, 0), "demo", shift);
        let mut fact = self.story.fact(&spec, said, offset);
        // One end in a few is of a time that is over.
        if said.at % 7 == 0 && fact.state.is_terminal() {
            fact.expires = self.story.start;
        }
        fact
    }

    fn merge(&mut self, fact: &JobFact) -> bool {
        let now = self.story.at(500);
        let had = self.record.winner.is_some();
        let changed = merge(&mut self.record, fact, now);
        if had && self.record.winner.is_none() {
            self.history.clear();
        }
        if let Some(entry) = history_entry(fact).filter(|_| fact.expires > now) {
            merge_history(&mut self.history, entry);
        }
        changed
    }

    async fn take(&mut self, step: &Step) {
        let now = self.story.at(500);
        let job = self.story.job(&self.name, 0);
        match step {
            Step::Fold(said) => {
                let facts: Vec<_> = said
                    .iter()
                    .map(|(said, offset, shift)| self.fact(said, Some(*offset), *shift))
                    .collect();
                let offset = self.position.as_ref().map_or(0, |p| p.offset + 1);
                let position = Position {
                    offset,
                    id: entry_id(offset),
                };
                let batch = PartitionBatch {
                    partition: Partition::of(job),
                    expected: self.position.replace(position.clone()),
                    position,
                    facts: facts.clone(),
                    steps: Vec::new(),
                    marks: Vec::new(),
                    bad: Vec::new(),
                    first_time: None,
                };
                let changed = facts.iter().filter(|fact| self.merge(fact)).count();
                let outcome = self.redis.store.fold(vec![batch], now).await.unwrap();
                assert_eq!(outcome, [FoldOutcome::Written { changed }]);
            }
            Step::Prewrite(said, shift) => {
                let fact = JobFact {
                    confirmed: TYPES[said.what].is_submission(),
                    ..self.fact(said, None, *shift)
                };
                self.merge(&fact);
                self.redis.store.prewrite(&fact, now).await.unwrap();
            }
            Step::Tick(epoch, attempt, seq, number) => {
                let tick: Tick = self.story.tick(job, (*epoch, *attempt), *seq, *number);
                merge_tick(&mut self.record, &tick);
                self.redis.store.ticks(&[tick]).await.unwrap();
            }
        }
    }

    async fn compare(&self) {
        let job = self.story.job(&self.name, 0);
        let lookup = self.redis.store.get(job).await.unwrap();
        let decided = self.record.winner.is_some();
        assert_eq!(lookup.record, decided.then(|| self.record.clone()));
        assert_eq!(lookup.partition.position, self.position);
        let history = self.redis.store.story(job).await.unwrap().history;
        assert_eq!(history, shown(self.history.clone()));
        let partition = Partition::of(job);
        let far = self.story.at(10 * 3_600_000);
        let live = self.redis.store.overdue(partition, far, 10).await.unwrap();
        let expected = decided && !self.record.is_terminal();
        assert_eq!(live.contains(&job), expected);
    }
}

#[test]
fn t04_the_merge_in_lua_is_the_merge() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(redis) = runtime.block_on(Redis::set_up("merge")) else {
        return;
    };
    let story = Story {
        start: SystemClock.now(),
    };
    let case = std::cell::Cell::new(0);
    let outcome = TestRunner::default().run(&prop::collection::vec(step(), 1..12), |steps| {
        runtime.block_on(async {
            redis.clean().await;
            case.set(case.get() + 1);
            let mut pair = Pair {
                redis: &redis,
                story,
                name: format!("job-{}", case.get()),
                record: Record::default(),
                history: Vec::new(),
                position: None,
            };
            for step in &steps {
                pair.take(step).await;
                pair.compare().await;
            }
        });
        Ok(())
    });
    runtime.block_on(redis.tear_down());
    outcome.unwrap();
}
