//! Finding a project's jobs by words.
//!
//! The search cluster says which jobs; what they are is read from the view, as everywhere. So a job of
//! another project, or one that somebody has only invented in the log, is not shown whatever the cluster
//! says; nor is one that the view has forgotten.

use std::time::Duration;

use tokio::{sync::SemaphorePermit, time::Instant};
use vmctl_api_types::{Kind, ProblemType};
use vmctl_core::store::IndexKey;
use vmctl_search::{Cluster, Find, Key, SearchError};

use crate::{
    app::App,
    error::ApiError,
    http::query::bad,
    jobs::list::{Filter, Lines, Order},
};

/// Characters of what is looked for.
const MOST_TEXT: usize = 256;

/// Words of it: each is looked for in every field.
const MOST_WORDS: usize = 16;

/// One search, over as many pages of the cluster as it takes.
pub(crate) struct Search<'a> {
    cluster: &'a Cluster,
    text: &'a str,
    until: Instant,
    _slot: SemaphorePermit<'a>,
}

impl<'a> Search<'a> {
    /// Begins a search, if there is a place for it.
    pub fn begin(app: &'a App, text: &'a str) -> Result<Self, ApiError> {
        let text = text.trim();
        if !(1..=MOST_TEXT).contains(&text.chars().count()) {
            return Err(bad(format!("q has 1 to {MOST_TEXT} characters")));
        }
        if text.split_whitespace().count() > MOST_WORDS {
            return Err(bad(format!("q has at most {MOST_WORDS} words")));
        }
        let cluster = app.config.search.as_ref();
        let cluster = cluster.ok_or(ProblemType::SearchNotSetUp)?;
        let slot = app.searches.try_acquire().map_err(|_| {
            ApiError::new(ProblemType::SearchUnavailable).detail("too many searches are under way")
        })?;
        Ok(Self {
            cluster,
            text,
            until: Instant::now() + app.config.limits.search_deadline,
            _slot: slot,
        })
    }

    /// Says whether a page must end with what it has.
    pub fn is_late(&self) -> bool {
        self.left().is_zero()
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Reads the next places of jobs that fit, in the order of the list.
    pub async fn lines(
        &self,
        project: &str,
        filter: &Filter,
        after: Option<&IndexKey>,
        size: usize,
    ) -> Result<Lines, ApiError> {
        let find = Find {
            project,
            text: self.text,
            kind: filter.kind.as_ref().map(Kind::as_str),
            parent: filter.parent,
            root: filter.root,
            created_from: filter.created_after,
            created_to: filter.created_before,
            oldest_first: filter.order == Order::OldestFirst,
            after: after.map(|key| Key {
                created_at: key.created_at,
                job: key.id,
            }),
            size,
        };
        let started = Instant::now();
        let found = self.cluster.find(&find, self.left()).await;
        let outcome = found.as_ref().err().map_or("ok", SearchError::word);
        metrics::counter!("search_requests_total", "outcome" => outcome).increment(1);
        metrics::histogram!("search_duration_seconds").record(started.elapsed().as_secs_f64());
        let found = found.map_err(unavailable)?;
        let line = |key: Key| IndexKey {
            created_at: key.created_at,
            id: key.job,
        };
        Ok(Lines {
            keys: found.keys.into_iter().map(line).collect(),
            full: found.named == size,
            whole: found.whole,
        })
    }
}

fn unavailable(error: SearchError) -> ApiError {
    let detail = match error.status() {
        Some(404) => "nothing has been indexed yet",
        _ => "the search cluster gives no answer; jobs can be listed without q",
    };
    ApiError::new(ProblemType::SearchUnavailable)
        .detail(detail)
        .because(error)
}
