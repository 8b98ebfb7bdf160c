//! A model of names and active runs: two servers submit, publish or fail to, die and retry, while the log
//! is folded by partitions, with delays, and the view is flushed.
//!
//! - While the view was never lost, nobody enters with a name that another live job has.
//! - Whenever all of the log is folded, holders and active runs are those that the log implies, and
//!   those whose submission is still under way.
//!
//! Steps are made of small numbers, so that any test can draw and shrink them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    StoreFixture,
    sample::{Saying, Story, TYPES},
    support::batch,
};
use crate::{
    JobState,
    event::{EventType, JobSpec},
    fact::JobFact,
    partition::Partition,
    store::{
        FoldOutcome, FoldStore,
        project::{Entered, Entry, Hold, HoldState, Holder, ProjectLimits, Run, expires},
    },
    unique::{Scope, Unique},
};

const PROJECT: &str = "demo";
const NAMES: [&str; 2] = ["vm:lx1", "vm:lx2"];

/// What happens next. A number chooses one of the runs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A server wants to submit a job with one of the names.
    Submit(usize, bool),
    /// The same submission comes to another server before anybody has published it.
    Twin(usize),
    /// A server publishes what it has entered.
    Publish(usize),
    /// It could not, and gives back what it took.
    Fail(usize),
    /// It dies in between.
    Die(usize),
    /// A job ends so.
    End(usize, EventType),
    /// Somebody runs an ended job again.
    Retry(usize),
    /// Something comes late about a run.
    Late(usize),
    /// A job that frees a name succeeds.
    Free(usize),
    /// The reader takes so many entries of one of the partitions.
    Fold(usize, usize),
    /// The view is lost.
    Flush,
    /// So many milliseconds pass.
    Pass(u64),
}

impl Step {
    /// Makes a step out of small numbers.
    pub fn of([what, which, how]: [u8; 3]) -> Self {
        let (which, how) = (usize::from(which), usize::from(how));
        let ends = [
            EventType::Succeeded,
            EventType::Failed,
            EventType::Cancelled,
            EventType::Deadline,
        ];
        match what % 24 {
            0..=4 => Self::Submit(which % NAMES.len(), how.is_multiple_of(2)),
            5 => Self::Twin(which),
            6..=8 => Self::Publish(which),
            9..=10 => Self::Fail(which),
            11 => Self::Die(which),
            12..=14 => Self::End(which, ends[how % ends.len()]),
            15 => Self::Retry(which),
            16 => Self::Late(which),
            17 => Self::Free(which % NAMES.len()),
            18..=21 => Self::Fold(which % 2, 1 + how % 4),
            22 if how.is_multiple_of(3) => Self::Flush,
            _ => Self::Pass(1 + u64::try_from(how % 4).unwrap()),
        }
    }
}

/// What a server has entered.
struct Pass {
    fresh: bool,
    since: Timestamp,
    /// Since the view was lost last.
    is_known: bool,
}

/// One run of a job.
struct Life {
    spec: JobSpec,
    epoch: u32,
    /// Of servers that have entered it and not published yet.
    passes: Vec<Pass>,
    is_published: bool,
    ended: Option<EventType>,
    /// Entered since the view was lost last.
    is_known: bool,
}

impl Pass {
    fn new(fresh: bool, since: Timestamp) -> Self {
        Self {
            fresh,
            since,
            is_known: true,
        }
    }
}

impl Life {
    fn run(&self) -> Run {
        Run {
            job: self.spec.id,
            epoch: self.epoch,
        }
    }

    fn name(&self) -> &str {
        &self.spec.unique[0].key
    }

    fn is_live(&self) -> bool {
        self.is_published && self.ended.is_none()
    }

    /// Says whether a server may publish it yet.
    fn is_coming(&self) -> bool {
        !self.is_published && !self.passes.is_empty()
    }

    /// Says whether what it has made has the name.
    fn made(&self) -> bool {
        self.ended == Some(EventType::Succeeded) && self.spec.unique[0].scope == Scope::Result
    }
}

/// One run of the model.
pub struct Names<'a, F> {
    fixture: &'a F,
    store: Arc<dyn FoldStore>,
    story: Story,
    now: Timestamp,
    lives: Vec<Life>,
    /// The log, by partition.
    log: [Vec<JobFact>; 2],
    folded: [usize; 2],
    offset: u64,
    jobs: u32,
    was_lost: bool,
}

