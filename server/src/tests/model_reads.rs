//! No client is told less than before, whichever of two servers it asks, while the view is flushed,
//! replaced by a late replica, or not read into.
//!
//! A failure prints the steps, and a seed that is tried first from then on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::{prelude::*, test_runner::FileFailurePersistence};
use vmctl_core::{
    JobState,
    event::{Event, EventType},
    memory::store::InMemoryJobStore,
};

use super::{
    answering::second,
    support::{MEMBER, Suite, another, eventually, next},
};
use crate::{app::App, jobs::view, server};

#[derive(Debug, Clone)]
enum Step {
    /// With a key, an id says nothing of its time.
    Submit {
        keyed: bool,
    },
    /// The next thing happens to one of the jobs.
    Happen(prop::sample::Index),
    /// Asks one of the servers for one of the jobs.
    Ask {
        job: prop::sample::Index,
        second: bool,
    },
    /// A mark of nobody, whose time is so many seconds from now.
    WrongMark(i64),
    Flush,
    /// A replica is in step with the view, and then is not any more.
    Replicate,
    FailOver,
    Read(bool),
    /// Milliseconds.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let job = any::<prop::sample::Index>;
    prop_oneof![
        3 => any::<bool>().prop_map(|keyed| Step::Submit { keyed }),
        5 => job().prop_map(Step::Happen),
        10 => (job(), any::<bool>()).prop_map(|(job, second)| Step::Ask { job, second }),
        2 => prop::sample::select(vec![-3_600, -30, 9, 30, 7_200, 30_000_000_000])
            .prop_map(Step::WrongMark),
        1 => Just(Step::Flush),
        3 => Just(Step::Replicate),
        3 => Just(Step::FailOver),
        3 => any::<bool>().prop_map(Step::Read),
        4 => (1..1_500_u64).prop_map(Step::Pass),
        1 => Just(Step::Pass(70_000)),
    ]
}

/// How far a job is.
fn rank(state: JobState) -> u8 {
    match state {
        JobState::Queued => 1,
        JobState::Running => 2,
        _ => 3,
    }
}

struct Job {
    command: Event,
    happened: u8,
    told: u8,
}

/// One run of the model.
struct Run {
    suite: Suite,
    second: Arc<App>,
    replica: Option<InMemoryJobStore>,
    jobs: BTreeMap<usize, Job>,
}

impl Run {
    async fn submit(&mut self, keyed: bool) {
        let mut work = self.suite.work("vm.create").await;
        let mut request = self.suite.request("POST", "/v1/jobs").token(MEMBER);
        if keyed {
            let key = format!("key-{}", self.jobs.len());
            request = request.header("Idempotency-Key", key);
        }
        let reply = request.json(&another()).send().await;
        assert_eq!(reply.status, 202, "{reply:?}");
        let delivery = next(&mut work).await;
        let command = Event::parse(&delivery.message.body).unwrap();
        delivery.ack().await.unwrap();
        let job = Job {
            command,
            happened: 1,
            told: 1,
        };
        self.jobs.insert(self.jobs.len(), job);
    }

    async fn happen(&mut self, number: usize) {
        let Some(job) = self.jobs.get_mut(&number).filter(|job| job.happened < 3) else {
            return;
        };
        job.happened += 1;
        let (event_type, state) = match job.happened {
            2 => (EventType::Started, JobState::Running),
            _ => (EventType::Succeeded, JobState::Succeeded),
        };
        let command = job.command.clone();
        let change = |event: &mut Event| event.data.state = state;
        self.suite.say(&command, event_type, change).await;
    }

    /// What a server says of a job is never less than what any said before.
    async fn ask(&mut self, number: usize, second: bool) -> Option<u8> {
        let job = self.jobs.get_mut(&number)?;
        let app = if second {
            &self.second
        } else {
            &self.suite.app
        };
        match view::find_of(app, "demo", job.command.data.job.id).await {
            Ok(record) => {
                let now = rank(record.state().unwrap());
                assert!(now >= job.told, "job {number}: {} became {now}", job.told);
                assert!(now <= job.happened, "job {number}: {now} is not so");
                job.told = now;
                Some(now)
            }
            Err(error) => {
                let problem = &error.problem().problem_type;
                assert_eq!(problem, "/problems/state-rebuilding", "job {number}");
                None
            }
        }
    }

    async fn take(&mut self, step: &Step) {
        let pick = |index: &prop::sample::Index| index.index(self.jobs.len().max(1));
        match step {
            Step::Submit { keyed } => self.submit(*keyed).await,
            Step::Happen(job) => self.happen(pick(job)).await,
            Step::Ask { job, second } => {
                self.ask(pick(job), *second).await;
            }
            Step::WrongMark(seconds) => self.suite.mark("wrong", *seconds).await,
            Step::Flush => self.suite.store.flush(),
            Step::Replicate => self.replica = Some(self.suite.store.replica()),
            Step::FailOver => {
                if let Some(replica) = self.replica.take() {
                    self.suite.store.fail_over(&replica);
                }
            }
            Step::Read(reading) => self.suite.set_reading(*reading),
            Step::Pass(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(60)
    })]

    #[test]
    fn no_answer_takes_back_another(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let suite = Suite::start().await;
            let second = second(&suite);
            let _tasks = server::background(&second);
            let mut run = Run { suite, second, replica: None, jobs: BTreeMap::new() };
            for step in &steps {
                run.take(step).await;
            }
            run.suite.set_reading(true);
            for number in 0..run.jobs.len() {
                for second in [false, true] {
                    eventually("all is told in the end", async || {
                        let told = run.ask(number, second).await;
                        told == Some(run.jobs[&number].happened)
                    })
                    .await;
                }
            }
        });
    }
}
