//! Folds the log into the view of jobs, and ends jobs whose time is over.
//!
//! Nine loops run side by side, most of them on the partitions that this reader holds:
//!
//! - [`fold`]: entries of the log become records, in the same write as the position;
//! - [`leases`]: partitions are shared with the other readers alive;
//! - [`ticks`]: progress and lines of logs, which may be lost, are merged into records;
//! - [`lag`]: how far behind the reader is, in seconds and in entries;
//! - [`sweep`]: jobs past their deadline, or not started in time, are ended by an event in the log; those
//!   that nobody has spoken of for long are said again, to the log or to a queue that was emptied;
//! - [`pressure`]: in a store that is nearly full, records of ended jobs are forgotten earlier;
//! - `effects`: what must follow the end of a job is published, such as its callback;
//! - `reports`: what simple workers say becomes the events that they mean;
//! - [`search`]: entries of the log become documents of a search cluster, if there is one. It needs none of
//!   the others, and may run in a process of its own.
//!
//! What must always hold: the fold publishes nothing, so it may be rewound at any time; a position
//! is believed only after the very entry it names was seen again; nothing that the reader keeps in
//! memory is needed after a restart.

pub mod cursor;
mod declare;
mod effects;
mod emptied;
pub mod fold;
pub mod lag;
pub mod leases;
pub mod metrics;
pub mod pressure;
mod reports;
mod said;
pub mod search;
mod silent;
pub mod status;
pub mod sweep;
mod taking;
pub mod ticks;
mod traces;
mod trust;
mod turns;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use vmctl_core::{
    Kind,
    bus::{Bus, BusError},
    clock::Clock,
    fact::Retention,
    kinds::Registry,
    partition::Partition,
    store::FoldStore,
    topology::Topology,
};

pub use search::Search;
pub use status::{SearchStatus, Status, StatusWatch};

/// How a reader works.
#[derive(Debug, Clone)]
pub struct Config {
    /// Unique among the readers alive.
    pub name: String,
    /// How long a finished job's record is kept.
    pub retention: Retention,
    /// Most entries folded in one write.
    pub batch: usize,
    /// After how long the partitions of a dead reader are free.
    pub lease: Duration,
    /// How often overdue jobs are looked for.
    pub sweep_interval: Duration,
    /// How long after its deadline a job that a worker has begun is ended by the sweep: its worker does it first.
    pub sweep_grace: Duration,
    /// How long after its deadline, or the instant by which it had to be started, a job is ended that nobody has
    /// started: longer than two clocks and a mark may differ.
    pub start_grace: Duration,
    /// After how long without a word of it a live job is said again, so that the log holds it.
    pub keep_after: Duration,
    /// How long a work queue must have been empty before jobs that wait in it are published again.
    pub empty_for: Duration,
    /// How long an ended job's record is kept at least, however full the store is.
    pub least_kept: Duration,
    /// How long the entry at a position may take to arrive before the position is void.
    pub position_timeout: Duration,
    /// Whether the log is folded, and everything done that goes with it.
    pub folds: bool,
    /// Where the log is indexed; `None` when it is not.
    pub search: Option<Search>,
}

impl Config {
    /// Returns the defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            retention: Retention::default(),
            batch: 1000,
            // Taken over within 10 s: a lease, and the third of one until a survivor looks.
            lease: Duration::from_secs(7),
            sweep_interval: Duration::from_secs(5),
            sweep_grace: Duration::from_secs(300),
            // A worker that has taken longer to say `started` looks again before it enters the job.
            start_grace: Duration::from_secs(30),
            keep_after: Duration::from_hours(12),
            empty_for: Duration::from_mins(5),
            least_kept: Duration::from_mins(5),
            position_timeout: Duration::from_secs(5),
            folds: true,
            search: None,
        }
    }
}

/// Why a reader stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The broker has exchanges or queues of another form.
    #[error("the topology on the broker differs")]
    Topology(#[source] BusError),
}

