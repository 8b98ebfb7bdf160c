//! What a standalone is made of.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use rand::distr::{Alphanumeric, SampleString};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    clock::{Clock, SystemClock},
    fact::Retention,
    kinds::Registry,
    memory::{
        bus::{InMemoryBus, Limits as BusLimits},
        identity::{InMemoryIdentity, User},
        store::InMemoryJobStore,
    },
};
use vmctl_reader::Reader;
use vmctl_server::{CompatPostStatus, Limits};
use vmctl_worker::{
    Worker, kinds,
    provisioner::{
        Provisioner,
        simulated::{FailRule, Simulated, SimulatedConfig},
    },
};

use crate::{Error, Running, running::Parts, users};

/// The seed's machine takes this long.
const DURATION: Duration = Duration::from_secs(90);
/// Longer than any secret needs to be.
const SECRET_LENGTH: usize = 43;

/// The suite in one process.
#[derive(Debug, Clone, Copy)]
pub struct Standalone;

impl Standalone {
    /// Starts with a free port on loopback, no user, and machines that take 90 s.
    pub fn builder() -> Builder {
        Builder {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            users: Vec::new(),
            kinds_dir: None,
            job_ttl: Duration::from_secs(24 * 3600),
            compat_post_status: CompatPostStatus::Accepted,
            slots: 8,
            simulated_duration: DURATION,
            simulated_dir: None,
            simulated_fail: None,
            grace: Duration::from_secs(5),
            limits: Limits::default(),
            shutdown: CancellationToken::new(),
            mounted: Router::new(),
        }
    }
}

/// Collects what a standalone is made of.
#[derive(Debug)]
pub struct Builder {
    listen: SocketAddr,
    users: Vec<User>,
    kinds_dir: Option<PathBuf>,
    job_ttl: Duration,
    compat_post_status: CompatPostStatus,
    slots: u16,
    simulated_duration: Duration,
    simulated_dir: Option<PathBuf>,
    simulated_fail: Option<FailRule>,
    grace: Duration,
    limits: Limits,
    shutdown: CancellationToken,
    mounted: Router,
}

impl Builder {
    /// Listens on this address; port 0 takes a free one.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Lets a user in, who has the role `member` in one project.
    #[must_use]
    pub fn user(self, name: &str, password: &str, project: &str) -> Self {
        let user = users::plain(name, password, project);
        self.users([user])
    }

    /// Lets users in.
    #[must_use]
    pub fn users(mut self, users: impl IntoIterator<Item = User>) -> Self {
        self.users.extend(users);
        self
    }

    /// Adds the kinds of a directory. Nothing here runs them, unless it is one of our own again.
    #[must_use]
    pub fn kinds_dir(mut self, directory: Option<PathBuf>) -> Self {
        self.kinds_dir = directory;
        self
    }

    /// Keeps the record of an ended job for this long.
    #[must_use]
    pub fn job_ttl(mut self, ttl: Duration) -> Self {
        self.job_ttl = ttl;
        self
    }

    /// Answers an accepted `POST /v1/vm` with this.
    #[must_use]
    pub fn compat_post_status(mut self, status: CompatPostStatus) -> Self {
        self.compat_post_status = status;
        self
    }

    /// Runs this many jobs of one kind at once.
    #[must_use]
    pub fn slots(mut self, slots: u16) -> Self {
        self.slots = slots;
        self
    }

    /// Takes this long for a machine; zero is one step without waiting.
    #[must_use]
    pub fn simulated_duration(mut self, duration: Duration) -> Self {
        self.simulated_duration = duration;
        self
    }

    /// Keeps the machines in this directory; otherwise in a temporary one that goes away.
    #[must_use]
    pub fn simulated_dir(mut self, directory: Option<PathBuf>) -> Self {
        self.simulated_dir = directory;
        self
    }

    /// Makes a phase of a machine fail.
    #[must_use]
    pub fn simulated_fail(mut self, rule: Option<FailRule>) -> Self {
        self.simulated_fail = rule;
        self
    }

    /// Lets work in flight end for this long when it is told to stop.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the bounds of the server, but for the drain time, which [`grace`](Self::grace) sets.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Stops when this token is cancelled.
    #[must_use]
    pub fn shutdown(mut self, token: CancellationToken) -> Self {
        self.shutdown = token;
        self
    }

    /// Serves more routes beside the API.
    #[must_use]
    pub fn mount(mut self, router: Router) -> Self {
        self.mounted = router;
        self
    }

    /// Starts the three components, and returns when they are ready.
    ///
    /// # Errors
    ///
    /// [`Error`]; nothing runs then.
    pub async fn start(self) -> Result<Running, Error> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let registry = match &self.kinds_dir {
            Some(directory) => Registry::with_directory(directory),
            None => Registry::built_in(),
        };
        let registry = Arc::new(registry.map_err(Error::Kinds)?);
        let memory = InMemoryBus::new(clock.clone(), BusLimits::default());
        let store = Arc::new(InMemoryJobStore::new(clock.clone()));
        let own_directory = match &self.simulated_dir {
            Some(_) => None,
            None => Some(TempDir::with_prefix("vmctl-machines-").map_err(Error::Machines)?),
        };

        let reader = Reader::new(
            vmctl_reader::Config {
                retention: Retention(self.job_ttl),
                ..vmctl_reader::Config::new("reader-standalone")
            },
            memory.bus(),
            store.clone(),
            clock.clone(),
            &registry,
        );
        let worker_backends = vmctl_worker::Backends {
            bus: memory.bus(),
            store: store.clone(),
            clock: clock.clone(),
            registry: registry.clone(),
        };
        let provisioner = self.provisioner(own_directory.as_ref(), clock.clone())?;
        let worker_config = vmctl_worker::Config {
            slots: self.slots,
            drain_grace: self.grace,
            ..vmctl_worker::Config::new("worker-standalone")
        };
        let worker = Worker::builder(worker_config, worker_backends)
            .handlers(kinds::built_in(&provisioner, &registry))
            .build()?;
        let server_backends = vmctl_server::Backends {
            bus: memory.bus(),
            store,
            identity: Arc::new(InMemoryIdentity::new(self.users.clone(), clock.clone())),
            clock,
            registry,
        };
        let server = self.server().build(server_backends)?.mount(self.mounted);
        Running::start(
            Parts {
                server,
                worker,
                reader,
                memory,
                directory: own_directory,
            },
            &self.shutdown,
        )
        .await
    }

    fn provisioner(
        &self,
        own: Option<&TempDir>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Provisioner>, Error> {
        let directory = self
            .simulated_dir
            .clone()
            .or_else(|| own.map(|own| own.path().to_owned()))
            .unwrap_or_default();
        let config = SimulatedConfig {
            directory,
            duration: self.simulated_duration,
            fail: self.simulated_fail.clone(),
        };
        let simulated = Simulated::open(config, clock).map_err(Error::Machines)?;
        Ok(Arc::new(simulated))
    }

    fn server(&self) -> vmctl_server::Config {
        // Nothing outlives the process that would have to be derived again.
        let secret = Alphanumeric.sample_string(&mut rand::rng(), SECRET_LENGTH);
        vmctl_server::Config {
            name: "server-standalone".to_owned(),
            job_ttl: self.job_ttl,
            compat_post_status: self.compat_post_status,
            limits: Limits {
                drain: self.grace,
                ..self.limits.clone()
            },
            ..vmctl_server::Config::new(self.listen, secret.into())
        }
    }
}
