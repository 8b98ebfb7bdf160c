//! What a project has under way.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{
    StoreFixture,
    support::{OneJob, until},
};
use crate::{
    event::{EventType, JobSpec},
    fact::JobFact,
    store::project::{Entered, Entry, HoldState, Holder, ProjectLimits, Rate, Run, Usage, expires},
    testing::store::sample::Saying,
    turn,
    unique::{Scope, Unique},
};

const KEY: &str = "vm:lx{1}";

/// A project's jobs, which are all in one partition.
struct Project<'a, F> {
    one: OneJob,
    fixture: &'a F,
    next: u64,
}

impl<'a, F: StoreFixture> Project<'a, F> {
    fn new(fixture: &'a F) -> Self {
        Self {
            one: OneJob::new(fixture),
            fixture,
            next: 0,
        }
    }

    fn spec(&self, name: &str, scope: Scope) -> JobSpec {
        let id = self.one.story.job_in(super::support::here(), name);
        JobSpec {
            unique: vec![Unique {
                key: KEY.to_owned(),
                scope,
                queue: false,
            }],
            ..self.one.story.spec(id, "demo", 0)
        }
    }

    async fn enter(&self, spec: &JobSpec, epoch: u32) -> Entered {
        self.enter_limited(spec, epoch, ProjectLimits::default())
            .await
            .0
    }

    async fn enter_limited(
        &self,
        spec: &JobSpec,
        epoch: u32,
        limits: ProjectLimits,
    ) -> (Entered, Usage) {
        let (mut entered, usage) = self.entered(spec, epoch, limits).await;
        if let Entered::In { since, .. } = &mut entered {
            *since = Timestamp::UNIX_EPOCH;
        }
        (entered, usage)
    }

    /// Enters, and returns since when.
    async fn enter_since(&self, spec: &JobSpec) -> Timestamp {
        match self.entered(spec, 0, ProjectLimits::default()).await.0 {
            Entered::In { since, .. } => since,
            other => panic!("{other:?}"),
        }
    }

    /// Gives the first run back.
    async fn leave(&self, spec: &JobSpec, since: Timestamp) {
        let run = Run {
            job: spec.id,
            epoch: 0,
        };
        let keys = BTreeSet::from([KEY.to_owned()]);
        let left = self.one.store.leave("demo", run, &keys, since);
        left.await.unwrap();
    }

    async fn entered(&self, spec: &JobSpec, epoch: u32, limits: ProjectLimits) -> (Entered, Usage) {
        let entry = Entry {
            run: Run {
                job: spec.id,
                epoch,
            },
            expires: expires(spec.deadline),
            keys: spec.unique.iter().map(|u| u.key.clone()).collect(),
            frees: spec.frees.iter().cloned().collect(),
            queue: spec.unique.iter().any(|unique| unique.queue),
            limits,
        };
        let store = &self.one.store;
        store.enter(&spec.auth.project_id, &entry).await.unwrap()
    }

    /// Folds a fact about a job.
    async fn say(&mut self, spec: &JobSpec, what: EventType, epoch: u32) {
        let fact = self.fact(spec, what, epoch);
        self.one.fold(&[fact]).await;
    }

    fn fact(&mut self, spec: &JobSpec, what: EventType, epoch: u32) -> JobFact {
        self.next += 1;
        let said = Saying {
            at: i64::try_from(self.next).unwrap(),
            ..super::support::said(what, epoch, 1, self.next)
        };
        self.one.story.fact(spec, &said, Some(self.next))
    }

    async fn active(&self) -> u64 {
        let usage = self.one.store.usage("demo", ProjectLimits::default());
        usage.await.unwrap().active
    }
}

/// What most cases compare; since when is told apart.
fn fresh() -> Entered {
    Entered::In {
        fresh: true,
        since: Timestamp::UNIX_EPOCH,
    }
}

fn again() -> Entered {
    Entered::In {
        fresh: false,
        since: Timestamp::UNIX_EPOCH,
    }
}

/// Returns the only holder, who must be this job.
fn holder(entered: Entered, spec: &JobSpec, state: HoldState) -> Holder {
    match entered {
        Entered::Held(mut holders) if holders.len() == 1 => {
            let holder = holders.remove(0);
            assert_eq!((holder.run.job, holder.hold.state), (spec.id, state));
            assert_eq!(holder.key, KEY);
            holder
        }
        other => panic!("{other:?}"),
    }
}

