//! The position protocol under everything that may happen to view, log and reader, in any order: the
//! view is flushed or replaced by a late replica, the log is recreated or forgets its beginning, the
//! reader is stopped or killed. Whenever it is quiet again, the view has all that the log has, and
//! nothing that was never said.
//!
//! A failure prints the steps, and a seed that is tried first from then on.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::support::{Running, World, until};
use jiff::SignedDuration;
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use uuid::Uuid;
use vmctl_core::{
    JobId, JobState,
    bus::{LogEntry, LogStart},
    clock::{Clock as _, ManualClock, from_unix_ms},
    event::{EventType, JobSpec},
    fact::{Fact, Retention, interpret},
    memory::{bus::Limits, store::InMemoryJobStore},
    merge::{decides_state, merge},
    store::JobStore as _,
};

/// So small that a run of the test passes its end.
const LOG: Limits = Limits {
    log_entries: 48,
    log_bytes: 256 << 20,
    log_segment_entries: 6,
    queued_bytes: 512 << 20,
    confirm_timeout: Duration::from_secs(5),
};

#[derive(Debug, Clone)]
enum Step {
    Submit,
    /// Something happens to one of the jobs.
    Say(prop::sample::Index, Saying),
    Mark,
    /// One whose time is so many seconds from now.
    WrongMark(i64),
    Flush,
    /// A replica is in step with the view, and then is not any more.
    Replicate,
    FailOver,
    Stop,
    Kill,
    Recreate,
    /// The reader has time.
    Rest,
}

#[derive(Debug, Clone, Copy)]
enum Saying {
    Started,
    Cancel,
    Succeeded,
    Failed,
}

fn step() -> impl Strategy<Value = Step> {
    use Saying::{Cancel, Failed, Started, Succeeded};
    let saying = prop::sample::select(vec![Started, Cancel, Succeeded, Failed]);
    prop_oneof![
        4 => Just(Step::Submit),
        6 => (any::<prop::sample::Index>(), saying).prop_map(|(job, what)| Step::Say(job, what)),
        3 => Just(Step::Mark),
        1 => prop::sample::select(vec![-3_600, -30, 30, 7_200, 30_000_000_000]).prop_map(Step::WrongMark),
        2 => Just(Step::Flush),
        2 => Just(Step::Replicate),
        2 => Just(Step::FailOver),
        1 => Just(Step::Stop),
        1 => Just(Step::Kill),
        1 => Just(Step::Recreate),
        4 => Just(Step::Rest),
    ]
}

/// One run of the model.
struct Run {
    world: World,
    reader: Option<Running>,
    readers: usize,
    replica: Option<InMemoryJobStore>,
    jobs: Vec<JobSpec>,
    begun: BTreeSet<JobId>,
    /// Every message that was ever published about a job.
    said: BTreeMap<JobId, BTreeSet<Uuid>>,
}

