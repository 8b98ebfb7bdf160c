//! What all handlers share.

use std::{future::Future, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vmctl_api_types::{JobId, LogLine};
use vmctl_core::{
    bus::Bus,
    clock::Clock,
    fact::Retention,
    identity::{Identity, IdentityError},
    kinds::Registry,
    partition::Partition,
    store::{JobStore, Lookup, StoreError},
};

use crate::{
    audit::Recorder,
    config::{Backends, Config},
    error::chain,
    jobs::{
        admission::Admission,
        doorbell::Doorbell,
        entry::Standing,
        marks::Marks,
        skew::Skew,
        stories::Stories,
        twins::Twins,
        view::{Overview, Seen, SharedStory},
    },
    logins::Logins,
    streams::Places,
    sync::Upstreams,
    workers::Workers,
};

/// One server's state. All of it can be lost: it is rebuilt from the bus and the store.
pub(crate) struct App {
    pub config: Config,
    pub bus: Bus,
    pub store: Arc<dyn JobStore>,
    pub identity: Arc<dyn Identity>,
    pub clock: Arc<dyn Clock>,
    pub registry: Arc<Registry>,
    /// How far the view was when this server last looked.
    pub seen: Seen,
    /// Reads of stories under way.
    pub stories: Stories,
    /// Wakes those who wait for a change.
    pub doorbell: Doorbell,
    /// The marks that this server has published.
    pub marks: Marks,
    /// Whether this server's clock can be trusted.
    pub skew: Skew,
    /// Whether the work queues take more.
    pub admission: Admission,
    /// Submissions under way with an `Idempotency-Key`.
    pub twins: Twins,
    /// What this server knows of projects by itself.
    pub standing: Standing,
    /// Whether lists are complete.
    pub overview: Overview,
    /// Login attempts.
    pub logins: Logins,
    /// What is told of requests that change something.
    pub audit: Recorder,
    /// Which workers live.
    pub workers: Workers,
    /// Who answers synchronous kinds.
    pub upstreams: Upstreams,
    /// Requests in work.
    pub requests: Arc<Semaphore>,
    /// Requests that wait for a change.
    pub waiters: Arc<Semaphore>,
    /// Searches under way.
    pub searches: Arc<Semaphore>,
    /// Open streams.
    pub streams: Places,
    /// Publishes that outlive their request.
    pub tasks: TaskTracker,
    /// Fires when the server is asked to stop.
    pub leaving: CancellationToken,
    /// Fires when it stops: what waits answers with what it has.
    pub stopping: CancellationToken,
    identity_answers: watch::Sender<Option<Result<(), String>>>,
}

impl App {
    pub fn new(config: Config, backends: Backends) -> Self {
        let limits = &config.limits;
        Self {
            seen: Seen::default(),
            stories: Stories::default(),
            doorbell: Doorbell::default(),
            marks: Marks::default(),
            skew: Skew::default(),
            admission: Admission::default(),
            twins: Twins::default(),
            standing: Standing::default(),
            overview: Overview::default(),
            logins: Logins::new(limits.logins_per_minute),
            audit: Recorder::new(limits.audit_queue, limits.audit_strangers),
            workers: Workers::default(),
            upstreams: Upstreams::default(),
            requests: Arc::new(Semaphore::new(limits.requests)),
            waiters: Arc::new(Semaphore::new(limits.waiters)),
            searches: Arc::new(Semaphore::new(limits.searches)),
            streams: Places::new(limits.streams, limits.project_streams),
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
            stopping: CancellationToken::new(),
            identity_answers: watch::Sender::new(None),
            bus: backends.bus,
            store: backends.store,
            identity: backends.identity,
            clock: backends.clock,
            registry: backends.registry,
            config,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns what the CloudEvents of this server name as their source.
    pub fn source(&self) -> String {
        format!("/server/{}", self.config.name)
    }

    pub fn retention(&self) -> Retention {
        Retention(self.config.job_ttl)
    }

    /// Reads a record, and remembers how far its partition is.
    pub async fn get(&self, id: JobId) -> Result<Lookup, StoreError> {
        let lookup = self.bounded(self.store.get(id)).await?;
        let number = Partition::of(id);
        self.seen.observe(number, &lookup.partition, self.now());
        Ok(lookup)
    }

    /// Reads a record and its history, together with whoever asks for them now, and remembers how far
    /// the partition is.
    pub async fn story(&self, id: JobId) -> Result<SharedStory, Arc<StoreError>> {
        let read = async {
            let story = self.bounded(self.store.story(id)).await?;
            self.seen
                .observe(Partition::of(id), &story.lookup.partition, self.now());
            Ok(story.into())
        };
        // One read that had begun before, and one that begins from now on.
        let bound = self.config.limits.store_deadline * 2;
        within(bound, self.stories.read(id, read)).await
    }

    /// Reads the newest lines of a job's log. Whose job it is, its record says.
    pub async fn lines(&self, id: JobId) -> Result<Vec<LogLine>, StoreError> {
        self.bounded(self.store.lines(id)).await
    }

    /// Puts the server's own bound on a call to the store.
    pub async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        within(self.config.limits.store_deadline, call).await
    }

    /// Remembers whether the identity service answered the last question, and why not.
    pub fn identity_answered<T>(&self, answer: &Result<T, IdentityError>) {
        let answered = match answer {
            Err(error @ IdentityError::Unavailable(_)) => Err(chain(error)),
            Ok(_) | Err(_) => Ok(()),
        };
        self.identity_answers.send_replace(Some(answered));
    }

    /// Says whether the identity service answered the last question, or why not; `None` before the first one.
    pub fn identity_state(&self) -> Option<Result<(), String>> {
        self.identity_answers.borrow().clone()
    }
}

/// Puts a bound on a call to the store.
pub(crate) async fn within<T, E: From<StoreError>>(
    bound: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(bound, call)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".into()).into()))
}