/// Of two jobs that want one key one gets it; asking again changes nothing.
pub async fn a_key_has_one_holder<F: StoreFixture>(fixture: &F) {
    let project = Project::new(fixture);
    let (a, b) = (
        project.spec("a", Scope::Active),
        project.spec("b", Scope::Active),
    );
    assert_eq!(project.enter(&a, 0).await, fresh());
    assert_eq!(project.enter(&a, 0).await, again());
    holder(project.enter(&b, 0).await, &a, HoldState::Taken);
    assert_eq!(project.active().await, 1);
    let mut other = b.clone();
    "other".clone_into(&mut other.auth.project_id);
    assert_eq!(project.enter(&other, 0).await, fresh());
}

/// One that was not published leaves nothing; what the log has stays.
pub async fn what_was_not_published_leaves<F: StoreFixture>(fixture: &F) {
    let mut project = Project::new(fixture);
    let (a, b) = (
        project.spec("a", Scope::Active),
        project.spec("b", Scope::Active),
    );
    let since = project.enter_since(&a).await;
    project.leave(&a, since).await;
    assert_eq!(project.active().await, 0);
    let since = project.enter_since(&b).await;
    project.say(&b, EventType::Submitted, 0).await;
    project.leave(&b, since).await;
    holder(project.enter(&a, 0).await, &b, HoldState::Live);
    assert_eq!(project.active().await, 1);
}

/// Of two servers that have entered one run, the first one gives back nothing that the second one needs.
pub async fn a_run_that_was_entered_again_stays<F: StoreFixture>(fixture: &F) {
    let project = Project::new(fixture);
    let (a, b) = (
        project.spec("a", Scope::Active),
        project.spec("b", Scope::Active),
    );
    let first = project.enter_since(&a).await;
    let second = project.enter_since(&a).await;
    assert!(second > first, "{second} is not after {first}");
    project.leave(&a, first).await;
    holder(project.enter(&b, 0).await, &a, HoldState::Taken);
    assert_eq!(project.active().await, 1);
    project.leave(&a, second).await;
    assert_eq!(project.active().await, 0);
    assert_eq!(project.enter(&b, 0).await, fresh());
}

/// Any end of a job frees its key and its place.
pub async fn an_end_frees_the_key<F: StoreFixture>(fixture: &F) {
    let mut project = Project::new(fixture);
    let ends = [
        EventType::Succeeded,
        EventType::Failed,
        EventType::Cancelled,
        EventType::Deadline,
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let spec = project.spec(&format!("job {n}"), Scope::Active);
        assert_eq!(project.enter(&spec, 0).await, fresh(), "{end}");
        project.say(&spec, EventType::Submitted, 0).await;
        project.say(&spec, EventType::Started, 0).await;
        assert_eq!(project.active().await, 1);
        project.say(&spec, end, 0).await;
        assert_eq!(project.active().await, 0);
        // What comes late changes nothing any more.
        project.say(&spec, EventType::Started, 0).await;
        project.say(&spec, EventType::CancelRequested, 0).await;
        assert_eq!(project.active().await, 0);
    }
}

/// An end frees what its own run holds, and not what the next one has taken.
pub async fn an_end_belongs_to_its_epoch<F: StoreFixture>(fixture: &F) {
    let mut project = Project::new(fixture);
    let (a, b) = (
        project.spec("a", Scope::Active),
        project.spec("b", Scope::Active),
    );
    project.say(&a, EventType::Submitted, 0).await;
    project.say(&a, EventType::Failed, 0).await;
    assert_eq!(project.enter(&a, 1).await, fresh());
    project.say(&a, EventType::Failed, 0).await;
    holder(project.enter(&b, 0).await, &a, HoldState::Taken);
    assert_eq!(project.active().await, 1);
    project.say(&a, EventType::Redriven, 1).await;
    holder(project.enter(&b, 0).await, &a, HoldState::Live);
    project.say(&a, EventType::Cancelled, 1).await;
    assert_eq!(project.enter(&b, 0).await, fresh());
}

