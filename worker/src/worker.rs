//! Building a worker, running it, and draining it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    JobId, Kind,
    bus::{BusError, BusState, Feed},
    event::Control,
    topology::Topology,
};

use crate::{
    author::Author,
    config::{Backends, Config},
    consume::consume,
    handler::Handler,
    limits::ACK_MARGIN,
    presence::{Speaker, speak},
    readiness::{Declared, Readiness},
    running::Running,
    slice::Lane,
};

/// First and longest pause between two tries to declare the queues.
const DECLARE_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How often the worker looks whether the broker was away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the view is asked for a cancel that was heard, with the first and longest pause.
const CONFIRM: Duration = Duration::from_secs(10);
const CONFIRM_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Cancels that are looked up at once; others are found with the next slice.
const CONFIRMING: usize = 256;

/// How long slices get to give their deliveries back once the drain is over.
const ABORT_GRACE: Duration = Duration::from_secs(5);

/// A worker that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The registry has no such kind.
    #[error("there is no kind {0}")]
    UnknownKind(Kind),
    /// Nothing implements the kind.
    #[error("this worker has no handler for kind {0}")]
    NoHandler(Kind),
    /// Two handlers for one kind.
    #[error("kind {0} has two handlers")]
    TwoHandlers(Kind),
    /// The broker would give a slice's message to somebody else while it runs.
    #[error(
        "a slice of {kind} may take {limit:?}, but the broker waits {ack_timeout:?} for its \
         acknowledgement: it must be at least 5 min longer"
    )]
    SliceTooLong {
        /// Which kind.
        kind: Kind,
        /// Its longest slice.
        limit: Duration,
        /// What the worker was told of the broker.
        ack_timeout: Duration,
    },
    /// There is nothing to run.
    #[error("a worker needs at least one kind")]
    NoKinds,
}