fn partition(n: usize) -> Partition {
    Partition::new(u8::try_from(17 + n).unwrap()).unwrap()
}

impl<'a, F: StoreFixture> Names<'a, F> {
    /// Takes the steps and checks what the module promises.
    ///
    /// # Panics
    ///
    /// When it does not hold.
    pub async fn check(fixture: &'a F, steps: &[Step]) {
        let now = fixture.now();
        let start = now.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap();
        let mut names = Self {
            fixture,
            store: fixture.store(),
            story: Story { start },
            now,
            lives: Vec::new(),
            log: Default::default(),
            folded: [0; 2],
            offset: 0,
            jobs: 0,
            was_lost: false,
        };
        for step in steps {
            names.take(*step).await;
        }
        names.is_as_the_log_says().await;
    }

    async fn take(&mut self, step: Step) {
        let some = self.lives.len();
        let pick = |n: usize| (some > 0).then(|| n % some.max(1));
        match step {
            Step::Submit(name, keeps) => {
                let scope = if keeps { Scope::Result } else { Scope::Active };
                let spec = self.spec(|spec| {
                    spec.unique = vec![Unique {
                        key: NAMES[name].to_owned(),
                        scope,
                        queue: false,
                    }];
                });
                self.enter(spec, 0).await;
            }
            Step::Twin(n) => {
                if let Some(n) = pick(n).filter(|n| self.lives[*n].is_coming()) {
                    self.enter_again(n).await;
                }
            }
            Step::Publish(n) | Step::Fail(n) | Step::Die(n) => {
                let pass = pick(n).and_then(|n| Some((n, self.lives[n].passes.pop()?)));
                if let Some((n, pass)) = pass {
                    self.settle(n, pass, step).await;
                }
            }
            Step::End(n, how) => {
                if let Some(n) = pick(n).filter(|n| self.lives[*n].is_live()) {
                    self.lives[n].ended = Some(how);
                    self.say(n, how);
                }
            }
            Step::Retry(n) => {
                if let Some(n) = pick(n).filter(|n| self.lives[*n].ended.is_some()) {
                    let (spec, epoch) = (self.lives[n].spec.clone(), self.lives[n].epoch + 1);
                    let again = |life: &Life| {
                        life.run()
                            == Run {
                                job: spec.id,
                                epoch,
                            }
                    };
                    if self.may_run_again(n).await && !self.lives.iter().any(again) {
                        self.enter(spec, epoch).await;
                    }
                }
            }
            Step::Late(n) => {
                if let Some(n) = pick(n).filter(|n| self.lives[*n].is_published) {
                    self.say(n, EventType::Started);
                }
            }
            Step::Free(name) => {
                let spec = self.spec(|spec| spec.frees = vec![NAMES[name].to_owned()]);
                let fact = self.fact(&spec, 0, EventType::Succeeded);
                self.append(fact);
                for life in &mut self.lives {
                    if life.name() == NAMES[name] && life.ended == Some(EventType::Succeeded) {
                        // What it made is gone.
                        life.ended = Some(EventType::Cancelled);
                    }
                }
            }
            Step::Fold(partition, most) => self.fold(partition, most).await,
            Step::Flush => {
                self.fixture.flush().await;
                self.folded = [0; 2];
                self.was_lost = true;
                for life in &mut self.lives {
                    life.is_known = false;
                    for pass in &mut life.passes {
                        pass.is_known = false;
                    }
                }
            }
            Step::Pass(ms) => self.fixture.pass(Duration::from_millis(ms)).await,
        }
    }

    fn spec(&mut self, change: impl FnOnce(&mut JobSpec)) -> JobSpec {
        self.jobs += 1;
        let there = partition(usize::from(self.jobs.is_multiple_of(2)));
        let id = self.story.job_in(there, &self.jobs.to_string());
        let mut spec = self.story.spec(id, PROJECT, 0);
        change(&mut spec);
        spec
    }

