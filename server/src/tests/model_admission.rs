//! Every 202 stands for a command that is in a work queue, and in the log, whatever fails around it.
//!
//! A failure prints the steps, and a seed that is tried first from then on.

use std::{collections::BTreeSet, time::Duration};

use proptest::{prelude::*, test_runner::FileFailurePersistence};
use vmctl_core::{
    JobState,
    bus::{Deliveries, LogStart},
    event::Event,
    fact::{Fact, interpret},
    memory::bus::ConfirmFailure,
};

use super::support::{MEMBER, Suite, another};

#[derive(Debug, Clone)]
enum Step {
    /// With one of a few keys, so that requests are repeated; or with none.
    Submit(Option<u8>),
    /// The next confirms are lost: the command is there, and nobody is told.
    LoseConfirms(usize, u8),
    Block(bool),
    Break,
    Down(bool),
    StoreDown(bool),
    Flush,
    /// A worker takes one command to its end.
    Work,
    /// Milliseconds.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::option::of(0..4_u8).prop_map(Step::Submit),
        2 => (1..3_usize, 0..3_u8).prop_map(|(count, how)| Step::LoseConfirms(count, how)),
        1 => any::<bool>().prop_map(Step::Block),
        1 => Just(Step::Break),
        1 => any::<bool>().prop_map(Step::Down),
        1 => any::<bool>().prop_map(Step::StoreDown),
        1 => Just(Step::Flush),
        2 => Just(Step::Work),
        4 => (1..4_000_u64).prop_map(Step::Pass),
    ]
}

struct Run {
    suite: Suite,
    /// The worker's consumer, all the time: each one that goes gives back what it had, which counts.
    work: Box<dyn Deliveries>,
    accepted: BTreeSet<String>,
    /// Jobs whose command a worker has taken and ended.
    done: BTreeSet<String>,
    is_down: bool,
}

impl Run {
    async fn take(&mut self, step: &Step) {
        let suite = &self.suite;
        match step {
            Step::Submit(key) => {
                let mut request = suite.request("POST", "/v1/jobs").token(MEMBER);
                let mut body = another();
                if let Some(key) = key {
                    request = request.header("Idempotency-Key", format!("key-{key}"));
                    body["input"]["vm_hostname"] = format!("lxkey{key}").into();
                }
                let reply = request.json(&body).send().await;
                match reply.status.as_u16() {
                    202 => {
                        let id = reply.json()["id"].as_str().unwrap().to_owned();
                        self.accepted.insert(id);
                    }
                    // A key whose job has ended is answered with it.
                    200 => {}
                    status => assert_eq!(status, 503, "{reply:?}"),
                }
            }
            Step::LoseConfirms(count, how) => {
                let how = match how {
                    0 => ConfirmFailure::Timeout,
                    1 => ConfirmFailure::Lost,
                    _ => ConfirmFailure::Nacked,
                };
                suite.broker.fail_next_confirms(*count, how);
            }
            Step::Block(blocked) => suite.broker.set_blocked(blocked.then_some("test")),
            Step::Break => suite.broker.break_connections(),
            Step::Down(down) => {
                self.is_down = *down;
                suite.broker.set_down(*down);
            }
            Step::StoreDown(down) => suite.store.set_down(*down),
            Step::Flush => suite.store.flush(),
            Step::Work => {
                self.work().await;
            }
            Step::Pass(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        }
    }

    /// Does the next command, if there is one and the broker takes its outcome.
    async fn work(&mut self) -> bool {
        if self.is_down {
            return false;
        }
        let waited = tokio::time::timeout(Duration::from_millis(100), self.work.next()).await;
        let Ok(Some(delivery)) = waited else {
            return false;
        };
        let command = Event::parse(&delivery.message.body).unwrap();
        self.done.insert(command.data.job.id.to_string());
        delivery.ack().await.is_ok()
    }

    async fn ends_well(mut self) {
        let (broker, store) = (&self.suite.broker, &self.suite.store);
        broker.fail_next_confirms(0, ConfirmFailure::Lost);
        broker.set_down(false);
        broker.set_blocked(None);
        store.set_down(false);
        self.is_down = false;
        while self.work().await {}
        let (logged, dead) = self.logged().await;
        for id in &self.accepted {
            assert!(
                self.done.contains(id) || dead.contains(id),
                "{id} was accepted, and no worker got it"
            );
        }
        for id in &self.accepted {
            assert!(
                logged.contains(id),
                "{id} was accepted, and is not in the log"
            );
        }
    }

    /// Jobs of which the log has something; and those whose command came back too often, which the
    /// log knows as failed.
    async fn logged(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut reader = self.suite.app.bus.log.read(LogStart::First).await.unwrap();
        let (mut all, mut dead) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let batch = reader.next_batch(1000);
            let Ok(entries) = tokio::time::timeout(Duration::from_millis(1), batch).await else {
                return (all, dead);
            };
            for entry in entries.unwrap() {
                let Some(id) = entry.message.correlation_id.clone() else {
                    continue;
                };
                if let Fact::Job(fact) = interpret(&entry, self.suite.app.retention())
                    && fact.state == JobState::Failed
                {
                    dead.insert(id.clone());
                }
                all.insert(id);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(60)
    })]

    #[test]
    fn what_is_accepted_is_done(steps in prop::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let suite = Suite::start().await;
            let mut run = Run {
                work: suite.work("vm.create").await,
                suite,
                accepted: BTreeSet::new(),
                done: BTreeSet::new(),
                is_down: false,
            };
            for step in &steps {
                run.take(step).await;
            }
            run.ends_well().await;
        });
    }
}
