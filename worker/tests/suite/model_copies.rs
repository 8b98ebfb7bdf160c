//! Copies and forks: whatever happens to commands, workers and the view, every job ends once, as it
//! should, and no step of it is done twice that need not be.
//!
//! Steps come between any two of a slice: a command is copied, also an old one; the broker takes a
//! delivery back before or after the effect, or before the ack; workers are killed, hang, and start; confirms
//! are lost; the view is flushed or away; jobs are cancelled, run out of time, and run again.
//!
//! What is checked when it is quiet again:
//!
//! - every job has ended in its last epoch, in a way that its plan and what was done to it allow;
//! - nobody speaks of a job whose delivery it has lost;
//! - while the view lives, a command is entered once, and once more for each time that the broker
//!   delivers it again: so no chain of commands goes on in two branches;
//! - while the view lives, no effect is made twice, but by copies that are themselves delivered again;
//! - a job that was cancelled before anybody had it is never entered;
//! - no delivery is left, in a queue or in hand.
//!
//! A failure prints the steps, and a seed that is tried first from then on.
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{
    Started, World,
    book::{End, Planned},
    kind,
    wire::{Seen, Wire},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    JobId, JobState, Kind, clock,
    event::{Control, Event, EventType, Mark},
    fact::{JobFact, Retention},
    memory::{bus::ConfirmFailure, store::InMemoryJobStore},
    record::Record,
    store::JobStore,
};
use vmctl_reader::Reader;
use vmctl_worker::{Backends, Config, Handler, Worker};

/// Most workers at a time.
const WORKERS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Submit(Vec<End>, Timing),
    /// One of a job's commands comes once more.
    Copy(prop::sample::Index, prop::sample::Index),
    /// The next confirms are lost: the messages are there, and nobody is told.
    LoseConfirms(usize),
    /// The broker takes back what a worker has; one that hangs does not notice at once.
    Cut(prop::sample::Index, bool),
    Kill(prop::sample::Index),
    Start,
    Cancel(prop::sample::Index),
    /// Somebody runs an ended job again.
    Redrive(prop::sample::Index),
    Flush,
    StoreDown(bool),
    /// Milliseconds.
    Pass(u64),
}

/// When a job is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timing {
    Now,
    /// Its deadline comes soon.
    Short,
    /// Not before a moment has passed.
    Later,
    /// Somebody must have started it soon.
    StartBy,
}

fn plan() -> impl Strategy<Value = Vec<End>> {
    let end = prop_oneof![
        6 => Just(End::Go),
        1 => Just(End::GoLater),
        2 => Just(End::Retry),
        2 => Just(End::Flaky),
        1 => Just(End::Spawn),
        1 => Just(End::Fail),
    ];
    prop::collection::vec(end, 0..5)
}

fn timing() -> impl Strategy<Value = Timing> {
    prop_oneof![
        6 => Just(Timing::Now),
        1 => Just(Timing::Short),
        2 => Just(Timing::Later),
        1 => Just(Timing::StartBy),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (plan(), timing()).prop_map(|(plan, timing)| Step::Submit(plan, timing)),
        4 => (index(), index()).prop_map(|(job, command)| Step::Copy(job, command)),
        1 => (1..4_usize).prop_map(Step::LoseConfirms),
        3 => (index(), prop::bool::weighted(0.2)).prop_map(|(worker, hung)| Step::Cut(worker, hung)),
        2 => index().prop_map(Step::Kill),
        4 => Just(Step::Start),
        2 => index().prop_map(Step::Cancel),
        1 => index().prop_map(Step::Redrive),
        1 => Just(Step::Flush),
        2 => any::<bool>().prop_map(Step::StoreDown),
        8 => (1..40_u64).prop_map(Step::Pass),
        3 => (40..400_u64).prop_map(Step::Pass),
        1 => (400..5_000_u64).prop_map(Step::Pass),
        1 => Just(Step::Pass(20_000)),
    ]
}

/// What can go wrong in a run at all: what must hold depends on that.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    copies: bool,
    losses: bool,
    view: bool,
}

impl Trouble {
    fn allows(self, step: &Step) -> bool {
        match step {
            Step::Copy(..) | Step::LoseConfirms(_) => self.copies,
            Step::Cut(..) | Step::Kill(_) => self.losses,
            Step::Flush | Step::StoreDown(_) => self.view,
            _ => true,
        }
    }
}

fn trouble() -> impl Strategy<Value = Trouble> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(copies, losses, view)| Trouble {
        copies,
        losses,
        view,
    })
}

