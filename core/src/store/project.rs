//! What a project has under way: its active runs, the keys that they hold, and how fast it submits.
//!
//! Whoever publishes the command that opens a run *enters* the run before: a server, or the worker of a
//! job that asks for another one. Whoever folds the log *notes* what it reads. Both may be repeated in any
//! number. Active runs are a set and not a counter, and every entry of it ends by itself, so that it
//! heals whatever was lost on the way. After a flush it is empty until the log was read again: until then
//! limits and keys are advisory.
//!
//! A key may have several holders: jobs that were accepted while nobody could tell. It is free when
//! it has none.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use vmctl_api_types::{JobId, JobState};

use super::StoreError;
use crate::{
    clock,
    fact::JobFact,
    record::Record,
    turn,
    unique::{Scope, Unique},
};

/// How long after its deadline a run that nobody has ended counts as active: the sweep has ended it
/// by then.
pub const GRACE: Duration = Duration::from_secs(600);

/// How long it is remembered that a run has ended, so that what comes late about it does not make it
/// active again.
pub const ENDED: Duration = Duration::from_secs(60);

/// How long a publish that is under way may take at most, whatever it waits for.
pub const UNDER_WAY: Duration = Duration::from_secs(30);

/// One run of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run {
    /// The job.
    pub job: JobId,
    /// The run.
    pub epoch: u32,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.job, self.epoch)
    }
}

/// A text that is no run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no run: {0:?}")]
pub struct ParseRunError(String);

impl FromStr for Run {
    type Err = ParseRunError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (job, epoch) = text.split_once(':')?;
            Some(Self {
                job: job.parse().ok()?,
                epoch: epoch.parse().ok()?,
            })
        };
        parse().ok_or_else(|| ParseRunError(text.to_owned()))
    }
}

/// How many submissions a project has in how long. All of them may come at once; then they come
/// back one by one, evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub quota: u32,
    /// In how long.
    pub window: Duration,
}

impl Rate {
    /// Returns the microseconds after which one more submission is there, at least 1.
    pub fn interval_us(self) -> u64 {
        let whole = self.window.as_micros() / u128::from(self.quota.max(1));
        u64::try_from(whole).unwrap_or(u64::MAX).max(1)
    }
}

/// What a project may have. `None` sets no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProjectLimits {
    /// Runs at a time that have not ended.
    pub active: Option<u64>,
    /// Submissions.
    pub rate: Option<Rate>,
}

impl ProjectLimits {
    /// Reads limits as settings give them: 0 sets none. The window is at least a second.
    pub fn from_settings(active: u32, submissions: u32, window: Duration) -> Self {
        Self {
            active: (active > 0).then(|| active.into()),
            rate: (submissions > 0).then(|| Rate {
                quota: submissions,
                window: window.max(Duration::from_secs(1)),
            }),
        }
    }
}

/// A run that wants to enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The run.
    pub run: Run,
    /// Until when it counts if nobody says that it has ended.
    pub expires: Timestamp,
    /// Keys that it must hold.
    pub keys: BTreeSet<String>,
    /// Keys of what others made that are no obstacle: the run is to free them.
    pub frees: BTreeSet<String>,
    /// Whether it waits for its turn at keys that others hold. Then it is held up only by a key whose
    /// jobs have all ended and that is [made](HoldState::Made), or that has [`turn::MOST`] of them.
    pub queue: bool,
    /// What the project may have.
    pub limits: ProjectLimits,
}

impl Entry {
    /// Returns those holders of a key that keep the run out.
    pub fn kept_out_by(&self, mut others: Vec<Holder>) -> Vec<Holder> {
        let is_made = |holder: &Holder| holder.hold.state == HoldState::Made;
        others.retain(|holder| !is_made(holder) || !self.frees.contains(&holder.key));
        let made = others.iter().filter(|holder| is_made(holder)).count();
        let live = others.len() - made;
        if self.queue && (1..turn::MOST).contains(&live) {
            return Vec::new();
        }
        others
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entered {
    /// It is in. `fresh` when it was not before.
    In {
        /// Whether it is new.
        fresh: bool,
        /// Since when it holds its keys, as far as this entrance goes: each later entrance of the same
        /// run has a later moment.
        since: Timestamp,
    },
    /// Nothing was written: others hold keys of it.
    Held(Vec<Holder>),
    /// Nothing was written: the project has as many active runs as it may have.
    Full,
    /// Nothing was written: the project has submitted too much lately.
    TooFast,
}

/// Who holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The key.
    pub key: String,
    /// The run.
    pub run: Run,
    /// How.
    pub hold: Hold,
}

impl Holder {
    /// Says whether its command may still be on its way: nobody finds a job behind it yet.
    pub fn is_under_way(&self, now: Timestamp) -> bool {
        self.hold.state == HoldState::Taken && clock::add(self.hold.since, UNDER_WAY) > now
    }

    /// Says whether the job behind the key still has it.
    pub fn has_it(&self, record: &Record) -> bool {
        let Some(winner) = &record.winner else {
            return false;
        };
        if winner.epoch != self.run.epoch {
            // A retry that is under way is in no record yet.
            return winner.epoch < self.run.epoch && self.hold.state == HoldState::Taken;
        }
        match winner.state {
            JobState::Succeeded => self.hold.state == HoldState::Made,
            state => !state.is_terminal(),
        }
    }
}

/// How a key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// What is known of the holder.
    pub state: HoldState,
    /// Since when: of what has succeeded, when it did.
    pub since: Timestamp,
    /// Until when if nobody frees it.
    pub expires: Timestamp,
}