    fn fact(&mut self, spec: &JobSpec, epoch: u32, what: EventType) -> JobFact {
        self.offset += 1;
        let said = Saying {
            what: TYPES.iter().position(|&t| t == what).unwrap(),
            epoch,
            attempt: 1,
            seq: u32::try_from(self.offset).unwrap(),
            at: i64::try_from(self.offset).unwrap(),
        };
        self.story.fact(spec, &said, Some(self.offset))
    }

    fn append(&mut self, fact: JobFact) {
        let second = Partition::of(fact.job) == partition(1);
        self.log[usize::from(second)].push(fact);
    }

    fn say(&mut self, n: usize, what: EventType) {
        let (spec, epoch) = (self.lives[n].spec.clone(), self.lives[n].epoch);
        let fact = self.fact(&spec, epoch, what);
        self.append(fact);
    }

    fn entry(spec: &JobSpec, epoch: u32) -> Entry {
        Entry {
            run: Run {
                job: spec.id,
                epoch,
            },
            expires: expires(spec.deadline),
            keys: spec.unique.iter().map(|u| u.key.clone()).collect(),
            frees: spec.frees.iter().cloned().collect(),
            queue: false,
            limits: ProjectLimits {
                active: Some(4),
                rate: None,
            },
        }
    }

    /// Enters as a server does: holders that have lost the name are put out once.
    async fn enter(&mut self, spec: JobSpec, epoch: u32) {
        let entry = Self::entry(&spec, epoch);
        for _ in 0..2 {
            match self.store.enter(PROJECT, &entry).await.unwrap().0 {
                Entered::In { fresh, since } => {
                    self.lives.push(Life {
                        spec,
                        epoch,
                        passes: vec![Pass::new(fresh, since)],
                        is_published: false,
                        ended: None,
                        is_known: true,
                    });
                    self.is_alone(self.lives.len() - 1);
                    return;
                }
                Entered::Held(holders) => {
                    let mut lost = Vec::new();
                    for holder in holders {
                        if !self.holds(&holder).await {
                            lost.push(holder);
                        }
                    }
                    self.store.release(PROJECT, &lost).await.unwrap();
                }
                Entered::Full => {
                    let taken = self.lives.iter().filter(|life| life.ended.is_none());
                    assert!(self.was_lost || taken.count() + self.unseen() >= 4);
                    return;
                }
                Entered::TooFast => panic!("there is no rate"),
            }
        }
    }

    /// How many ends are not folded yet.
    fn unseen(&self) -> usize {
        let rest = self.log.iter().zip(self.folded);
        let facts = rest.flat_map(|(log, folded)| &log[folded..]);
        facts.filter(|fact| fact.state.is_terminal()).count()
    }

    async fn enter_again(&mut self, n: usize) {
        let entry = Self::entry(&self.lives[n].spec, self.lives[n].epoch);
        if let Entered::In { fresh, since } = self.store.enter(PROJECT, &entry).await.unwrap().0 {
            self.lives[n].passes.push(Pass::new(fresh, since));
            self.lives[n].is_known = true;
            self.is_alone(n);
        }
    }

    async fn settle(&mut self, n: usize, pass: Pass, step: Step) {
        let life = &mut self.lives[n];
        match step {
            Step::Publish(_) => {
                life.is_published = true;
                let opens = if life.epoch == 0 {
                    EventType::Submitted
                } else {
                    EventType::Redriven
                };
                self.say(n, opens);
            }
            Step::Fail(_) if pass.fresh => {
                let (run, keys) = (life.run(), BTreeSet::from([life.name().to_owned()]));
                let left = self.store.leave(PROJECT, run, &keys, pass.since).await;
                left.unwrap();
            }
            _ => {}
        }
    }

    /// What a server finds when it looks at a holder.
    async fn holds(&self, holder: &Holder) -> bool {
        let life = self.lives.iter().find(|life| life.run() == holder.run);
        if life.is_some_and(Life::is_coming) {
            // Younger than any publish may take.
            return true;
        }
        let record = self.store.get(holder.run.job).await.unwrap().record;
        let Some(winner) = record.and_then(|record| record.winner) else {
            // Published, and the view is behind: the server waits until it can tell.
            return life.is_some_and(|life| life.is_published);
        };
        if winner.epoch != holder.run.epoch {
            return winner.epoch < holder.run.epoch && life.is_some_and(|life| life.is_published);
        }
        if winner.state.is_terminal() {
            return holder.hold.state == HoldState::Made;
        }
        true
    }

