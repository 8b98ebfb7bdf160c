//! Whether a project may have one more job: its limits, and the names that the job wants.
//!
//! A run is entered before its command is published, so that of two submissions at the same moment, on
//! any two servers, one wins. Who holds a name is looked at before anybody is refused: a holder that
//! has ended, or that never was, loses it. Without the store a server limits the rate by itself, and
//! names are left to whoever makes what has them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use moka::future::Cache;
use tokio::time::Instant;
use vmctl_api_types::{JobId, JobState, Kind, ProblemType};
use vmctl_core::{
    record::Record,
    store::project::{Entered, Entry, Holder, ProjectLimits, Rate, Run, Usage, expires},
    turn,
};

use crate::{
    app::{App, within},
    error::ApiError,
    http::ratelimit::{self, ACTIVE_JOBS, SUBMIT},
    jobs::{unique::OnConflict, view},
};

/// How long an advisory question to the store may hold up a submission.
const ADVISORY: Duration = Duration::from_millis(500);

/// How often holders that have lost a name may be replaced for one submission.
const TRIES: usize = 4;

/// Most active runs that are looked at when a project is at its limit.
const HEAL: usize = 64;

/// How often that is done for a project.
const HEAL_EVERY: Duration = Duration::from_secs(5);

/// Projects that are remembered; beyond them some are forgotten.
const PROJECTS: u64 = 10_000;

/// When to try again, in seconds, when a project has too many active jobs.
const FULL_RETRY: u64 = 5;

/// What a server knows of projects by itself.
pub(crate) struct Standing {
    /// Projects whose active runs were looked at.
    healed: Cache<String, ()>,
    /// When all submissions of a project's rate may come again, by this server alone.
    local: Cache<String, Arc<Mutex<Instant>>>,
}

impl Default for Standing {
    fn default() -> Self {
        let cache = || Cache::builder().max_capacity(PROJECTS);
        Self {
            healed: cache().time_to_live(HEAL_EVERY).build(),
            local: Cache::new(PROJECTS),
        }
    }
}

/// A run that wants to enter, and what it wants.
pub(crate) struct Wish<'a> {
    pub project: &'a str,
    pub kind: &'a Kind,
    pub run: Run,
    pub deadline: Timestamp,
    pub keys: BTreeSet<String>,
    pub frees: BTreeSet<String>,
    pub on_conflict: OnConflict,
}

/// What became of it.
pub(crate) enum Entrance {
    /// It may be published.
    Open(Pass),
    /// Another job has the name, and is what the caller wants then.
    Existing(JobId, Box<Record>),
}

/// The right to publish. Give it back if nothing was published.
#[must_use]
pub(crate) struct Pass {
    project: String,
    run: Run,
    keys: BTreeSet<String>,
    fresh: bool,
    since: Timestamp,
    /// For the answer.
    pub fields: Vec<(HeaderName, HeaderValue)>,
}

impl Pass {
    /// Gives it back unless it is not known whether the command was published. What is not given back
    /// ends by itself, and is no obstacle: nobody finds a job behind it.
    pub async fn settle<T>(self, app: &App, published: &Result<T, ApiError>) {
        let Err(error) = published else { return };
        if !self.fresh || error.is(ProblemType::OutcomeUnknown) {
            return;
        }
        let left = app
            .store
            .leave(&self.project, self.run, &self.keys, self.since);
        if let Err(error) = within(ADVISORY, left).await {
            tracing::debug!(
                error = crate::error::chain(&error),
                "a run stays entered for now"
            );
        }
    }
}

/// Enters a run.
///
/// # Errors
///
/// `duplicate`, `quota-exceeded`, and `state-rebuilding` while nobody can tell what became of the
/// holder of a name.
pub(crate) async fn enter(app: &App, wish: Wish<'_>) -> Result<Entrance, ApiError> {
    let limits = limits(app, wish.kind);
    let entry = Entry {
        run: wish.run,
        expires: expires(wish.deadline),
        keys: wish.keys,
        frees: wish.frees,
        queue: wish.on_conflict == OnConflict::Queue,
        limits,
    };
    let mut last = None;
    for _ in 0..TRIES {
        let answer = within(ADVISORY, app.store.enter(wish.project, &entry)).await;
        let (entered, usage) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(error = crate::error::chain(&error), "limits are local now");
                return alone(app, wish.project, entry).await;
            }
        };
        match entered {
            Entered::In { fresh, since } => {
                let entered = (fresh, since);
                return Ok(Entrance::Open(pass(wish.project, entry, entered, usage)));
            }
            Entered::TooFast => return Err(too_fast(limits, usage)),
            Entered::Full => {
                if !heal(app, wish.project).await {
                    return Err(too_many(limits, usage));
                }
            }
            Entered::Held(holders) => {
                if let Some(conflict) = conflict(app, wish.project, &holders).await? {
                    return conflict.answer(wish.on_conflict);
                }
                last = holders.first().map(|holder| holder.run.job);
            }
        }
    }
    // Each time somebody else was faster.
    Err(match last {
        Some(job) => duplicate(job),
        None => ApiError::new(ProblemType::QuotaExceeded).retry_after(FULL_RETRY),
    })
}

/// What a project may have for one more job of a kind. While the kind's queue is busy nobody may have
/// more than a fair share, so that a project that floods cannot make it so long that others starve.
fn limits(app: &App, kind: &Kind) -> ProjectLimits {
    let limits = &app.config.limits;
    let mut project = limits.project;
    if app.admission.waiting(kind) >= limits.busy_queue {
        project.active = project.active.map(|most| most.min(limits.fair_share));
    }
    project
}

