//! A harness for flows: what must be true of the kinds that a flow is made of.
//!
//! It runs a flow again and again, on any backends with a reader, with the handlers of its kinds
//! wrapped:
//!
//! - **every slice runs twice**, of actions and of undos, as after a crash before the ack;
//! - **every step fails once**, before it has done anything and after it has done everything: all
//!   must be undone then;
//! - **every undo fails once**, and it must be undone all the same;
//! - **every undo fails for a long time**: the job must show that it is stuck, and be undone in the end;
//! - **every attempt of a step fails once**, and the flow must succeed.
//!
//! A job that asks for many jobs at once is held to its join instead ([`Harness::check_join`]): **every
//! set of its children fails**, and it must succeed as long as enough are left; every slice runs twice, its
//! own, too, and no child lives when it has ended.
//!
//! ```no_run
//! # async fn test(backends: vmctl_worker::Backends, handlers: Vec<(vmctl_core::Kind,
//! #     std::sync::Arc<dyn vmctl_worker::Handler>)>) -> Result<(), String> {
//! use vmctl_worker::harness::Harness;
//!
//! let harness = Harness::new(backends, "vm.provision".parse().unwrap(), handlers, |n| {
//!     serde_json::json!({"playbook": "site.yml", "vm": {"vm_hostname": format!("lx{n}")}})
//! });
//! let runs = harness.check(async |_run| Vec::new()).await?;
//! # assert!(runs > 0);
//! # Ok(())
//! # }
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    Compensation, JobError, JobId, JobState, Kind,
    children::child_id,
    clock,
    event::{Caller, Event, EventData, EventType, JobSpec},
    flow::{Step, steps_of},
    record::Record,
    topology::Topology,
};

use crate::{Backends, Config, Ctx, Handler, Outcome, Spawn, Worker, kinds};

/// How long a flow may take, by tokio's clock.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How a job of a flow fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails before it has done anything.
    Before,
    /// It does all that it should, and says that it has failed.
    After,
    /// Its first attempt does all that it should, and is to be tried again.
    Attempt,
}

/// Which jobs of a flow fail, and how often. Names are those of steps, `undo/<step>` for what undoes
/// them.
pub type Faults = BTreeMap<String, (Fault, u32)>;

/// A flow that has ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its job.
    pub id: JobId,
    /// How it ended.
    pub state: JobState,
    /// Why.
    pub error: Option<JobError>,
    /// What it showed at its end.
    pub compensation: Option<Compensation>,
    /// Whether it showed that it was stuck on the way.
    pub was_stuck: bool,
    /// What came out.
    pub output: Option<Value>,
    /// The jobs that it asked for, by the names that it gave them.
    pub jobs: BTreeMap<String, JobId>,
}

type Input = dyn Fn(u32) -> Value + Send + Sync;

/// Runs one flow with faults.
pub struct Harness {
    backends: Backends,
    flow: Kind,
    handlers: Vec<(Kind, Arc<dyn Handler>)>,
    input: Box<Input>,
    count: AtomicU32,
}

impl Harness {
    /// Makes a harness. `handlers` are those of the kinds in the flow; `input` makes the input of the
    /// n-th run, so that no run meets what another one has left.
    pub fn new(
        backends: Backends,
        flow: Kind,
        handlers: Vec<(Kind, Arc<dyn Handler>)>,
        input: impl Fn(u32) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self {
            backends,
            flow,
            handlers,
            input: Box::new(input),
            count: AtomicU32::new(0),
        }
    }

    /// Checks all that the module promises. `left` says what a run has left behind of what its jobs
    /// did. Returns how many runs it took.
    ///
    /// # Errors
    ///
    /// The first run that did something else, and what.
    pub async fn check(&self, left: impl AsyncFn(&Run) -> Vec<String>) -> Result<u32, String> {
        let good = self.run(Faults::new()).await?;
        expect(&good, JobState::Succeeded, "without a fault")?;
        for step in self.steps()? {
            self.step_fails(&step, &left).await?;
            if step.undo.is_some() {
                self.undo_fails(&step, &left).await?;
            }
        }
        Ok(self.count.load(Ordering::SeqCst))
    }

    async fn step_fails(
        &self,
        step: &Step,
        left: &impl AsyncFn(&Run) -> Vec<String>,
    ) -> Result<(), String> {
        let name = &step.name;
        for fault in [Fault::Before, Fault::After] {
            let run = self.run(faults(&[(name, fault, 1)])).await?;
            undone(&run, left, &format!("{name} fails: {fault:?}")).await?;
        }
        let run = self.run(faults(&[(name, Fault::Attempt, 1)])).await?;
        expect(&run, JobState::Succeeded, &format!("{name} fails once"))
    }