/// Why a worker stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The queues cannot be declared, and trying again would not help.
    #[error("the queues of this worker cannot be declared")]
    Declare(#[source] BusError),
    /// The bus refused.
    #[error("the bus refused")]
    Bus(#[from] BusError),
    /// The backend of the bus was shut down.
    #[error("the consumer of {0} ended")]
    ConsumerEnded(String),
    /// A task of the worker broke.
    #[error("a part of the worker broke")]
    Broken(#[source] tokio::task::JoinError),
}

/// What all lanes of a worker share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) backends: Backends,
    pub(crate) author: Author,
    pub(crate) running: Running,
    readiness: Readiness,
}

/// Collects handlers.
pub struct WorkerBuilder {
    config: Config,
    backends: Backends,
    handlers: Vec<(Kind, Arc<dyn Handler>)>,
}

/// Takes commands and runs them.
pub struct Worker {
    shared: Arc<Shared>,
    handlers: BTreeMap<Kind, Arc<dyn Handler>>,
}

impl WorkerBuilder {
    /// Adds the handler of one kind.
    #[must_use]
    pub fn handler(mut self, kind: Kind, handler: Arc<dyn Handler>) -> Self {
        self.handlers.push((kind, handler));
        self
    }

    /// Adds the handlers of several kinds.
    #[must_use]
    pub fn handlers(
        mut self,
        handlers: impl IntoIterator<Item = (Kind, Arc<dyn Handler>)>,
    ) -> Self {
        self.handlers.extend(handlers);
        self
    }

    /// Checks that every kind exists and has one handler, and that the broker waits longer than its
    /// slices take.
    pub fn build(self) -> Result<Worker, BuildError> {
        let mut all = BTreeMap::new();
        for (kind, handler) in self.handlers {
            if all.insert(kind.clone(), handler).is_some() {
                return Err(BuildError::TwoHandlers(kind));
            }
        }
        let wanted: Vec<Kind> = if self.config.kinds.is_empty() {
            all.keys().cloned().collect()
        } else {
            self.config.kinds.clone()
        };
        let mut handlers = BTreeMap::new();
        for kind in wanted {
            let Some(spec) = self.backends.registry.get(&kind) else {
                return Err(BuildError::UnknownKind(kind));
            };
            let ack_timeout = self.config.ack_timeout;
            let limit = spec.slice_limit.unwrap_or(self.config.slice_limit);
            if limit.saturating_add(ACK_MARGIN) > ack_timeout {
                return Err(BuildError::SliceTooLong {
                    kind,
                    limit,
                    ack_timeout,
                });
            }
            let Some(handler) = all.get(&kind) else {
                return Err(BuildError::NoHandler(kind));
            };
            handlers.insert(kind, handler.clone());
        }
        if handlers.is_empty() {
            return Err(BuildError::NoKinds);
        }
        let author = Author::new(
            self.config.name.as_str().into(),
            self.backends.clock.clone(),
        );
        Ok(Worker {
            shared: Arc::new(Shared {
                author,
                running: Running::default(),
                readiness: Readiness::new(self.backends.bus.clone()),
                config: self.config,
                backends: self.backends,
            }),
            handlers,
        })
    }
}

impl Worker {
    /// Starts building a worker.
    pub fn builder(config: Config, backends: Backends) -> WorkerBuilder {
        WorkerBuilder {
            config,
            backends,
            handlers: Vec::new(),
        }
    }

    /// Returns the kinds that it runs.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.handlers.keys()
    }

    /// Returns what tells whether it takes work; it stays valid while the worker runs.
    pub fn readiness(&self) -> Readiness {
        self.shared.readiness.clone()
    }

    /// Declares its queues and works until `shutdown` fires; then takes nothing new, lets slices
    /// end for [`Config::drain_grace`], gives the rest back, and returns. A bus that is not there
    /// is waited for, and so is a queue that others have to declare: the worker is not ready then, and does
    /// the work of the other queues.
    ///
    /// # Errors
    ///
    /// [`RunError`] when it stopped by itself.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let (shared, handlers) = (self.shared, self.handlers);
        let abort = CancellationToken::new();
        // Everything below hangs on this token, so that a part that breaks stops the others.
        let stop = shutdown.child_token();
        let _stop_at_the_end = stop.clone().drop_guard();
        let topology = Topology::new(handlers.keys());
        if !declare(&shared, &topology, &stop).await? {
            return Ok(());
        }
        let control = AbortOnDrop(tokio::spawn(listen(shared.clone())));
        let declaring = AbortOnDrop(tokio::spawn(keep_declared(
            shared.clone(),
            topology,
            stop.clone(),
        )));
        let mut lanes = JoinSet::new();
        let mut served = Vec::new();
        for (kind, handler) in handlers {
            tracing::info!(job.kind = %kind, slots = shared.config.slots, "taking work");
            let signals = (stop.clone(), abort.clone());
            let lane = Arc::new(Lane::new(kind, handler, shared.clone(), signals));
            served.push(lane.clone());
            lanes.spawn(consume(lane));
        }
        let speaker = Arc::new(Speaker::new(shared.clone(), served));
        let speaking = AbortOnDrop(tokio::spawn(speak(speaker.clone(), stop.clone())));
        let mut result = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            Some(ended) = lanes.join_next() => ended.map_err(RunError::Broken).flatten(),
        };
        shared.readiness.set_draining();
        stop.cancel();
        let grace = shared.config.drain_grace;
        if let Ok(ended) = timeout(grace, join(&mut lanes)).await {
            result = result.and(ended);
        } else {
            tracing::warn!("the grace period is over; giving back what still runs");
            abort.cancel();
            if timeout(ABORT_GRACE, join(&mut lanes)).await.is_err() {
                tracing::error!("some slices did not end and are dropped");
            }
        }
        drop((control, declaring, speaking));
        speaker.say_the_end().await;
        result
    }
}