impl Run {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(from_unix_ms(1_795_000_000_000)));
        let store = InMemoryJobStore::new(clock.clone());
        let mut run = Self {
            world: World::on(clock, store, LOG).await,
            reader: None,
            readers: 0,
            replica: None,
            jobs: Vec::new(),
            begun: BTreeSet::new(),
            said: BTreeMap::new(),
        };
        run.start();
        run
    }

    fn start(&mut self) {
        self.readers += 1;
        self.reader = Some(self.world.start(&format!("r{}", self.readers)));
    }

    async fn say(&mut self, job: &JobSpec, event_type: EventType, state: JobState) {
        let id = self.world.say(job, event_type, state).await;
        self.said.entry(job.id).or_default().insert(id);
    }

    async fn take(&mut self, step: &Step) {
        self.world.clock.advance(Duration::from_millis(300));
        match step {
            Step::Submit => {
                let job = self.world.job();
                self.say(&job, EventType::Submitted, JobState::Queued).await;
                self.jobs.push(job);
            }
            Step::Say(index, saying) => {
                if self.jobs.is_empty() {
                    return;
                }
                let job = index.get(&self.jobs).clone();
                let (event_type, state) = match saying {
                    Saying::Started => (EventType::Started, JobState::Running),
                    Saying::Cancel => (EventType::CancelRequested, JobState::Queued),
                    Saying::Succeeded => (EventType::Succeeded, JobState::Succeeded),
                    Saying::Failed => (EventType::Failed, JobState::Failed),
                };
                // Nobody ends a job without having started it.
                if matches!(saying, Saying::Succeeded | Saying::Failed) && self.begun.insert(job.id)
                {
                    self.say(&job, EventType::Started, JobState::Running).await;
                }
                if matches!(saying, Saying::Started) {
                    self.begun.insert(job.id);
                }
                self.say(&job, event_type, state).await;
            }
            Step::Mark => {
                self.world.mark().await;
            }
            Step::WrongMark(seconds) => {
                let at = self.world.clock.now() + SignedDuration::from_secs(*seconds);
                self.world.mark_of("wrong", at).await;
            }
            Step::Flush => self.world.store.flush(),
            Step::Replicate => self.replica = Some(self.world.store.replica()),
            Step::FailOver => {
                if let Some(replica) = self.replica.take() {
                    self.world.store.fail_over(&replica);
                }
            }
            Step::Stop => {
                if let Some(reader) = self.reader.take() {
                    reader.stop().await;
                }
                self.start();
            }
            Step::Kill => self.kill(),
            Step::Recreate => {
                self.kill();
                let (clock, store) = (self.world.clock.clone(), self.world.store.clone());
                if let Some(reader) = self.reader.take() {
                    reader.kill();
                }
                self.world = World::on(clock, store, LOG).await;
                self.start();
            }
            Step::Rest => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }

    /// Its partitions are free when its leases are over, by the store's clock.
    fn kill(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.kill();
        }
        self.world.clock.advance(Duration::from_secs(10));
        self.start();
    }

    /// Everything that the log has kept.
    async fn log(&self) -> Vec<LogEntry> {
        let mut reader = self.world.bus.log.read(LogStart::First).await.unwrap();
        let mut all = Vec::new();
        loop {
            let batch = reader.next_batch(1000);
            match tokio::time::timeout(Duration::from_millis(1), batch).await {
                Ok(entries) => all.extend(entries.unwrap()),
                Err(_) => return all,
            }
        }
    }

    async fn ends_well(self) {
        // A view that was given back an old lease waits until that is over.
        self.world.clock.advance(Duration::from_secs(10));
        let mark = self.world.mark().await;
        until("every partition has passed the mark", async || {
            let states = self.world.store.partitions().await.unwrap();
            self.world.clock.advance(Duration::from_millis(5));
            states
                .iter()
                .all(|state| state.marks.get("s1") == Some(&mark))
        })
        .await;
        let log = self.log().await;
        let end = log.last().map(|entry| entry.offset);
        for state in self.world.store.partitions().await.unwrap() {
            assert_eq!(state.position.map(|p| p.offset), end);
        }
        let now = self.world.clock.now();
        for entry in &log {
            let Fact::Job(fact) = interpret(entry, Retention::default()) else {
                continue;
            };
            let Some(record) = self.world.record(fact.job).await else {
                // A cancel alone decides nothing: what it was said of is not in the log any more.
                let decides = decides_state(&fact);
                assert!(!decides, "{} is not there", fact.job);
                continue;
            };
            let mut again = record.clone();
            merge(&mut again, &fact, now);
            assert_eq!(again, record, "entry {} is not in the view", entry.offset);
            let winner = record.winner.as_ref().unwrap().id;
            assert!(self.said[&fact.job].contains(&winner), "never said");
        }
        self.reader.unwrap().stop().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(60)
    })]

    #[test]
    fn the_view_has_what_the_log_has(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in &steps {
                run.take(step).await;
            }
            run.ends_well().await;
        });
    }
}