    async fn undo_fails(
        &self,
        step: &Step,
        left: &impl AsyncFn(&Run) -> Vec<String>,
    ) -> Result<(), String> {
        let name = &step.name;
        let undo = format!("undo/{name}");
        for (fault, times) in [
            (Fault::Before, 1),
            (Fault::After, 1),
            (Fault::Before, kinds::STUCK_AFTER + 1),
        ] {
            let what = format!("{undo} fails {times} times: {fault:?}");
            let run = self
                .run(faults(&[(name, Fault::After, 1), (&undo, fault, times)]))
                .await?;
            undone(&run, left, &what).await?;
            if run.was_stuck != (times >= kinds::STUCK_AFTER) {
                return Err(format!("{what}: shown as stuck: {}", run.was_stuck));
            }
        }
        Ok(())
    }

    /// Checks a job that asks for these children at once, and succeeds when `needed` of them have. The
    /// handler of its kind is one of the harness's. Returns how many runs it took.
    ///
    /// # Errors
    ///
    /// The first run that did something else, and what.
    pub async fn check_join(&self, children: &[&str], needed: usize) -> Result<u32, String> {
        for fault in [Fault::Before, Fault::After, Fault::Attempt] {
            for set in 0..1_u32 << children.len() {
                let chosen = children.iter().enumerate();
                let failing: Vec<_> = chosen
                    .filter(|(n, _)| (set >> n) & 1 == 1)
                    .map(|(_, name)| (*name, fault, 1))
                    .collect();
                let left = children.len() - failing.len();
                let state = if left >= needed || fault == Fault::Attempt {
                    JobState::Succeeded
                } else {
                    JobState::Failed
                };
                let what = format!("{failing:?} of {children:?}");
                let run = self.run(faults(&failing)).await?;
                expect(&run, state, &what)?;
                self.have_ended(&run, &what).await?;
            }
        }
        Ok(self.count.load(Ordering::SeqCst))
    }

    /// Checks that no job lives that a run has asked for.
    async fn have_ended(&self, run: &Run, what: &str) -> Result<(), String> {
        for (name, id) in &run.jobs {
            let lookup = self.backends.store.get(*id).await;
            let record = lookup.map_err(|e| e.to_string())?.record;
            if !record.is_some_and(|record| record.is_terminal()) {
                return Err(format!("{what}: {name} lives"));
            }
        }
        Ok(())
    }

    fn steps(&self) -> Result<Vec<Step>, String> {
        let kind = self.backends.registry.get(&self.flow);
        match kind.and_then(|kind| kind.steps.clone()) {
            Some(steps) => Ok(steps),
            None => steps_of(&(self.input)(0)),
        }
    }

