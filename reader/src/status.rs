//! What readiness and tests look at.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

/// How a reader is.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Partitions held.
    pub held: usize,
    /// When a batch was written last.
    pub written_at: Option<Instant>,
    /// The lowest offset that every partition held has.
    pub lowest: Option<u64>,
    /// When the newest entry folded was published.
    pub newest: Option<Timestamp>,
    /// How full the store is, when ended jobs are forgotten early for it.
    pub pressed: Option<f64>,
    /// Why the topology is not what it should be, when that is so.
    pub undeclared: Option<String>,
    /// Why nothing is being written, when that is so.
    pub trouble: Option<String>,
    /// How indexing goes.
    pub search: SearchStatus,
}

/// How the log gets into the search cluster.
#[derive(Debug, Clone, Default)]
pub struct SearchStatus {
    /// Whether it is this reader that does it.
    pub indexing: bool,
    /// When the newest entry that the cluster has was published.
    pub newest: Option<Timestamp>,
    /// Why nothing is being indexed, when that is so.
    pub trouble: Option<String>,
    /// Why documents were refused for what they are.
    pub refusals: BTreeSet<String>,
}

/// Shares a [`Status`].
#[derive(Debug, Clone, Default)]
pub struct StatusWatch(Arc<Mutex<Status>>);

impl StatusWatch {
    /// Returns the status now.
    pub fn get(&self) -> Status {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Says why the reader is not ready: the topology is not declared, or it is in trouble, or holds partitions and has written
    /// nothing for `limit` (a mark arrives every second while a server runs).
    pub fn not_ready(&self, limit: Duration) -> Option<String> {
        let status = self.get();
        if let Some(reason) = status.undeclared.or(status.trouble) {
            return Some(reason);
        }
        let since = status.written_at?.elapsed();
        (status.held > 0 && since > limit)
            .then(|| format!("nothing folded for {} s", since.as_secs()))
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
