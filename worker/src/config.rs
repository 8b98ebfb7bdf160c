//! What a worker is built from.

use std::{sync::Arc, time::Duration};

use vmctl_core::{Kind, bus::Bus, clock::Clock, kinds::Registry, store::JobStore};

/// Settings of a worker. The defaults suit production.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names the process in messages and in its control queue: different in every process.
    pub name: String,
    /// The program, as those who run the service are told.
    pub app: String,
    /// The program's version.
    pub version: String,
    /// Which kinds to run; all that have a handler when empty.
    pub kinds: Vec<Kind>,
    /// How many slices of one kind run at once. The prefetch of its consumer, too.
    pub slots: u16,
    /// How long slices may go on after a shutdown was asked for; then they are given back.
    pub drain_grace: Duration,
    /// How long a handler may go on after it was told to stop: its time is over, it has stalled, or its
    /// delivery was lost.
    pub stop_grace: Duration,
    /// The longest slice, unless its kind says otherwise. A handler that is still running then is
    /// stopped, and its attempt has failed.
    pub slice_limit: Duration,
    /// How long the broker waits for an acknowledgement before it gives a message to somebody else
    /// (`consumer_timeout` of RabbitMQ, 30 min by default). A worker whose slices may take longer than
    /// this less 5 min is not built.
    pub ack_timeout: Duration,
    /// How long the store may take to answer before a slice goes on without it.
    pub store_timeout: Duration,
    /// Least time between two progress messages of one job.
    pub tick_interval: Duration,
}

impl Config {
    /// Makes settings with the defaults and this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            app: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kinds: Vec::new(),
            slots: 8,
            drain_grace: Duration::from_secs(25),
            stop_grace: Duration::from_secs(5),
            slice_limit: Duration::from_secs(10 * 60),
            ack_timeout: Duration::from_secs(30 * 60),
            store_timeout: Duration::from_millis(300),
            tick_interval: Duration::from_millis(250),
        }
    }

    /// Returns how many slices of one kind run at once: at least one.
    pub(crate) fn slots(&self) -> u16 {
        self.slots.max(1)
    }
}

/// What a worker stands on.
#[derive(Clone)]
pub struct Backends {
    /// Work, outcomes, progress, control.
    pub bus: Bus,
    /// Tells of cancels, ended jobs and copies. May be down.
    pub store: Arc<dyn JobStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The kinds and how they are retried.
    pub registry: Arc<Registry>,
}

impl std::fmt::Debug for Backends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backends").finish_non_exhaustive()
    }
}
