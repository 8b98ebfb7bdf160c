//! Listing a project's jobs, newest or oldest first.
//!
//! The index may name jobs that have expired; such lines are removed on the way, but only while the
//! view is known to be complete: otherwise the record may only be late. One request looks at a
//! bounded number of lines; a list that ends early has a cursor. Jobs that are searched for come in the same
//! order and in the same way, but for whoever names them.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use uuid::Uuid;
use vmctl_api_types::{Job, JobId, JobState, Kind};
use vmctl_core::{
    clock,
    partition::Partition,
    store::{IndexKey, Lookup, PartitionState},
};

use crate::{
    app::App,
    error::ApiError,
    http::query,
    jobs::{
        search::Search,
        view::{Reach, is_behind, own_mark},
    },
};

/// Lines of the index have whole ones.
const MILLISECOND: Duration = Duration::from_millis(1);

/// Lines that are read in one step.
const STEP: usize = 200;

/// Age from which on a line without a record is old enough to be judged.
const SETTLED: Duration = Duration::from_secs(60);

/// How old the newest mark may be while the view counts as complete.
const CAUGHT_UP: Duration = Duration::from_secs(10);

/// Which jobs are wanted.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub states: Vec<JobState>,
    pub kind: Option<Kind>,
    pub labels: BTreeMap<String, String>,
    /// Asked for by this job.
    pub parent: Option<JobId>,
    /// This job, and what was asked for below it.
    pub root: Option<JobId>,
    /// Later than this.
    pub created_after: Option<Timestamp>,
    /// Earlier than this.
    pub created_before: Option<Timestamp>,
    pub order: Order,
}

/// In which order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
}

impl Filter {
    /// Returns where the list begins: what comes behind this line is wanted.
    fn start(&self) -> Option<IndexKey> {
        match self.order {
            Order::NewestFirst => self.created_before.map(|at| IndexKey {
                // Lines have whole milliseconds: none of this one is lost.
                created_at: clock::add(at, MILLISECOND),
                id: JobId::from_uuid(Uuid::nil()),
            }),
            Order::OldestFirst => self.created_after.map(|at| IndexKey {
                created_at: at,
                id: JobId::from_uuid(Uuid::nil()),
            }),
        }
    }

    /// Says whether nothing is wanted from this line on.
    fn is_past(&self, key: &IndexKey) -> bool {
        match self.order {
            // Whatever else is of this millisecond.
            Order::NewestFirst => self
                .created_after
                .is_some_and(|at| clock::add(key.created_at, MILLISECOND) <= at),
            Order::OldestFirst => self.created_before.is_some_and(|at| key.created_at >= at),
        }
    }

    /// Says whether an event that announces this state is wanted.
    pub fn takes_event(&self, kind: &Kind, state: JobState) -> bool {
        (self.states.is_empty() || self.states.contains(&state))
            && self.kind.as_ref().is_none_or(|wanted| wanted == kind)
    }

    fn takes(&self, job: &Job) -> bool {
        let is_below = |root: JobId| job.root_id == Some(root) || job.id == root;
        self.takes_event(&job.kind, job.state)
            && self
                .parent
                .is_none_or(|parent| job.parent_id == Some(parent))
            && self.root.is_none_or(is_below)
            && self.created_after.is_none_or(|at| job.created_at > at)
            && self.created_before.is_none_or(|at| job.created_at < at)
            && self
                .labels
                .iter()
                .all(|(key, value)| job.labels.get(key) == Some(value))
    }
}

/// Who names the jobs.
pub(crate) enum Source<'a> {
    /// The project's index in the view.
    Index,
    /// The search cluster.
    Search(Search<'a>),
}

/// What a source has named in one step.
pub(crate) struct Lines {
    pub keys: Vec<IndexKey>,
    /// Whether there may be more.
    pub full: bool,
    /// Whether the source has looked everywhere.
    pub whole: bool,
}

/// One page.
pub(crate) struct Page {
    pub items: Vec<Job>,
    /// Where the next page starts.
    pub next: Option<IndexKey>,
    /// Whether the source has looked everywhere.
    pub whole: bool,
}

/// Reads one page of a project's jobs.
pub(crate) async fn page(
    app: &App,
    project: &str,
    filter: &Filter,
    source: &Source<'_>,
    after: Option<IndexKey>,
    limit: usize,
) -> Result<Page, ApiError> {
    let mut page = Page {
        items: Vec::new(),
        next: None,
        whole: true,
    };
    let mut after = after.or_else(|| filter.start());
    let mut stale = Vec::new();
    let mut scanned = 0;
    'pages: while scanned < app.config.limits.scan && !source.is_late() {
        let Lines { keys, full, whole } =
            source.lines(app, project, filter, after.as_ref()).await?;
        page.whole &= whole;
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        let seen: Vec<_> = ids
            .iter()
            .map(|id| app.seen.reach(Partition::of(*id)))
            .collect();
        let lookups = app.bounded(app.store.get_many(&ids)).await?;
        scanned += keys.len();
        for ((key, lookup), seen) in keys.into_iter().zip(lookups).zip(seen) {
            if filter.is_past(&key) {
                page.next = None;
                break 'pages;
            }
            // The page is full and a line is left: there is a next page.
            if page.items.len() == limit {
                page.next = after;
                break 'pages;
            }
            let number = Partition::of(key.id);
            app.seen.observe(number, &lookup.partition, app.now());
            match job(project, &lookup) {
                Some(job) if filter.takes(&job) => page.items.push(job),
                None if source.heals() && is_stale(app, &key, &lookup, seen) => {
                    stale.push(key.clone());
                }
                Some(_) | None => {}
            }
            after = Some(key);
        }
        page.next = full.then(|| after.clone()).flatten();
        if !full {
            break;
        }
    }
    heal(app, project, &stale).await;
    Ok(page)
}

