//! Puts the log into Elasticsearch or OpenSearch, with a position of its own.
//!
//! ```text
//! lease -> prepare -> read position -> attach -> gather -> deliver -> write position
//!   ^         ^                                    ^                      |
//!   |         +--- cluster away, log lost          +----------------------+
//!   +--- lease lost
//! ```
//!
//! Nothing else waits for it: while the cluster is away, jobs are taken, run and shown as ever, and the
//! log is read on where it was left. What must always hold: the position is written after the cluster
//! has every document before it; no more is read ahead than one batch.
//!
//! Only the holder of a lease works. Correctness does not need that: the id of a document is the event's,
//! so one that is sent twice is there once.

mod attach;
mod batch;
mod deliver;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    bus::{BusError, Log, LogReader},
    clock::Clock,
    error::chain,
    store::{FoldStore, Position},
};
use vmctl_search::{Cluster, Flavour, SearchError};

use crate::{Backoff, Config, StatusWatch, metrics};

use batch::Batch;

/// After how long without a sign another reader takes over.
const LEASE: Duration = Duration::from_secs(10);

/// How often the lease is looked at.
const LOOK: Duration = Duration::from_secs(3);

/// The longest wait for a cluster that is away.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a batch waits for more entries once it has one.
const LINGER: Duration = Duration::from_secs(1);

/// How often the position is written while only marks come.
const IDLE: Duration = Duration::from_secs(30);

/// How often the lag is measured.
const MEASURE: Duration = Duration::from_secs(5);

/// Where the log is searched.
#[derive(Debug, Clone)]
pub struct Search {
    /// The cluster.
    pub cluster: Cluster,
    /// How long it keeps an event at least.
    pub retention: Duration,
}

pub(crate) struct Indexer {
    pub search: Search,
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn FoldStore>,
    pub clock: Arc<dyn Clock>,
    pub config: Config,
    pub status: StatusWatch,
}

/// Why indexing starts anew.
#[derive(Debug, thiserror::Error)]
enum Restart {
    #[error("the log cannot be read")]
    Log(#[from] BusError),
    #[error("the log is not indexed")]
    Cluster(#[from] SearchError),
    #[error("the data stream is gone from the search cluster")]
    Gone,
    #[error("another reader indexes now")]
    Lease,
}

/// A place in the log, and what is known to be in the cluster.
struct Session {
    reader: Box<dyn LogReader>,
    flavour: Flavour,
    /// What the cluster has as the position, and when that was written.
    written: Option<Position>,
    written_at: Instant,
    looked_at: Instant,
    /// Most bytes of one request; less once the cluster has said so.
    most_bytes: usize,
}

impl Indexer {
    pub(crate) async fn run(self, shutdown: &CancellationToken) {
        tokio::join!(self.index(shutdown), self.measure(shutdown));
    }

    async fn index(&self, shutdown: &CancellationToken) {
        let mut backoff = Backoff::up_to(PATIENCE);
        while !shutdown.is_cancelled() {
            let restart = tokio::select! {
                () = shutdown.cancelled() => return,
                restart = self.session(&mut backoff) => restart,
            };
            let wait = async {
                if matches!(restart, Restart::Lease) {
                    tokio::time::sleep(LOOK).await;
                } else {
                    self.trouble(&restart);
                    backoff.wait().await;
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = wait => {}
            }
        }
    }

    /// Indexes until something makes it start anew. What is in hand when it is dropped is read again.
    async fn session(&self, backoff: &mut Backoff) -> Restart {
        let Err(restart) = self.follow(backoff).await;
        restart
    }

    async fn follow(&self, backoff: &mut Backoff) -> Result<std::convert::Infallible, Restart> {
        self.hold().await?;
        let cluster = &self.search.cluster;
        let flavour = self.counted(cluster.prepare(self.search.retention).await)?;
        let position = self.counted(cluster.position().await)?;
        tracing::info!(cluster = ?flavour, position = ?position, "indexing the log");
        let mut session = self.attach(position, flavour).await?;
        loop {
            if session.looked_at.elapsed() >= LOOK {
                self.hold().await?;
                session.looked_at = Instant::now();
            }
            let batch = self.gather(&mut session).await?;
            self.take(&mut session, batch).await?;
            backoff.reset();
        }
    }

    /// Delivers a batch, then writes where it ends.
    async fn take(&self, session: &mut Session, batch: Batch) -> Result<(), Restart> {
        metrics::add(metrics::SEARCH_DOCUMENTS, "unusable", batch.unusable);
        let has_documents = !batch.documents.is_empty();
        if has_documents {
            self.deliver(session, batch.documents).await?;
        }
        if has_documents || session.written_at.elapsed() >= IDLE {
            self.write(session, batch.end).await?;
        }
        self.status.update(|status| {
            status.search.newest = batch.newest.or(status.search.newest);
            status.search.trouble = None;
        });
        Ok(())
    }

    async fn write(&self, session: &mut Session, end: Option<Position>) -> Result<(), Restart> {
        let Some(end) = end.filter(|end| session.written.as_ref() != Some(end)) else {
            return Ok(());
        };
        let written = self.search.cluster.set_position(&end, self.clock.now());
        self.counted(written.await)?;
        session.written = Some(end);
        session.written_at = Instant::now();
        Ok(())
    }

    /// Takes the lease, or finds that another reader has it. Without the store everybody works: what is
    /// done twice does no harm.
    async fn hold(&self) -> Result<(), Restart> {
        let holder = self.store.claim("", "search", &self.config.name, LEASE);
        let is_ours = match holder.await {
            Ok(holder) => holder == self.config.name,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the lease on the search index is not known");
                true
            }
        };
        self.status
            .update(|status| status.search.indexing = is_ours);
        if is_ours { Ok(()) } else { Err(Restart::Lease) }
    }

    fn counted<T>(&self, answer: Result<T, SearchError>) -> Result<T, SearchError> {
        let outcome = answer.as_ref().err().map_or("ok", SearchError::word);
        metrics::add(metrics::SEARCH_REQUESTS, outcome, 1);
        if let Err(error) = &answer {
            self.status
                .update(|status| status.search.trouble = Some(chain(error)));
        }
        answer
    }

    fn trouble(&self, restart: &Restart) {
        let trouble = chain(restart);
        tracing::warn!(error = %trouble, "indexing stopped, trying again");
        self.status
            .update(|status| status.search.trouble = Some(trouble));
    }

    /// Says how old the newest entry is that the cluster has, also while it is away.
    async fn measure(&self, shutdown: &CancellationToken) {
        let started = self.clock.now();
        let mut interval = tokio::time::interval(MEASURE);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = interval.tick() => {}
            }
            let search = self.status.get().search;
            let newest = search.newest.unwrap_or(started);
            let lag = self.lag(newest).filter(|_| search.indexing);
            ::metrics::gauge!(metrics::SEARCH_LAG).set(lag.unwrap_or(0.0));
        }
    }

    fn lag(&self, newest: Timestamp) -> Option<f64> {
        let lag = self.clock.now().duration_since(newest).as_secs_f64();
        (lag > 0.0).then_some(lag)
    }
}