/// One reader.
pub struct Reader {
    config: Config,
    bus: Bus,
    store: Arc<dyn FoldStore>,
    clock: Arc<dyn Clock>,
    topology: Topology,
    kinds: Vec<Kind>,
    callbacks: effects::Callbacks,
    status: StatusWatch,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Makes a reader; nothing is connected yet.
    pub fn new(
        config: Config,
        bus: Bus,
        store: Arc<dyn FoldStore>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Self {
        let kinds: Vec<_> = registry.kinds().map(|k| k.kind.clone()).collect();
        let topology = Topology::new(&kinds);
        let callbacks = effects::Callbacks::new(registry, &config.name);
        Self {
            config,
            bus,
            store,
            clock,
            topology,
            kinds,
            callbacks,
            status: StatusWatch::default(),
        }
    }

    /// Returns what readiness looks at.
    pub fn status(&self) -> StatusWatch {
        self.status.clone()
    }

    /// Reads until `shutdown`, then gives its partitions back. Waits for a bus and a store that are
    /// not there yet, or not any more, and for queues that others have to declare: it is not ready then, and
    /// reads what there is.
    ///
    /// # Errors
    ///
    /// [`ReaderError`] when waiting would not help.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ReaderError> {
        metrics::describe();
        let declaring = declare::Declaring {
            admin: Arc::clone(&self.bus.admin),
            topology: self.topology.clone(),
            status: self.status.clone(),
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            declared = declaring.declare() => declared.map_err(ReaderError::Topology)?,
        }
        let indexer = self.indexer();
        let index = async {
            if let Some(indexer) = indexer {
                // Apart, as the future of all these loops is large.
                Box::pin(indexer.run(&shutdown)).await;
            }
        };
        let rest = async {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = declaring.wait_for_the_rest() => {}
            }
        };
        let fold = async {
            if self.config.folds {
                Box::pin(self.fold(&shutdown)).await;
            }
        };
        tokio::join!(index, rest, fold);
        Ok(())
    }

    fn indexer(&self) -> Option<search::Indexer> {
        Some(search::Indexer {
            search: self.config.search.clone()?,
            log: Arc::clone(&self.bus.log),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            config: self.config.clone(),
            status: self.status.clone(),
        })
    }

    /// Runs every loop that the view needs.
    async fn fold(self, shutdown: &CancellationToken) {
        let turns = Arc::new(self.turns());
        let (held, holds) = tokio::sync::watch::channel(Vec::<Partition>::new());
        let leases = leases::Leases {
            store: Arc::clone(&self.store),
            name: self.config.name.clone(),
            ttl: self.config.lease,
            held,
        };
        let fold = fold::Fold {
            log: Arc::clone(&self.bus.log),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            config: self.config.clone(),
            holds: holds.clone(),
            status: self.status.clone(),
            warned: None,
        };
        let ticks = ticks::Ticks {
            consumer: Arc::clone(&self.bus.consumer),
            store: Arc::clone(&self.store),
            name: self.config.name.clone(),
            clock: Arc::clone(&self.clock),
            retention: self.config.retention,
            holds: holds.clone(),
        };
        let sweep = sweep::Sweep {
            publisher: Arc::clone(&self.bus.publisher),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            config: self.config.clone(),
            holds: holds.clone(),
            silent: silent::Silent::new(
                self.bus.clone(),
                self.store.clone(),
                Arc::clone(&self.clock),
                &self.config,
                self.kinds,
            ),
        };
        let pressure = pressure::Pressure::new(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            &self.config,
            holds,
            self.status.clone(),
        );
        let effects = effects::Effects {
            publisher: Arc::clone(&self.bus.publisher),
            consumer: Arc::clone(&self.bus.consumer),
            clock: Arc::clone(&self.clock),
            callbacks: self.callbacks,
            parents: Arc::new(effects::Parents::new(
                self.store.clone(),
                Arc::clone(&self.bus.log),
                Arc::clone(&self.bus.publisher),
            )),
            turns: Arc::new(effects::Waking::new(
                Arc::clone(&turns),
                Arc::clone(&self.bus.log),
            )),
            store: Arc::clone(&self.store),
            waking: std::sync::Mutex::default(),
        };
        let reports = reports::Reports {
            publisher: Arc::clone(&self.bus.publisher),
            consumer: Arc::clone(&self.bus.consumer),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            source: format!("/reader/{}", self.config.name),
        };
        let lag = lag::Lag {
            log: Arc::clone(&self.bus.log),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            status: self.status.clone(),
        };
        // The fold ends with the batch in hand; the others may stop anywhere.
        tokio::join!(
            leases.run(shutdown),
            fold.run(shutdown),
            ticks.run(shutdown),
            sweep.run(shutdown),
            pressure.run(shutdown),
            effects.run(shutdown),
            turns.run(shutdown),
            reports.run(shutdown),
            lag.run(shutdown),
        );
    }

    fn turns(&self) -> turns::Turns {
        turns::Turns {
            publisher: Arc::clone(&self.bus.publisher),
            consumer: Arc::clone(&self.bus.consumer),
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            reader: self.config.name.clone(),
        }
    }
}

/// Waits longer after each failure, from 100 ms to 5 s or another limit, each wait drawn between half and
/// whole.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(Duration::from_secs(5))
    }
}

impl Backoff {
    pub(crate) const fn up_to(longest: Duration) -> Self {
        Self {
            failures: 0,
            longest,
        }
    }

    pub(crate) async fn wait(&mut self) {
        let whole = Duration::from_millis(100 << self.failures.min(10)).min(self.longest);
        self.failures += 1;
        let share = 0.5 + rand::random::<f64>() / 2.0;
        tokio::time::sleep(whole.mul_f64(share)).await;
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}