/// What is known of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// Somebody was about to publish its command.
    Taken,
    /// The log has it.
    Live,
    /// It has succeeded, and what it made has the name.
    Made,
}

impl HoldState {
    /// Returns the letter that stands for it.
    pub const fn letter(self) -> char {
        match self {
            Self::Taken => 't',
            Self::Live => 'l',
            Self::Made => 'm',
        }
    }
}

/// How a key is held, as text: letter, since and expires in milliseconds.
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (since, expires) = (self.since.as_millisecond(), self.expires.as_millisecond());
        write!(f, "{} {since} {expires}", self.state.letter())
    }
}

impl FromStr for Hold {
    type Err = ParseRunError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut words = text.split(' ');
            let state = match words.next()? {
                "t" => HoldState::Taken,
                "l" => HoldState::Live,
                "m" => HoldState::Made,
                _ => return None,
            };
            let mut at = || Timestamp::from_millisecond(words.next()?.parse().ok()?).ok();
            Some(Self {
                state,
                since: at()?,
                expires: at()?,
            })
        };
        parse().ok_or_else(|| ParseRunError(text.to_owned()))
    }
}

/// What a project uses of its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Active runs.
    pub active: u64,
    /// Submissions that may come at once.
    pub left: u64,
    /// Time until one more may come; zero when one may come now.
    pub wait: Duration,
    /// Time until all of them may come again.
    pub reset: Duration,
}

impl Usage {
    /// Works out what is left of the rate, this long before all of it is there again.
    pub fn new(active: u64, reset: Duration, limits: ProjectLimits) -> Self {
        let mut usage = Self {
            active,
            reset,
            ..Self::default()
        };
        let Some(rate) = limits.rate else {
            return usage;
        };
        let interval = u128::from(rate.interval_us());
        let quota = u128::from(rate.quota.max(1));
        let micros = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        usage.left = micros(quota.saturating_sub(reset.as_micros().div_ceil(interval)));
        if usage.left == 0 {
            let wait = reset.as_micros().saturating_sub((quota - 1) * interval);
            usage.wait = Duration::from_micros(micros(wait));
        }
        usage
    }
}

/// What a fact says about its project's standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The project.
    pub project: String,
    /// The run.
    pub run: Run,
    /// What it says.
    pub change: Change,
    /// Keys that the run holds.
    pub unique: Vec<Unique>,
    /// Keys that are free once it has succeeded.
    pub frees: Vec<String>,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is active, until then if nobody says more.
    Live {
        /// Until when.
        expires: Timestamp,
    },
    /// It has failed or was cancelled.
    Ended,
    /// It has succeeded.
    Made {
        /// When.
        at: Timestamp,
        /// When its record is forgotten.
        expires: Timestamp,
    },
}

impl Note {
    /// Reads a fact; `None` when it does not say whose job it is about, or says nothing of it that
    /// counts at `now`.
    pub fn of(fact: &JobFact, now: Timestamp) -> Option<Self> {
        let spec = fact.spec.as_ref()?;
        let change = match fact.state {
            JobState::Succeeded => Change::Made {
                at: fact.time,
                expires: fact.expires,
            },
            state if state.is_terminal() => Change::Ended,
            _ => Change::Live {
                expires: expires(spec.deadline),
            },
        };
        let over = matches!(change, Change::Live { expires } if expires <= now);
        (!over).then(|| Self {
            project: spec.auth.project_id.clone(),
            run: Run {
                job: fact.job,
                epoch: fact.epoch,
            },
            change,
            unique: spec.unique.clone(),
            frees: spec.frees.clone(),
        })
    }

    /// Returns the keys that the run keeps when it has succeeded.
    pub fn keeps(&self) -> impl Iterator<Item = &str> {
        let unique = self.unique.iter().filter(|u| u.scope == Scope::Result);
        unique.map(|u| u.key.as_str())
    }
}

/// Returns until when a run with this deadline counts if nobody says that it has ended.
pub fn expires(deadline: Timestamp) -> Timestamp {
    clock::add(deadline, GRACE)
}

/// What servers and workers ask of a project's standing. All of it is advisory.
#[async_trait]
pub trait ProjectStore: Send + Sync {
    /// Enters a run if the project's limits and the holders of its keys allow that: all of it or
    /// nothing. One that is in already spends nothing and is not limited. Time is the store's.
    async fn enter(&self, project: &str, entry: &Entry) -> Result<(Entered, Usage), StoreError>;

    /// Takes a run out again that [entered](Self::enter) `since` then and whose command was certainly
    /// not published. Keys that the log has confirmed stay, and so do those with which the run was
    /// entered again: somebody else may have published it. While a key stays, the run is active.
    async fn leave(
        &self,
        project: &str,
        run: Run,
        keys: &BTreeSet<String>,
        since: Timestamp,
    ) -> Result<(), StoreError>;

    /// Takes keys from holders that hold them exactly so; one that has changed since stays.
    async fn release(&self, project: &str, holders: &[Holder]) -> Result<(), StoreError>;

    /// Returns who holds these keys of a project, as they were written. Some may be over.
    async fn holders(&self, project: &str, keys: &[String]) -> Result<Vec<Holder>, StoreError>;

    /// Returns what a project uses.
    async fn usage(&self, project: &str, limits: ProjectLimits) -> Result<Usage, StoreError>;

    /// Returns at most `limit` active runs, those first that would end by themselves first.
    async fn active(&self, project: &str, limit: usize) -> Result<Vec<Run>, StoreError>;
}