    /// Runs the flow once, to its end.
    ///
    /// # Errors
    ///
    /// Why it could not be run.
    pub async fn run(&self, faults: Faults) -> Result<Run, String> {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let faults = Arc::new(Mutex::new(faults));
        let flows = kinds::flows(&self.backends.registry);
        let flow = flows.into_iter().filter(|(kind, _)| *kind == self.flow);
        let all = self.handlers.iter().cloned().chain(flow);
        let wrapped = all.map(|(kind, inner)| {
            let faults = faults.clone();
            let handler: Arc<dyn Handler> = Arc::new(Doubled { inner, faults });
            (kind, handler)
        });
        let worker = Worker::builder(
            Config::new(format!("harness-{number}")),
            self.backends.clone(),
        )
        .handlers(wrapped)
        .build()
        .map_err(|e| e.to_string())?;
        let topology = Topology::new([&self.flow]);
        let declared = self.backends.bus.admin.declare(&topology).await;
        declared.map_err(|e| e.to_string())?;
        let shutdown = CancellationToken::new();
        let _stop = shutdown.clone().drop_guard();
        let running = tokio::spawn(worker.run(shutdown.clone()));
        let run = timeout(PATIENCE, self.follow((self.input)(number)));
        let run = run
            .await
            .map_err(|_| format!("run {number} did not end"))??;
        shutdown.cancel();
        match running.await {
            Ok(Ok(())) => Ok(run),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn follow(&self, input: Value) -> Result<Run, String> {
        let event = self.command(input);
        let id = event.subject;
        let publisher = &self.backends.bus.publisher;
        while publisher.publish(event.to_message()).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
        let mut was_stuck = false;
        loop {
            sleep(Duration::from_millis(50)).await;
            let Ok(lookup) = self.backends.store.get(id).await else {
                continue;
            };
            let Some(winner) = lookup.record.and_then(|record: Record| record.winner) else {
                continue;
            };
            was_stuck |= winner.body.compensation == Some(Compensation::Stuck);
            if winner.state.is_terminal() {
                let jobs = winner.body.children.iter();
                return Ok(Run {
                    id,
                    state: winner.state,
                    error: winner.body.error,
                    compensation: winner.body.compensation,
                    was_stuck,
                    output: winner.body.output,
                    jobs: jobs
                        .map(|name| (name.clone(), child_id(id, 0, name)))
                        .collect(),
                });
            }
        }
    }

    fn command(&self, input: Value) -> Event {
        let clock = &*self.backends.clock;
        let now = clock.now();
        let caller = Caller {
            user_id: "harness".to_owned(),
            user_name: "harness".to_owned(),
            project_id: "harness".to_owned(),
            ..Caller::default()
        };
        let deadline = clock::add(now, PATIENCE);
        let job = JobSpec {
            max_attempts: 5,
            ..JobSpec::new(
                clock::new_job_id(clock),
                self.flow.clone(),
                input,
                now,
                deadline,
                caller,
            )
        };
        Event::new(
            clock::new_uuid(clock),
            EventType::Submitted,
            "/harness",
            now,
            EventData::new(JobState::Queued, job),
        )
    }
}

/// Makes faults out of a list.
fn faults(list: &[(&str, Fault, u32)]) -> Faults {
    list.iter()
        .map(|(name, fault, times)| ((*name).to_owned(), (*fault, *times)))
        .collect()
}

fn expect(run: &Run, state: JobState, what: &str) -> Result<(), String> {
    if run.state == state {
        return Ok(());
    }
    Err(format!("{what}: ended as {}: {:?}", run.state, run.error))
}

async fn undone(
    run: &Run,
    left: &impl AsyncFn(&Run) -> Vec<String>,
    what: &str,
) -> Result<(), String> {
    expect(run, JobState::Failed, what)?;
    let shown = run.compensation.unwrap_or(Compensation::Done);
    if shown != Compensation::Done {
        return Err(format!("{what}: compensation is {}", shown.as_str()));
    }
    let left = left(run).await;
    if left.is_empty() {
        return Ok(());
    }
    Err(format!("{what}: left behind: {}", left.join(", ")))
}

/// Runs each slice twice, and fails where it is told to.
struct Doubled {
    inner: Arc<dyn Handler>,
    faults: Arc<Mutex<Faults>>,
}

impl Doubled {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        // Every change under the lock is one statement.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fault that is due for a job, and counts it.
    fn due(&self, name: &str, at_its_end: bool) -> Option<Fault> {
        let mut faults = self.faults();
        let (fault, times) = faults.get_mut(name)?;
        if *times == 0 || (*fault != Fault::Before) != at_its_end {
            return None;
        }
        *times -= 1;
        Some(*fault)
    }
}

#[async_trait]
impl Handler for Doubled {
    async fn run(&self, ctx: Ctx) -> Outcome {
        let name = ctx.job().step.clone().unwrap_or_default();
        // Each try of an undo, and of a step past the pivot, has a number at its end.
        let name = match name.rsplit_once('/') {
            Some((name, number)) if number.parse::<u32>().is_ok() => name.to_owned(),
            _ => name,
        };
        if self.due(&name, false).is_some() {
            return Outcome::Fail(injected());
        }
        self.inner.run(ctx.clone()).await;
        let outcome = self.inner.run(ctx).await;
        if !matches!(outcome, Outcome::Done(_)) {
            return outcome;
        }
        match self.due(&name, true) {
            Some(Fault::Attempt) => Outcome::Retry {
                after: None,
                error: injected(),
            },
            Some(_) => Outcome::Fail(injected()),
            None => outcome,
        }
    }

    fn refused(&self, ctx: &Ctx, spawn: Spawn, error: JobError) -> Outcome {
        self.inner.refused(ctx, spawn, error)
    }
}

fn injected() -> JobError {
    JobError {
        error_type: "injected".to_owned(),
        title: "the harness says so".to_owned(),
        detail: None,
        retryable: true,
        attempt: None,
        worker: None,
    }
}