/// What a job has made keeps the name until a job that frees it succeeds, in whatever order the two
/// are read; what was made later keeps it.
pub async fn what_was_made_keeps_the_key_until_it_is_freed<F: StoreFixture>(fixture: &F) {
    let mut project = Project::new(fixture);
    let (a, b) = (
        project.spec("a", Scope::Result),
        project.spec("b", Scope::Result),
    );
    let delete = JobSpec {
        unique: Vec::new(),
        frees: vec![KEY.to_owned()],
        ..project.spec("delete", Scope::Active)
    };
    let made = project.fact(&a, EventType::Succeeded, 0);
    project.one.fold(std::slice::from_ref(&made)).await;
    holder(project.enter(&b, 0).await, &a, HoldState::Made);
    let failed = project.fact(&delete, EventType::Failed, 0);
    project.one.fold(&[failed]).await;
    holder(project.enter(&b, 0).await, &a, HoldState::Made);
    project.say(&delete, EventType::Succeeded, 1).await;
    // Read again after it was freed, as when the log is read from its start.
    project.one.fold(&[made]).await;
    assert_eq!(project.enter(&b, 0).await, fresh());
    project.say(&b, EventType::Succeeded, 0).await;
    holder(project.enter(&a, 1).await, &b, HoldState::Made);
}

/// A holder is replaced only as it was seen.
pub async fn a_holder_is_released_as_it_was_seen<F: StoreFixture>(fixture: &F) {
    let mut project = Project::new(fixture);
    let (a, b) = (
        project.spec("a", Scope::Active),
        project.spec("b", Scope::Active),
    );
    assert_eq!(project.enter(&a, 0).await, fresh());
    let taken = holder(project.enter(&b, 0).await, &a, HoldState::Taken);
    project.say(&a, EventType::Submitted, 0).await;
    let store = project.one.store.clone();
    store.release("demo", &[taken]).await.unwrap();
    let live = holder(project.enter(&b, 0).await, &a, HoldState::Live);
    for _ in 0..2 {
        store
            .release("demo", std::slice::from_ref(&live))
            .await
            .unwrap();
        store
            .release("other", std::slice::from_ref(&live))
            .await
            .unwrap();
    }
    assert_eq!(project.enter(&b, 0).await, fresh());
    store.release("demo", &[]).await.unwrap();
}

/// After a flush the log brings back who is active and who holds what; two may then hold one key.
pub async fn a_rebuilt_standing_has_all_holders<F: StoreFixture>(fixture: &F) {
    let mut project = Project::new(fixture);
    let (a, b) = (
        project.spec("a", Scope::Active),
        project.spec("b", Scope::Active),
    );
    let submitted = project.fact(&a, EventType::Submitted, 0);
    project.one.fold(std::slice::from_ref(&submitted)).await;
    project.fixture.flush().await;
    assert_eq!(project.active().await, 0);
    assert_eq!(project.enter(&b, 0).await, fresh());
    project.one.fold(&[submitted]).await;
    assert_eq!(project.active().await, 2);
    let c = project.spec("c", Scope::Active);
    let Entered::Held(holders) = project.enter(&c, 0).await else {
        panic!("it must be held");
    };
    let jobs: BTreeSet<_> = holders.iter().map(|holder| holder.run.job).collect();
    assert_eq!(jobs, [a.id, b.id].into());
    project.say(&a, EventType::Failed, 0).await;
    holder(project.enter(&c, 0).await, &b, HoldState::Taken);
}

/// A project has as many active runs as it may have; one that is in may enter again.
pub async fn active_runs_are_limited<F: StoreFixture>(fixture: &F) {
    let mut project = Project::new(fixture);
    let limits = ProjectLimits {
        active: Some(2),
        rate: None,
    };
    let specs: Vec<_> = (0..3)
        .map(|n| JobSpec {
            unique: Vec::new(),
            ..project.spec(&n.to_string(), Scope::Active)
        })
        .collect();
    for (n, spec) in specs.iter().enumerate() {
        let (entered, usage) = project.enter_limited(spec, 0, limits).await;
        let expected = if n < 2 { fresh() } else { Entered::Full };
        assert_eq!(entered, expected);
        assert_eq!(usage.active, u64::try_from(n.min(1) + 1).unwrap());
    }
    assert_eq!(project.enter_limited(&specs[0], 0, limits).await.0, again());
    let active = project.one.store.active("demo", 10).await.unwrap();
    let jobs: BTreeSet<_> = active.iter().map(|run| run.job).collect();
    assert_eq!(jobs, specs[..2].iter().map(|spec| spec.id).collect());
    assert_eq!(project.one.store.active("demo", 1).await.unwrap().len(), 1);
    project.say(&specs[0], EventType::Succeeded, 0).await;
    assert_eq!(project.enter_limited(&specs[2], 0, limits).await.0, fresh());
}