async fn join(lanes: &mut JoinSet<Result<(), RunError>>) -> Result<(), RunError> {
    let mut result = Ok(());
    while let Some(ended) = lanes.join_next().await {
        result = result.and(ended.map_err(RunError::Broken).flatten());
    }
    result
}

/// Declares what the worker uses. Returns false when it was stopped before that was possible.
async fn declare(
    shared: &Shared,
    topology: &Topology,
    stop: &CancellationToken,
) -> Result<bool, RunError> {
    let (mut pause, longest) = DECLARE_PAUSE;
    loop {
        let declared = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(false),
            declared = shared.backends.bus.admin.declare(topology) => declared,
        };
        match declared {
            Ok(()) => {
                shared.readiness.set_declared(Declared::All);
                return Ok(true);
            }
            Err(error @ BusError::Absent(_)) => {
                let why = error.to_string();
                if shared.readiness.set_declared(Declared::AllBut(why)) {
                    tracing::warn!("{error}");
                }
                return Ok(true);
            }
            Err(error @ (BusError::Drift(_) | BusError::Refused(_))) => {
                return Err(RunError::Declare(error));
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the queues are not declared yet; trying again"
            ),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(false),
            () = sleep(pause) => pause = (pause * 2).min(longest),
        }
    }
}

/// Declares the queues again after each time without a broker, which may have come back empty, and
/// while some are absent.
async fn keep_declared(shared: Arc<Shared>, topology: Topology, stop: CancellationToken) {
    let away = || matches!(shared.readiness.bus(), BusState::Down(_));
    let mut was_away = away();
    let mut looked = Instant::now();
    loop {
        sleep(LOOK_EVERY).await;
        let is_away = away();
        let is_due = looked.elapsed() >= DECLARE_PAUSE.1
            && matches!(shared.readiness.declared(), Declared::AllBut(_));
        if !is_away && (was_away || is_due) {
            looked = Instant::now();
            // What it says against that, it says to the next worker that starts, too.
            if let Err(error) = declare(&shared, &topology, &stop).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the broker came back with other queues"
                );
            }
        }
        was_away = is_away;
    }
}

/// Listens to what is sent to every worker.
async fn listen(shared: Arc<Shared>) {
    let consumer = &shared.backends.bus.consumer;
    let (mut pause, longest) = DECLARE_PAUSE;
    let mut confirming = JoinSet::new();
    loop {
        match consumer.subscribe(Feed::Control, &shared.config.name).await {
            Ok(mut feed) => {
                pause = DECLARE_PAUSE.0;
                while let Some(received) = feed.next().await {
                    while confirming.try_join_next().is_some() {}
                    if confirming.len() < CONFIRMING
                        && let Some(run) = heard(&received.body)
                    {
                        confirming.spawn(confirm(shared.clone(), run));
                    }
                }
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "not listening for cancels yet; trying again"
            ),
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Returns the run that is to be cancelled, as it was heard.
fn heard(body: &[u8]) -> Option<(JobId, u32)> {
    match Control::parse(body) {
        Ok(Control::Cancel { job_id, epoch, .. }) => Some((job_id, epoch)),
        Err(error) => {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a control message that this version does not know"
            );
            None
        }
    }
}

/// Cancels a run once the view has the wish that was heard. Anybody may have said it; what the log has not
/// is nobody's wish, and what the view has later is found with the job's next slice.
async fn confirm(shared: Arc<Shared>, (job, epoch): (JobId, u32)) {
    let (mut pause, longest) = CONFIRM_PAUSE;
    let wished = async {
        loop {
            let wish = shared.backends.store.get(job).await.ok();
            let wish = wish
                .and_then(|l| l.record?.cancel)
                .filter(|c| c.epoch == epoch);
            if let Some(wish) = wish {
                return wish;
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    };
    if let Ok(wish) = timeout(CONFIRM, wished).await {
        shared.running.cancel(job, epoch, wish.reason);
    } else {
        tracing::warn!(
            job.id = %job,
            "heard a cancel that the view does not have: nothing is cancelled for now"
        );
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
