//! The three components while they run.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};
use vmctl_core::memory::bus::{InMemoryBus, journal::Restored};
use vmctl_reader::{Reader, StatusWatch};
use vmctl_server::{CheckState, Readiness, Server};
use vmctl_worker::Worker;

use crate::{Error, data::DataDir};

/// How long the components may take to become ready, when there is nothing to read.
const START: Duration = Duration::from_secs(30);
/// How much longer for each entry of the log; the reader takes a tenth of it.
const START_EACH: Duration = Duration::from_millis(1);
/// Between two looks at whether they are.
const LOOK: Duration = Duration::from_millis(10);
/// A mark arrives every second.
const SILENCE: Duration = Duration::from_secs(30);

/// What was built and does not run yet.
pub(crate) struct Parts {
    pub server: Server,
    /// Whether it speaks TLS.
    pub tls: bool,
    pub worker: Worker,
    pub reader: Reader,
    pub memory: InMemoryBus,
    /// What the bus holds of an earlier run.
    pub restored: Restored,
    pub machines: AbortOnDropHandle<()>,
    pub directory: Option<TempDir>,
    /// Nobody else may use it meanwhile.
    pub data: Option<Arc<DataDir>>,
}

type Ended = (
    &'static str,
    Option<Box<dyn std::error::Error + Send + Sync>>,
);

/// A standalone that runs. Dropping it asks it to stop.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    tls: bool,
    health: Health,
    memory: InMemoryBus,
    components: JoinSet<Ended>,
    shutdown: CancellationToken,
    _stop_when_dropped: DropGuard,
    _machines: AbortOnDropHandle<()>,
    _directory: Option<TempDir>,
    _data: Option<Arc<DataDir>>,
}

/// Looks at the three components. Clones look at the same ones.
#[derive(Debug, Clone)]
pub struct Health {
    server: Readiness,
    worker: vmctl_worker::Readiness,
    reader: StatusWatch,
}

impl Health {
    /// Says why the suite is not ready.
    ///
    /// # Errors
    ///
    /// The reason, in one line for people.
    pub async fn check(&self) -> Result<(), String> {
        self.worker.check()?;
        let status = self.reader.get();
        if status.held == 0 {
            return Err("the reader holds no partition yet".to_owned());
        }
        if let Some(reason) = self.reader.not_ready(SILENCE) {
            return Err(reason);
        }
        for check in self.server.check().await {
            match check.state {
                CheckState::Ok => {}
                CheckState::Degraded(reason) | CheckState::Failing(reason) => return Err(reason),
            }
        }
        Ok(())
    }
}

impl Running {
    pub(crate) async fn start(parts: Parts, parent: &CancellationToken) -> Result<Self, Error> {
        let health = Health {
            server: parts.server.readiness(),
            worker: parts.worker.readiness(),
            reader: parts.reader.status(),
        };
        let address = parts.server.address();
        let shutdown = parent.child_token();
        let mut components = JoinSet::new();
        let (server, worker, reader) = (parts.server, parts.worker, parts.reader);
        let stop = shutdown.clone();
        components.spawn(async move { ("server", boxed(server.run(stop).await)) });
        let stop = shutdown.clone();
        components.spawn(async move { ("worker", boxed(worker.run(stop).await)) });
        let stop = shutdown.clone();
        components.spawn(async move { ("reader", boxed(reader.run(stop).await)) });
        let mut running = Self {
            address,
            tls: parts.tls,
            health,
            memory: parts.memory,
            components,
            _stop_when_dropped: shutdown.clone().drop_guard(),
            shutdown,
            _machines: parts.machines,
            _directory: parts.directory,
            _data: parts.data,
        };
        let entries = u32::try_from(parts.restored.log_entries).unwrap_or(u32::MAX);
        running.ready(START + START_EACH * entries).await?;
        for (queue, messages) in running.memory.undeclared() {
            tracing::warn!(
                queue,
                messages,
                "an earlier version filled a queue that this one does not know"
            );
        }
        Ok(running)
    }

    /// The address that the API listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint for clients.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// What tells whether the components are well; it stays valid while they run.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// The bus, on which tests provoke faults.
    pub fn bus(&self) -> &InMemoryBus {
        &self.memory
    }

    /// Tells the components to stop, and waits until they have.
    ///
    /// # Errors
    ///
    /// The first component that failed.
    pub async fn stop(self) -> Result<(), Error> {
        self.shutdown.cancel();
        self.ended().await
    }

    /// Waits until the components have ended. One that stops though nobody told it to stops the
    /// others.
    ///
    /// # Errors
    ///
    /// The first component that failed, or that stopped by itself.
    pub async fn ended(mut self) -> Result<(), Error> {
        let mut first = Ok(());
        while let Some(ended) = self.components.join_next().await {
            let told = self.shutdown.is_cancelled();
            self.shutdown.cancel();
            first = first.and(verdict(ended, told));
        }
        self.memory.close().await;
        first
    }

    /// Waits until all three are ready, or one has ended.
    async fn ready(&mut self, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(ended) = self.components.try_join_next() {
                return verdict(ended, self.shutdown.is_cancelled());
            }
            match self.health.check().await {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() > deadline => return Err(Error::NotReady(reason)),
                Err(_) if self.shutdown.is_cancelled() => return Ok(()),
                Err(_) => sleep(LOOK).await,
            }
        }
    }
}

fn boxed<E: std::error::Error + Send + Sync + 'static>(
    result: Result<(), E>,
) -> Option<Box<dyn std::error::Error + Send + Sync>> {
    result.err().map(Into::into)
}

fn verdict(ended: Result<Ended, tokio::task::JoinError>, told: bool) -> Result<(), Error> {
    match ended {
        Ok((_, None)) if told => Ok(()),
        Ok((component, source)) => Err(Error::Stopped { component, source }),
        Err(panic) => Err(Error::Stopped {
            component: "component",
            source: Some(panic.into()),
        }),
    }
}