impl Source<'_> {
    async fn lines(
        &self,
        app: &App,
        project: &str,
        filter: &Filter,
        after: Option<&IndexKey>,
    ) -> Result<Lines, ApiError> {
        let keys = match (self, filter.order) {
            (Self::Search(search), _) => return search.lines(project, filter, after, STEP).await,
            (Self::Index, Order::NewestFirst) => app.store.list(project, after, STEP),
            (Self::Index, Order::OldestFirst) => app.store.list_oldest(project, after, STEP),
        };
        let keys = app.bounded(keys).await?;
        Ok(Lines {
            full: keys.len() == STEP,
            keys,
            whole: true,
        })
    }

    /// Says whether the page must end with what it has.
    fn is_late(&self) -> bool {
        matches!(self, Self::Search(search) if search.is_late())
    }

    /// Says whether its lines are the view's own, which may be removed.
    const fn heals(&self) -> bool {
        matches!(self, Self::Index)
    }
}

fn job(project: &str, lookup: &Lookup) -> Option<Job> {
    lookup
        .record
        .as_ref()?
        .to_job()
        .filter(|job| job.project_id == project)
}

/// Says whether a line names a job that is gone for good.
fn is_stale(app: &App, key: &IndexKey, lookup: &Lookup, seen: Reach) -> bool {
    let now = app.now();
    let caught_up = |mark: Timestamp| clock::add(mark, CAUGHT_UP) > now;
    // By this server's own mark, as everything that is absent.
    lookup.record.is_none()
        && !is_behind(app, Partition::of(key.id), &lookup.partition, seen)
        && own_mark(app, &lookup.partition).is_some_and(caught_up)
        && clock::add(key.created_at, SETTLED) < now
}

async fn heal(app: &App, project: &str, stale: &[IndexKey]) {
    if stale.is_empty() {
        return;
    }
    if let Err(error) = app.bounded(app.store.unlist(project, stale)).await {
        tracing::debug!(
            error = crate::error::chain(&error),
            "the index was not healed"
        );
    }
}

/// Says whether jobs may be missing: some partition is behind, or is far from the marks that this server has had confirmed.
pub(crate) async fn is_incomplete(app: &App) -> Result<bool, ApiError> {
    if let Some(incomplete) = app.overview.recent() {
        return Ok(incomplete);
    }
    let seen: Vec<_> = Partition::all()
        .map(|number| app.seen.reach(number))
        .collect();
    let partitions = app.bounded(app.store.partitions()).await?;
    let expected = app
        .marks
        .newest()
        .and_then(|mark| mark.time.checked_sub(CAUGHT_UP).ok());
    let behind = |((number, state), seen): ((Partition, &PartitionState), Reach)| {
        app.seen.observe(number, state, app.now());
        is_behind(app, number, state, seen) || own_mark(app, state) < expected
    };
    let incomplete = Partition::all().zip(&partitions).zip(seen).any(behind);
    app.overview.remember(incomplete);
    Ok(incomplete)
}

/// Writes a place in a list as an opaque text.
pub(crate) fn cursor(key: &IndexKey) -> String {
    let text = format!("{} {}", key.created_at.as_nanosecond(), key.id);
    URL_SAFE_NO_PAD.encode(text)
}

/// Reads it back.
pub(crate) fn parse_cursor(text: &str) -> Result<IndexKey, ApiError> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (nanoseconds, id) = text.split_once(' ')?;
        Some(IndexKey {
            created_at: Timestamp::from_nanosecond(nanoseconds.parse().ok()?).ok()?,
            id: id.parse().ok()?,
        })
    };
    read().ok_or_else(|| query::bad("the cursor is not one of ours"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_nothing_else_is() {
        let key = IndexKey {
            created_at: "2026-11-23T17:00:00.123456789Z".parse().unwrap(),
            id: "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a".parse().unwrap(),
        };
        assert_eq!(parse_cursor(&cursor(&key)).unwrap(), key);
        for bad in ["", "x", "!!", "AAAA", "MTIz", &cursor(&key)[1..]] {
            assert_eq!(
                parse_cursor(bad).unwrap_err().problem().status,
                400,
                "{bad}"
            );
        }
    }
}
