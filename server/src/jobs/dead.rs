//! Jobs that have failed for good, of many projects, and running them again.
//!
//! The list is a view of the log, as everything else that is asked: looking at it takes nothing from the
//! queue of dead messages, which is for whoever has to see the very message. One request looks at a
//! bounded number of jobs; a list that ends early has a cursor.

use std::sync::Arc;

use vmctl_api_types::{DeadJob, JobId, JobState, Kind, ProblemType};
use vmctl_core::{
    partition::Partition,
    record::{Record, Winner},
    store::{DeadKey, IndexKey, Lookup},
};

use crate::{
    app::App,
    error::ApiError,
    jobs::{
        list, retry,
        view::{Reach, is_behind, not_found, rebuilding},
    },
};

/// Lines that are read in one step.
const STEP: usize = 200;

/// Which dead jobs are wanted.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// All projects when absent.
    pub project: Option<String>,
    pub kind: Option<Kind>,
    /// The type of the error.
    pub error: Option<String>,
}

impl Filter {
    fn takes(&self, job: &DeadJob) -> bool {
        let error = job.error.as_ref().map(|error| &error.error_type);
        matches(self.project.as_ref(), job.project_id.as_ref())
            && matches(self.kind.as_ref(), job.kind.as_ref())
            && matches(self.error.as_ref(), error)
    }
}

/// Says whether what is there is what was asked for, if anything was.
fn matches<T: PartialEq>(wanted: Option<&T>, have: Option<&T>) -> bool {
    wanted.is_none() || wanted == have
}

/// One page.
pub(crate) struct Page {
    pub items: Vec<DeadJob>,
    /// Where the next page starts.
    pub next: Option<DeadKey>,
}

/// Reads one page of dead jobs, newest first.
pub(crate) async fn page(
    app: &App,
    filter: &Filter,
    mut after: Option<DeadKey>,
    limit: usize,
) -> Result<Page, ApiError> {
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let mut scanned = 0;
    while scanned < app.config.limits.scan {
        let keys = app.bounded(app.store.dead(after.as_ref(), STEP)).await?;
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        let lookups = app.bounded(app.store.get_many(&ids)).await?;
        scanned += keys.len();
        let full = keys.len() == STEP;
        for (key, lookup) in keys.into_iter().zip(lookups) {
            // The page is full and a line is left: there is a next page.
            if page.items.len() == limit {
                page.next = after;
                return Ok(page);
            }
            let job = lookup.record.and_then(|record| show(app, key.id, &record));
            page.items.extend(job.filter(|job| filter.takes(job)));
            after = Some(key);
        }
        page.next = full.then(|| after.clone()).flatten();
        if !full {
            break;
        }
    }
    Ok(page)
}

/// Returns a job as it is listed; `None` unless it is dead.
fn show(app: &App, id: JobId, record: &Record) -> Option<DeadJob> {
    let winner = record.winner.as_ref().filter(|winner| winner.is_dead())?;
    let spec = record.spec.as_ref().map(|submission| &submission.spec);
    let known = |kind: &Kind| app.registry.get(kind).is_some();
    Some(DeadJob {
        id,
        kind: spec.map(|spec| spec.kind.clone()),
        project_id: spec.map(|spec| spec.auth.project_id.clone()),
        epoch: winner.epoch,
        attempt: winner.attempt,
        died_at: winner.time,
        expires_at: record.shortened.unwrap_or(winner.expires),
        error: winner.body.error.clone(),
        replayable: spec.is_some_and(|spec| known(&spec.kind)),
    })
}

/// Runs a dead job again in its next epoch, for the user that has asked for it first. `project` is the
/// one whose jobs may be run, `None` any. Returns the epoch.
///
/// # Errors
///
/// `not-retryable` for a job that is not dead or whose command cannot be read, `job-not-found`, and
/// whatever a submission may answer.
pub(crate) async fn replay(
    app: &Arc<App>,
    project: Option<&str>,
    id: JobId,
    traceparent: Option<String>,
) -> Result<u32, ApiError> {
    let seen = app.seen.reach(Partition::of(id));
    let lookup = app.get(id).await?;
    let record = dead(app, project, id, lookup, seen)?;
    let published = retry::retry(app, id, record, traceparent).await?;
    let opened = published.record.winner.map(|winner| winner.epoch);
    Ok(opened.unwrap_or_default())
}

/// Returns the record of a job that can be run again.
fn dead(
    app: &App,
    project: Option<&str>,
    id: JobId,
    lookup: Lookup,
    seen: Reach,
) -> Result<Record, ApiError> {
    let behind = is_behind(app, Partition::of(id), &lookup.partition, seen);
    let refused = |why: String| ApiError::new(ProblemType::NotRetryable).job(id).detail(why);
    let owner = |record: &Record| {
        let spec = record.spec.as_ref().map(|submission| &submission.spec);
        spec.map(|spec| spec.auth.project_id.clone())
    };
    let found = lookup
        .record
        .filter(|record| project.is_none() || owner(record).as_deref() == project);
    let Some(record) = found else {
        return Err(if behind {
            rebuilding(id)
        } else {
            not_found(id)
        });
    };
    match &record.winner {
        Some(winner) if !winner.is_dead() => Err(refused(said(winner))),
        // A retry that the view has lost would be opened a second time.
        Some(_) if behind => Err(rebuilding(id)),
        _ if record.spec.is_none() => Err(refused(
            "its command cannot be read, so there is nothing to publish again; the message itself is \
             in the queue jobs.dead"
                .to_owned(),
        )),
        _ => Ok(record),
    }
}

/// Says how a job stands that is not dead.
fn said(winner: &Winner) -> String {
    match winner.state {
        JobState::Failed => "the job has run out of time".to_owned(),
        JobState::Succeeded => "the job has succeeded".to_owned(),
        JobState::Cancelled => "the job was cancelled".to_owned(),
        live => format!("the job is {live}"),
    }
}

/// Writes a place in the list as an opaque text.
pub(crate) fn cursor(key: &DeadKey) -> String {
    list::cursor(&IndexKey {
        created_at: key.died_at,
        id: key.id,
    })
}

/// Reads it back.
pub(crate) fn parse_cursor(text: &str) -> Result<DeadKey, ApiError> {
    list::parse_cursor(text).map(|key| DeadKey {
        died_at: key.created_at,
        id: key.id,
    })
}
