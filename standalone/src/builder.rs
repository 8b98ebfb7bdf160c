//! What a standalone is made of.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use axum::Router;
use ipnet::IpNet;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use url::Url;
use vmctl_api_types::Kind;
use vmctl_core::{
    clock::{Clock, SystemClock},
    fact::Retention,
    kinds::Registry,
    memory::{
        bus::{
            InMemoryBus, Limits as BusLimits,
            journal::{JournalError, Restored},
        },
        identity::{InMemoryIdentity, User},
        store::InMemoryJobStore,
    },
};
use vmctl_daemon::{HealthServer, Listen, Tls};
use vmctl_egress::{Guard, Policy};
use vmctl_reader::Reader;
use vmctl_server::{CompatPostStatus, Limits, policy::Policy as Rules};
use vmctl_worker::{
    Worker,
    callbacks::{Client, ClientConfig, Schedule, Secrets},
    kinds::{self, AnsibleConfig, CallbackDeliver},
    machines,
    provisioner::{
        Provisioner,
        simulated::{FailRule, Simulated, SimulatedConfig},
    },
};

use crate::{
    Error, Running,
    data::{DataDir, DataError, random_secret},
    running::Parts,
    users,
};

/// The seed's machine takes this long.
const DURATION: Duration = Duration::from_secs(90);

/// What a bus with a journal holds in memory, and so in the journal: a day of a small team.
const KEPT: BusLimits = BusLimits {
    log_entries: 2_000_000,
    log_bytes: 1 << 30,
    log_segment_entries: 4096,
    queued_bytes: 512 << 20,
    confirm_timeout: Duration::from_secs(5),
};

/// The suite in one process.
#[derive(Debug, Clone, Copy)]
pub struct Standalone;