struct Job {
    /// What opened its epoch.
    command: Event,
    plan: Vec<End>,
    timing: Timing,
    /// When a cancel of this epoch was known to all, and whether nobody had had the job by then.
    cancelled: Option<(Instant, bool)>,
}

/// One run of the model.
struct Run {
    world: World,
    view: InMemoryJobStore,
    view_is_down: bool,
    /// Whether the view ever was not there.
    was_blind: bool,
    has_hung: bool,
    workers: Vec<(Wire, Started)>,
    started: usize,
    seen: Arc<Mutex<Seen>>,
    handler: Planned,
    jobs: Vec<Job>,
    stop: CancellationToken,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Run {
    async fn new() -> Self {
        let world = World::new().await;
        let view = InMemoryJobStore::new(world.clock.clone());
        let mut config = vmctl_reader::Config::new("r1");
        // Nobody tidies up behind the workers.
        config.sweep_interval = Duration::from_secs(30 * 24 * 3600);
        let reader = Reader::new(
            config,
            world.bus.clone(),
            Arc::new(view.clone()),
            world.clock.clone(),
            &world.registry,
        );
        let stop = CancellationToken::new();
        tokio::spawn(reader.run(stop.clone()));
        let (bus, time) = (world.bus.clone(), world.clock.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                let mark = Mark {
                    id: clock::new_uuid(&*time),
                    server: "s1".to_owned(),
                    time: time.now(),
                };
                let _ = bus.publisher.publish(mark.to_message()).await;
                sleep(Duration::from_secs(1)).await;
            }
        }));
        Self {
            world,
            view,
            view_is_down: false,
            was_blind: false,
            has_hung: false,
            workers: Vec::new(),
            started: 0,
            seen: Arc::default(),
            handler: Planned::default(),
            jobs: Vec::new(),
            stop,
        }
    }

    fn start(&mut self) {
        self.started += 1;
        let wire = Wire::new(&self.world.bus, self.seen.clone());
        let backends = Backends {
            bus: wire.bus(),
            store: Arc::new(self.view.clone()),
            ..self.world.backends()
        };
        let handler: Arc<dyn Handler> = Arc::new(self.handler.clone());
        let kinds: [Kind; 2] = [kind(), "vm.delete".parse().unwrap()];
        let worker = Worker::builder(Config::new(format!("w{}", self.started)), backends)
            .handlers(kinds.map(|kind| (kind, handler.clone())))
            .build()
            .unwrap();
        self.workers.push((wire, Started::run(worker)));
    }

    async fn submit(&mut self, plan: &[End], timing: Timing) {
        let input = serde_json::to_value(plan).unwrap();
        let mut command = self.world.command(kind(), input);
        let job = &mut command.data.job;
        let after = |ms| clock::add(job.created_at, Duration::from_millis(ms));
        job.max_attempts = 20;
        match timing {
            Timing::Now => {}
            Timing::Short => job.deadline = after(300),
            Timing::Later => {
                job.run_at = Some(after(100));
                command.data.not_before = job.run_at;
            }
            Timing::StartBy => job.start_by = Some(after(500)),
        }
        self.publish(&command).await;
        self.jobs.push(Job {
            command,
            plan: plan.to_vec(),
            timing,
            cancelled: None,
        });
    }

    /// Publishes as a server does: again until it is confirmed.
    async fn publish(&self, event: &Event) {
        let message = event.to_due_message(self.world.clock.now());
        while self
            .world
            .bus
            .publisher
            .publish(message.clone())
            .await
            .is_err()
        {}
    }

    async fn record(&self, job: JobId) -> Option<Record> {
        self.view.get(job).await.ok()?.record
    }

    async fn take(&mut self, step: &Step) {
        let job = |index: &prop::sample::Index| {
            let many = self.jobs.len();
            (many > 0).then(|| index.index(many))
        };
        let worker = |index: &prop::sample::Index| {
            let many = self.workers.len();
            (many > 0).then(|| index.index(many))
        };
        match step {
            Step::Submit(plan, timing) => self.submit(plan, *timing).await,
            Step::Copy(index, which) => {
                if let Some(n) = job(index) {
                    let mut commands = self.world.events(self.jobs[n].command.subject);
                    commands.retain(|event| event.event_type.is_command());
                    if !commands.is_empty() {
                        self.publish(which.get(&commands)).await;
                    }
                }
            }
            Step::LoseConfirms(count) => {
                let memory = self.world.memory();
                memory.fail_next_confirms(*count, ConfirmFailure::Lost);
            }
            Step::Cut(index, hung) => {
                if let Some(n) = worker(index) {
                    self.has_hung |= hung;
                    self.workers[n].0.cut(*hung);
                }
            }
            Step::Kill(index) => {
                if let Some(n) = worker(index) {
                    self.workers.remove(n).1.kill().await;
                }
            }
            Step::Start if self.workers.len() < WORKERS => self.start(),
            Step::Start => {}
            Step::Cancel(index) => {
                if let Some(n) = job(index) {
                    self.cancel(n).await;
                }
            }
            Step::Redrive(index) => {
                if let Some(n) = job(index) {
                    self.redrive(n).await;
                }
            }
            Step::Flush => {
                self.was_blind = true;
                self.view.flush();
            }
            Step::StoreDown(down) => self.set_view_down(*down),
            Step::Pass(ms) => sleep(Duration::from_millis(*ms)).await,
        }
    }

    fn set_view_down(&mut self, down: bool) {
        self.was_blind |= down;
        self.view_is_down = down;
        self.view.set_down(down);
    }

    /// Asks to cancel as the server does, which needs a view that knows the job.
    async fn cancel(&mut self, n: usize) {
        let command = &self.jobs[n].command;
        let (job, epoch) = (command.subject, command.data.epoch);
        let live = self.record(job).await.is_some_and(|record| {
            !record.is_terminal() && record.winner.is_some_and(|w| w.epoch == epoch)
        });
        if !live || self.jobs[n].cancelled.is_some() {
            return;
        }
        let mut wish = command.clone();
        wish.id = clock::new_uuid(&*self.world.clock);
        wish.event_type = EventType::CancelRequested;
        wish.time = self.world.clock.now();
        wish.data.not_before = None;
        self.publish(&wish).await;
        let fact = JobFact::from_event(wish, None, Retention::default());
        let _ = self.view.prewrite(&fact, self.world.clock.now()).await;
        let control = Control::Cancel {
            job_id: job,
            epoch,
            reason: None,
        };
        self.world.bus.publisher.broadcast(control).await.unwrap();
        let is_held = self.workers.iter().any(|(wire, _)| wire.holds(job));
        let untouched = !is_held && self.entries(job, epoch).next().is_none();
        self.jobs[n].cancelled = Some((Instant::now(), untouched));
    }

    async fn redrive(&mut self, n: usize) {
        let job = self.jobs[n].command.subject;
        let epoch = self.jobs[n].command.data.epoch;
        let ended = self.record(job).await.is_some_and(|record| {
            record.is_terminal() && record.winner.is_some_and(|w| w.epoch == epoch)
        });
        if !ended {
            return;
        }
        let (now, command) = (self.world.clock.now(), &mut self.jobs[n].command);
        command.id = clock::new_uuid(&*self.world.clock);
        command.event_type = EventType::Redriven;
        command.time = now;
        command.data.epoch += 1;
        command.data.not_before = None;
        let spec = &mut command.data.job;
        spec.run_at = None;
        spec.start_by = None;
        spec.deadline = clock::add(now, Duration::from_secs(3600));
        self.jobs[n].timing = Timing::Now;
        self.jobs[n].cancelled = None;
        let command = self.jobs[n].command.clone();
        self.publish(&command).await;
    }

    fn entries(&self, job: JobId, epoch: u32) -> impl Iterator<Item = crate::support::book::Entry> {
        let entries = self.handler.book().entries.clone();
        let of = move |key: crate::support::wire::StepKey| (key.0, key.1) == (job, epoch);
        entries.into_iter().filter(move |e| of(e.key))
    }

    fn redelivered(&self, is_it: impl Fn(&crate::support::wire::StepKey) -> bool) -> u32 {
        let seen = self.seen.lock().unwrap();
        let all = seen.redelivered.iter();
        all.filter(|(key, _)| is_it(key)).map(|(_, n)| n).sum()
    }

    async fn ends_well(mut self) {
        self.world
            .memory()
            .fail_next_confirms(0, ConfirmFailure::Lost);
        self.set_down_for_the_end();
        if self.workers.is_empty() {
            self.start();
        }
        for n in 0..self.jobs.len() {
            self.has_ended(n).await;
        }
        self.nothing_is_left().await;
        let faults = self.seen.lock().unwrap().faults.clone();
        assert!(faults.is_empty(), "{faults:?}");
        if !self.was_blind {
            self.nothing_was_done_twice();
        }
    }

    fn set_down_for_the_end(&mut self) {
        let was_blind = self.was_blind;
        self.set_view_down(false);
        self.was_blind = was_blind;
    }

    async fn has_ended(&self, n: usize) {
        let Job {
            command,
            plan,
            timing,
            cancelled,
        } = &self.jobs[n];
        let (job, epoch) = (command.subject, command.data.epoch);
        let ended = async || {
            let winner = self.record(job).await?.winner?;
            (winner.state.is_terminal() && winner.epoch == epoch).then_some(winner)
        };
        let patience = Duration::from_secs(2 * 3600);
        let winner = tokio::time::timeout(patience, async {
            loop {
                if let Some(winner) = ended().await {
                    return winner;
                }
                sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        let Ok(winner) = winner else {
            panic!(
                "job {n} has not ended: {:?}\n{:#?}",
                self.world.words(job),
                self.record(job).await
            );
        };
        let is_right = match winner.state {
            JobState::Succeeded => {
                let book = self.handler.book();
                (0..)
                    .zip(0..=plan.len())
                    .all(|(step, _)| book.made.contains_key(&(job, step)))
            }
            JobState::Cancelled => cancelled.is_some(),
            _ => {
                let error = winner.body.error.as_ref().unwrap().error_type.clone();
                match error.as_str() {
                    "planned" => plan.contains(&End::Fail),
                    "deadline" => *timing == Timing::Short,
                    "start-deadline" => *timing == Timing::StartBy,
                    "delivery-limit" => self.redelivered(|key| key.0 == job) >= 5,
                    _ => false,
                }
            }
        };
        assert!(is_right, "job {n}: {winner:#?}");
        if let Some((at, untouched)) = cancelled
            && !self.was_blind
        {
            self.was_cancelled(job, epoch, *at, *untouched);
        }
    }

    fn was_cancelled(&self, job: JobId, epoch: u32, at: Instant, untouched: bool) {
        // What was about to be entered then is told in the handler.
        let later = |e: &crate::support::book::Entry| e.at > at;
        for entry in self.entries(job, epoch).filter(later) {
            assert!(entry.was_cancelled, "{entry:?} was not told");
        }
        if untouched && self.redelivered(|key| (key.0, key.1) == (job, epoch)) == 0 {
            let entered = self.entries(job, epoch).count();
            assert_eq!(entered, 0, "{job} was cancelled before anybody had it");
        }
    }

    async fn nothing_is_left(&self) {
        let names: Vec<String> = vmctl_core::topology::Topology::new([&kind(), &below()])
            .queues
            .into_iter()
            .map(|queue| queue.name)
            .filter(|name| name.starts_with("work.") || name.starts_with("jobs.delay."))
            .collect();
        let empty = async || {
            for name in &names {
                if self.world.ready(name).await > 0 {
                    return false;
                }
            }
            self.workers.iter().all(|(wire, _)| wire.holds_nothing())
        };
        let patience = Duration::from_secs(3600);
        let left = tokio::time::timeout(patience, async {
            while !empty().await {
                sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(left.await.is_ok(), "a delivery is left");
    }

    fn nothing_was_done_twice(&self) {
        let book = self.handler.book();
        let keys: BTreeSet<_> = book.entries.iter().map(|e| e.key).collect();
        for key in keys {
            let again = self.redelivered(|k| *k == key);
            let runs = book.runs(key);
            assert!(
                runs <= 1 + usize::try_from(again).unwrap(),
                "{key:?} was run {runs} times, and delivered again {again} times"
            );
        }
        for ((job, step), times) in &book.made {
            let copies = self.copies(*job);
            let excused =
                self.has_hung || (copies > 0 && self.redelivered(|key| key.0 == *job) > 0);
            assert!(
                *times == 1 || excused,
                "step {step} of {job} was done {times} times"
            );
        }
    }

    /// How many of a job's commands are in the log more than once.
    fn copies(&self, job: JobId) -> usize {
        let events = self.world.events(job);
        let ids: Vec<_> = events
            .iter()
            .filter(|e| e.event_type.is_command())
            .map(|e| e.id)
            .collect();
        ids.len() - ids.iter().collect::<BTreeSet<_>>().len()
    }
}

fn below() -> Kind {
    "vm.delete".parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(60)
    })]

    #[test]
    fn no_copy_makes_a_fork(
        trouble in trouble(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in steps.iter().filter(|step| trouble.allows(step)) {
                run.take(step).await;
            }
            run.ends_well().await;
        });
    }
}