    /// Says whether the view knows that a run has failed or was cancelled: no other may run again.
    async fn may_run_again(&self, n: usize) -> bool {
        let record = self.store.get(self.lives[n].spec.id).await.unwrap().record;
        record.is_some_and(|record| {
            record.is_terminal()
                && record.state() != Some(JobState::Succeeded)
                && record
                    .winner
                    .is_some_and(|w| w.epoch == self.lives[n].epoch)
        })
    }

    /// Who has just entered has a name that nobody else has.
    fn is_alone(&self, n: usize) {
        if self.was_lost {
            return;
        }
        for other in self
            .lives
            .iter()
            .filter(|o| o.spec.id != self.lives[n].spec.id)
        {
            let has = other.is_live() || other.is_coming() || other.made();
            assert!(
                !has || other.name() != self.lives[n].name(),
                "{} has {} with {}",
                other.run(),
                other.name(),
                self.lives[n].run()
            );
        }
    }

    async fn fold(&mut self, n: usize, most: usize) {
        let from = self.folded[n];
        let facts: Vec<_> = self.log[n].iter().skip(from).take(most).cloned().collect();
        if facts.is_empty() {
            return;
        }
        let states = self.store.partitions().await.unwrap();
        let expected = states[partition(n).index()].position.clone();
        self.folded[n] += facts.len();
        let batch = batch(partition(n), expected, &facts);
        let outcomes = self.store.fold(vec![batch], self.now).await.unwrap();
        assert!(matches!(outcomes[..], [FoldOutcome::Written { .. }]));
    }

    async fn is_as_the_log_says(&mut self) {
        for n in 0..2 {
            self.fold(n, usize::MAX).await;
        }
        let usage = self.store.usage(PROJECT, ProjectLimits::default());
        let many = usage.await.unwrap().active;
        let active = self.store.active(PROJECT, 1000).await.unwrap();
        assert_eq!(many, u64::try_from(active.len()).unwrap());
        let active: BTreeSet<_> = active.into_iter().collect();
        let known: BTreeSet<_> = self.lives.iter().map(Life::run).collect();
        assert!(active.is_subset(&known), "{active:?}");
        for name in NAMES {
            let holders = self.holders(name).await;
            for holder in &holders {
                assert!(known.contains(&holder.run), "{holder:?}");
            }
            let hold = |run: Run| holders.iter().find(|h| h.run == run).map(|h| h.hold);
            for life in self.lives.iter().filter(|life| life.name() == name) {
                Self::stands(life, hold(life.run()), active.contains(&life.run()));
            }
        }
    }

    fn stands(life: &Life, hold: Option<Hold>, is_active: bool) {
        let state = hold.map(|hold| hold.state);
        let run = life.run();
        if life.is_live() {
            assert_eq!((state, is_active), (Some(HoldState::Live), true), "{run}");
        } else if life.is_published {
            let made = life.made().then_some(HoldState::Made);
            assert_eq!((state, is_active), (made, false), "{run}");
        } else if life.is_coming() && life.passes.iter().any(|pass| pass.is_known) {
            assert_eq!((state, is_active), (Some(HoldState::Taken), true), "{run}");
        } else {
            let taken = Some(HoldState::Taken);
            assert!(
                state.is_none() || (state == taken && life.is_known),
                "{run}"
            );
        }
    }

    /// Who holds a name, as a stranger finds it.
    async fn holders(&mut self, name: &str) -> Vec<Holder> {
        let spec = self.spec(|spec| {
            spec.unique = vec![Unique {
                key: name.to_owned(),
                scope: Scope::Active,
                queue: false,
            }];
        });
        let mut entry = Self::entry(&spec, 0);
        entry.limits = ProjectLimits::default();
        match self.store.enter(PROJECT, &entry).await.unwrap().0 {
            Entered::Held(holders) => holders,
            Entered::In { since, .. } => {
                let left = self.store.leave(PROJECT, entry.run, &entry.keys, since);
                left.await.unwrap();
                Vec::new()
            }
            other => panic!("{other:?}"),
        }
    }
}