/// A run that nobody ends does not count for ever, and holds no key for ever.
pub async fn a_run_ends_by_itself<F: StoreFixture>(fixture: &F) {
    let project = Project::new(fixture);
    let (a, b) = (
        project.spec("a", Scope::Active),
        project.spec("b", Scope::Active),
    );
    let short = Entry {
        run: Run {
            job: a.id,
            epoch: 0,
        },
        expires: crate::clock::add(fixture.now(), Duration::from_secs(2)),
        keys: [KEY.to_owned()].into(),
        frees: BTreeSet::new(),
        queue: false,
        limits: ProjectLimits::default(),
    };
    let entered = project.one.store.enter("demo", &short).await.unwrap().0;
    assert!(matches!(entered, Entered::In { fresh: true, .. }));
    until(fixture, "end of the run", async || {
        project.active().await == 0
    })
    .await;
    assert_eq!(project.enter(&b, 0).await, fresh());
}

/// All submissions of a rate may come at once, then one by one; what is refused or repeated spends
/// nothing.
pub async fn submissions_are_limited_by_a_rate<F: StoreFixture>(fixture: &F) {
    let project = Project::new(fixture);
    let limits = ProjectLimits {
        active: None,
        rate: Some(Rate {
            quota: 3,
            window: Duration::from_secs(3),
        }),
    };
    let spec = |n: u32| JobSpec {
        unique: Vec::new(),
        ..project.spec(&n.to_string(), Scope::Active)
    };
    for n in 0..3 {
        let (entered, usage) = project.enter_limited(&spec(n), 0, limits).await;
        assert_eq!(entered, fresh());
        assert!(usage.left >= u64::from(2 - n), "{usage:?}");
        let (entered, _) = project.enter_limited(&spec(n), 0, limits).await;
        assert_eq!(entered, again());
    }
    let (entered, usage) = project.enter_limited(&spec(3), 0, limits).await;
    assert_eq!(entered, Entered::TooFast);
    assert!(
        usage.wait > Duration::ZERO && usage.wait <= Duration::from_secs(1),
        "{usage:?}"
    );
    assert!(usage.reset <= Duration::from_secs(3), "{usage:?}");
    until(fixture, "one more submission", async || {
        project.enter_limited(&spec(3), 0, limits).await.0 == fresh()
    })
    .await;
    assert_eq!(project.active().await, 4);
}

/// What a job is to free does not keep it out.
pub async fn who_frees_what_was_made_enters<F: StoreFixture>(fixture: &F) {
    let mut project = Project::new(fixture);
    let made = project.spec("made", Scope::Result);
    project.say(&made, EventType::Succeeded, 0).await;
    let mut deletes = project.spec("deletes", Scope::Active);
    holder(project.enter(&deletes, 0).await, &made, HoldState::Made);
    deletes.frees = vec![KEY.to_owned()];
    assert_eq!(project.enter(&deletes, 0).await, fresh());
    let more = project.spec("more", Scope::Active);
    assert!(matches!(project.enter(&more, 0).await, Entered::Held(h) if h.len() == 2));
}

/// Who waits for its turn is kept out by what was made alone, and by a line that is full.
pub async fn who_waits_for_its_turn_enters_beside_live_holders<F: StoreFixture>(fixture: &F) {
    let mut project = Project::new(fixture);
    let queueing = |project: &Project<'_, F>, name: &str| {
        let mut spec = project.spec(name, Scope::Result);
        spec.unique[0].queue = true;
        spec
    };
    let made = project.spec("made", Scope::Result);
    project.say(&made, EventType::Succeeded, 0).await;
    let first = queueing(&project, "w0");
    holder(project.enter(&first, 0).await, &made, HoldState::Made);
    let other = project.spec("other", Scope::Active);
    project.say(&other, EventType::Submitted, 0).await;
    assert_eq!(project.enter(&first, 0).await, fresh());
    let keys = [KEY.to_owned(), "none".to_owned()];
    let holders = project.one.store.holders("demo", &keys).await.unwrap();
    assert_eq!(holders.len(), 3);
    assert!(holders.iter().all(|holder| holder.key == KEY));
    // The one who does not wait finds all of them in its way.
    let rejects = project.spec("rejects", Scope::Active);
    assert_eq!(project.enter(&rejects, 0).await, Entered::Held(holders));
    for n in 1..turn::MOST - 1 {
        let spec = queueing(&project, &format!("w{n}"));
        assert_eq!(project.enter(&spec, 0).await, fresh(), "{n}");
    }
    let last = queueing(&project, "last");
    let Entered::Held(holders) = project.enter(&last, 0).await else {
        panic!("the line is full");
    };
    assert_eq!(holders.len(), turn::MOST + 1);
}