fn pass(project: &str, entry: Entry, (fresh, since): (bool, Timestamp), usage: Usage) -> Pass {
    Pass {
        project: project.to_owned(),
        run: entry.run,
        keys: entry.keys,
        fresh,
        since,
        fields: ratelimit::fields(entry.limits, usage),
    }
}

/// Enters by this server's own count.
async fn alone(app: &App, project: &str, entry: Entry) -> Result<Entrance, ApiError> {
    let limits = ProjectLimits {
        active: None,
        ..entry.limits
    };
    let entry = Entry { limits, ..entry };
    let Some(rate) = limits.rate else {
        return Ok(Entrance::Open(pass(
            project,
            entry,
            (false, app.now()),
            Usage::default(),
        )));
    };
    let now = Instant::now();
    let bucket = app
        .standing
        .local
        .get_with(project.to_owned(), async { Arc::new(Mutex::new(now)) })
        .await;
    let mut full_at = bucket.lock().unwrap_or_else(PoisonError::into_inner);
    let before = Usage::new(0, full_at.saturating_duration_since(now), limits);
    if before.left == 0 {
        return Err(too_fast(limits, before));
    }
    *full_at = (*full_at).max(now) + interval(rate);
    let usage = Usage::new(0, full_at.saturating_duration_since(now), limits);
    Ok(Entrance::Open(pass(
        project,
        entry,
        (false, app.now()),
        usage,
    )))
}

fn interval(rate: Rate) -> Duration {
    Duration::from_micros(rate.interval_us())
}

/// Another job that has a name.
struct Conflict {
    job: JobId,
    /// `None` while its submission is under way.
    record: Option<Box<Record>>,
}

impl Conflict {
    fn answer(self, on_conflict: OnConflict) -> Result<Entrance, ApiError> {
        match (on_conflict, self.record) {
            (OnConflict::Return, Some(record)) => Ok(Entrance::Existing(self.job, record)),
            (_, Some(record)) if record.state() == Some(JobState::Succeeded) => {
                Err(duplicate(self.job).detail(
                    "what that job made still exists, or is not known to be gone: delete it first",
                ))
            }
            (OnConflict::Queue, Some(_)) => Err(duplicate(self.job)
                .retry_after(FULL_RETRY)
                .detail(format!("{} jobs run or wait at that key", turn::MOST))),
            (_, Some(_)) => Err(duplicate(self.job).detail("that job has not ended yet")),
            (_, None) => Err(duplicate(self.job)
                .retry_after(1)
                .detail("that job is being submitted")),
        }
    }
}

/// Looks at the holders of names, and takes the names from those that have lost them; `None` when
/// none is left.
async fn conflict(
    app: &App,
    project: &str,
    holders: &[Holder],
) -> Result<Option<Conflict>, ApiError> {
    let mut lost = Vec::new();
    for holder in holders {
        let job = holder.run.job;
        let young = holder.is_under_way(app.now());
        let record = match view::find_of(app, project, job).await {
            Ok(record) => Some(record),
            Err(error) if error.is(ProblemType::StateRebuilding) && !young => return Err(error),
            Err(error) if error.is(ProblemType::StateUnavailable) => return Err(error),
            Err(_) => None,
        };
        let has_it = record.as_ref().is_some_and(|record| holder.has_it(record));
        if has_it || (record.is_none() && young) {
            let record = record.map(Box::new);
            return Ok(Some(Conflict { job, record }));
        }
        lost.push(holder.clone());
    }
    app.bounded(app.store.release(project, &lost)).await?;
    Ok(None)
}

/// Looks whether active runs have ended unnoticed, and takes them out. Says whether there were any.
async fn heal(app: &App, project: &str) -> bool {
    let first = app.standing.healed.entry(project.to_owned());
    if !first.or_insert(()).await.is_fresh() {
        return false;
    }
    let Ok(runs) = within(ADVISORY, app.store.active(project, HEAL)).await else {
        return false;
    };
    let jobs: Vec<_> = runs.iter().map(|run| run.job).collect();
    let Ok(lookups) = within(ADVISORY, app.store.get_many(&jobs)).await else {
        return false;
    };
    let no_keys = BTreeSet::new();
    let mut healed = false;
    for (run, lookup) in runs.into_iter().zip(lookups) {
        let winner = lookup.record.and_then(|record| record.winner);
        let ended = winner.is_some_and(|winner| {
            winner.epoch > run.epoch || (winner.epoch == run.epoch && winner.state.is_terminal())
        });
        if ended {
            let left = app.store.leave(project, run, &no_keys, app.now());
            healed |= within(ADVISORY, left).await.is_ok();
        }
    }
    healed
}

fn duplicate(job: JobId) -> ApiError {
    ApiError::new(ProblemType::Duplicate).job(job)
}

fn too_fast(limits: ProjectLimits, usage: Usage) -> ApiError {
    refused(SUBMIT, limits, usage)
        .retry_after(ratelimit::seconds(usage.wait).max(1))
        .detail("the project submits too many jobs at once; nothing was accepted")
}

fn too_many(limits: ProjectLimits, usage: Usage) -> ApiError {
    let used = usage.active;
    refused(ACTIVE_JOBS, limits, usage)
        .retry_after(FULL_RETRY)
        .detail(format!(
            "the project has {used} jobs that have not ended; nothing was accepted"
        ))
}

fn refused(policy: &'static str, limits: ProjectLimits, usage: Usage) -> ApiError {
    metrics::counter!("submissions_limited_total", "policy" => policy).increment(1);
    let error = ApiError::new(ProblemType::QuotaExceeded).violates(policy);
    ratelimit::fields(limits, usage)
        .into_iter()
        .fold(error, |error, (name, value)| error.header(name, value))
}