impl Standalone {
    /// Starts with a free port on loopback, no user, and machines that take 90 s.
    pub fn builder() -> Builder {
        Builder {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            ca_pem: None,
            users: Vec::new(),
            kinds_dir: None,
            job_ttl: Duration::from_secs(24 * 3600),
            compat_post_status: CompatPostStatus::Accepted,
            paused_kinds: Vec::new(),
            trusted_proxies: Vec::new(),
            admin_project: None,
            rules: Rules::default(),
            sync_token: None,
            slots: 8,
            callback_policy: Policy::default(),
            callback_secret: None,
            callback_secrets_dir: None,
            simulated_duration: DURATION,
            simulated_dir: None,
            data: None,
            simulated_fail: None,
            ansible: None,
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
    tls: Option<Tls>,
    ca_pem: Option<Vec<u8>>,
    users: Vec<User>,
    kinds_dir: Option<PathBuf>,
    job_ttl: Duration,
    compat_post_status: CompatPostStatus,
    paused_kinds: Vec<Kind>,
    trusted_proxies: Vec<IpNet>,
    admin_project: Option<String>,
    rules: Rules,
    sync_token: Option<SecretString>,
    slots: u16,
    callback_policy: Policy,
    callback_secret: Option<SecretString>,
    callback_secrets_dir: Option<PathBuf>,
    simulated_duration: Duration,
    simulated_dir: Option<PathBuf>,
    data: Option<DataDir>,
    simulated_fail: Option<FailRule>,
    ansible: Option<AnsibleConfig>,
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

    /// Speaks TLS on that address.
    #[must_use]
    pub fn tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Trusts these certificates, PEM, besides the system's: of receivers of callbacks and of upstreams.
    #[must_use]
    pub fn ca_pem(mut self, pem: Option<Vec<u8>>) -> Self {
        self.ca_pem = pem;
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

    /// Refuses jobs of these kinds; what was accepted before goes on.
    #[must_use]
    pub fn paused_kinds(mut self, kinds: Vec<Kind>) -> Self {
        self.paused_kinds = kinds;
        self
    }

    /// Believes the `X-Forwarded-For` of proxies in these networks.
    #[must_use]
    pub fn trusted_proxies(mut self, networks: Vec<IpNet>) -> Self {
        self.trusted_proxies = networks;
        self
    }

    /// Lets the admins of this project see the jobs and the audit of all projects.
    #[must_use]
    pub fn admin_project(mut self, project: Option<String>) -> Self {
        self.admin_project = project;
        self
    }

    /// Lets callers do what these rules allow.
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Shows this token to the upstreams of synchronous kinds.
    #[must_use]
    pub fn sync_token(mut self, token: Option<SecretString>) -> Self {
        self.sync_token = token;
        self
    }

    /// Runs this many jobs of one kind at once.
    #[must_use]
    pub fn slots(mut self, slots: u16) -> Self {
        self.slots = slots;
        self
    }

    /// Lets callbacks go where this says; otherwise to public addresses by `https` alone.
    #[must_use]
    pub fn callback_policy(mut self, policy: Policy) -> Self {
        self.callback_policy = policy;
        self
    }

    /// Signs callbacks that name no secret with this one.
    #[must_use]
    pub fn callback_secret(mut self, secret: Option<SecretString>) -> Self {
        self.callback_secret = secret;
        self
    }

    /// Finds the other secrets of callbacks in this directory.
    #[must_use]
    pub fn callback_secrets_dir(mut self, directory: Option<PathBuf>) -> Self {
        self.callback_secrets_dir = directory;
        self
    }

    /// Takes this long for a machine; zero is one step without waiting.
    #[must_use]
    pub fn simulated_duration(mut self, duration: Duration) -> Self {
        self.simulated_duration = duration;
        self
    }

    /// Keeps jobs, machines and the secret of the ids in this directory, so that the next start finds
    /// them; otherwise all of that is gone when it stops. See [`data`](crate::data).
    #[must_use]
    pub fn data(mut self, directory: Option<DataDir>) -> Self {
        self.data = directory;
        self
    }

    /// Keeps the machines in this directory; otherwise in the data directory, or in a temporary one
    /// that goes away.
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

    /// Runs the playbooks of a directory; otherwise the kind `ansible.run` is not there, nor flows that need it.
    #[must_use]
    pub fn ansible(mut self, config: Option<AnsibleConfig>) -> Self {
        self.ansible = config;
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
    pub async fn start(mut self) -> Result<Running, Error> {
        // What sends callbacks is a TLS client.
        vmctl_daemon::install_crypto();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let registry = match &self.kinds_dir {
            Some(directory) => Registry::with_directory(directory),
            None => Registry::built_in(),
        };
        let mut registry = registry.map_err(Error::Kinds)?;
        if self.ansible.is_none() {
            // Nothing else could take its jobs from a bus in memory.
            registry.leave_out(kinds::ANSIBLE);
        }
        let registry = Arc::new(registry);
        let data = self.data.take().map(Arc::new);
        let (memory, restored) = open_bus(data.as_ref(), &clock).await?;
        let secret = match &data {
            Some(data) => data.secret()?,
            None => random_secret(),
        };
        let kept = data.as_ref().map(|data| data.machines()).transpose()?;
        let machines = self.simulated_dir.clone().or(kept);
        if let Some(data) = &data {
            data.set_complete(restored.log_entries == 0 && restored.queued == 0)?;
        }
        let store = Arc::new(InMemoryJobStore::new(clock.clone()));
        let own_directory = match &machines {
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
        let provisioner = self.provisioner(machines, own_directory.as_ref(), clock.clone())?;
        let token = random_secret();
        let machines = serve_machines(&provisioner, &token)?;
        let worker_config = vmctl_worker::Config {
            app: env!("CARGO_PKG_NAME").to_owned(),
            slots: self.slots,
            drain_grace: self.grace,
            ..vmctl_worker::Config::new("worker-standalone")
        };
        let worker = Worker::builder(worker_config, worker_backends)
            .handlers(kinds::built_in(&provisioner, &registry))
            .handlers(kinds::callbacks(self.callbacks(clock.clone())?))
            .handlers(kinds::ansible(self.ansible.clone()).map_err(Error::Playbooks)?)
            .build()?;
        let server_backends = vmctl_server::Backends {
            bus: memory.bus(),
            store,
            identity: Arc::new(InMemoryIdentity::new(self.users.clone(), clock.clone())),
            clock,
            registry,
        };
        let mut server = self.server(secret);
        let tls = server.tls.is_some();
        server.sync.workers = vec![machines.url];
        server.sync.workers_token = Some(token);
        server.sync.token = self.sync_token.clone();
        server.sync.ca_pem = self.ca_pem.clone();
        let server = server.build(server_backends)?.mount(self.mounted);
        Running::start(
            Parts {
                server,
                tls,
                worker,
                reader,
                memory,
                restored,
                machines: machines.serving,
                directory: own_directory,
                data,
            },
            &self.shutdown,
        )
        .await
    }

    fn provisioner(
        &self,
        machines: Option<PathBuf>,
        own: Option<&TempDir>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Provisioner>, Error> {
        let directory = machines
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

    fn callbacks(&self, clock: Arc<dyn Clock>) -> Result<CallbackDeliver, Error> {
        let guard = Guard::new(self.callback_policy.clone());
        let config = ClientConfig {
            ca_pem: self.ca_pem.clone(),
            ..ClientConfig::with_slots(self.slots)
        };
        let client = Client::new(guard, &config);
        let secrets = Secrets::new(
            self.callback_secret.clone(),
            self.callback_secrets_dir.clone(),
        );
        Ok(CallbackDeliver::new(
            client.map_err(|error| Error::Callbacks(error.into()))?,
            secrets.map_err(|error| Error::Callbacks(error.into()))?,
            Schedule::default(),
            clock,
        ))
    }

    fn server(&self, secret: SecretString) -> vmctl_server::Config {
        vmctl_server::Config {
            name: "server-standalone".to_owned(),
            tls: self.tls.as_ref().map(Tls::server_config),
            job_ttl: self.job_ttl,
            compat_post_status: self.compat_post_status,
            paused_kinds: self.paused_kinds.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            admin_project: self.admin_project.clone(),
            policy: self.rules.clone(),
            callbacks: Guard::new(self.callback_policy.clone()),
            limits: Limits {
                drain: self.grace,
                ..self.limits.clone()
            },
            ..vmctl_server::Config::new(self.listen, secret)
        }
    }
}

/// Makes the bus of what the directory holds; without one, an empty bus.
async fn open_bus(
    data: Option<&Arc<DataDir>>,
    clock: &Arc<dyn Clock>,
) -> Result<(InMemoryBus, Restored), Error> {
    let Some(data) = data else {
        let empty = InMemoryBus::new(clock.clone(), BusLimits::default());
        return Ok((empty, Restored::default()));
    };
    let started = Instant::now();
    let from = Arc::clone(data);
    let journal = spawn_blocking(move || from.journal()).await;
    // The library checks what it reads; what it did not foresee may be a panic.
    let damaged = |panic: JoinError| DataError::Journal {
        path: data.path().to_owned(),
        source: JournalError::Damaged(panic.to_string()),
    };
    let journal = Arc::new(journal.map_err(damaged)??);
    let opened = InMemoryBus::with_journal(clock.clone(), KEPT, journal).await;
    let (bus, restored) = opened.map_err(|source| DataError::Journal {
        path: data.path().to_owned(),
        source,
    })?;
    tracing::info!(
        directory = %data.path().display(),
        log_entries = restored.log_entries,
        queued = restored.queued,
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "queues and log are read from the data directory"
    );
    Ok((bus, restored))
}

/// The worker's own API, as the server asks it.
struct Machines {
    url: Url,
    serving: AbortOnDropHandle<()>,
}

/// Serves it on loopback, as between processes: the same code, and a token that nobody else has.
fn serve_machines(
    provisioner: &Arc<dyn Provisioner>,
    token: &SecretString,
) -> Result<Machines, Error> {
    let listen = Listen::On(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let serve = || -> anyhow::Result<Machines> {
        let server = HealthServer::bind_for("machines", listen)?.context("it is on")?;
        let url = format!("http://{}", server.address()).parse()?;
        let router = machines::router(Arc::clone(provisioner), token.clone());
        let serving = AbortOnDropHandle::new(server.serve(router)?);
        Ok(Machines { url, serving })
    };
    serve().map_err(|error| Error::Api(error.into()))
}
