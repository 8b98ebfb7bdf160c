//! The worker with our own kinds, on RabbitMQ, Redis and the simulated provisioner.

mod checks;
mod settings;

use std::{env, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use secrecy::SecretString;
use vmctl_backends::{rabbitmq, redis};
use vmctl_core::{
    clock::{Clock, SystemClock},
    kinds::Registry,
};
use vmctl_daemon::{Health, HealthServer, Listen, Process, Program, Status, WrongSetting};
use vmctl_egress::{Guard, Policy};
use vmctl_worker::{
    Backends, Config, Readiness, Worker,
    callbacks::{Client, ClientConfig, Schedule, Secrets},
    kinds::{self, CallbackDeliver},
    machines,
    provisioner::{
        self, Provisioner,
        simulated::{Simulated, SimulatedConfig},
    },
};

use settings::Settings;

/// How often Redis and the provisioner are asked how they are.
const LOOK_EVERY: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let about = "Takes jobs from the bus and does them";
    let program =
        Program::new("vmctl-worker", env!("CARGO_PKG_VERSION"), about).with_checks(checks::checks);
    vmctl_daemon::main(&program, run)
}

async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    vmctl_worker::describe_metrics();
    rabbitmq::describe_metrics();
    redis::describe_metrics();
    let Parts {
        worker,
        rabbitmq,
        store,
        provisioner,
        machines,
    } = Parts::new(
        &settings,
        process.trusted.as_deref(),
        &process.name,
        process.grace(),
    )?;
    watch(&process.health, worker.readiness(), store);
    if let Some(token) = machines {
        let server = HealthServer::bind_for("machines", settings.api_listen)?;
        let router = machines::router(Arc::clone(&provisioner), token);
        if let Some(server) = server {
            server.with_tls(process.tls.clone()).serve(router)?;
        }
    }
    watch_provisioner(&process.health, provisioner);
    if let Some(server) = HealthServer::bind(settings.health_listen)? {
        let probes = process.health.router().merge(process.metrics.router());
        server.with_tls(process.tls.clone()).serve(probes)?;
    }
    process.health.set_started();
    let ended = worker.run(process.shutdown.clone()).await;
    rabbitmq.shutdown().await;
    Ok(ended?)
}

/// What the settings make, before anything is started or connected.
struct Parts {
    worker: Worker,
    rabbitmq: rabbitmq::RabbitMq,
    store: redis::RedisStore,
    provisioner: Arc<dyn Provisioner>,
    /// What the worker's own API asks for, if it is served.
    machines: Option<SecretString>,
}

impl Parts {
    fn new(
        settings: &Settings,
        trusted: Option<&str>,
        name: &str,
        grace: Duration,
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let registry = Arc::new(registry(settings)?);
        let rabbitmq = rabbitmq::RabbitMq::connect_lazy(settings.links.bus(name, trusted)?);
        let store = settings.links.store(trusted)?;
        let backends = Backends {
            bus: rabbitmq.bus(),
            store: Arc::new(store.clone()),
            clock: clock.clone(),
            registry: registry.clone(),
        };
        let config = Config {
            app: env!("CARGO_BIN_NAME").to_owned(),
            kinds: settings.kinds.iter().map(|kind| kind.0.clone()).collect(),
            slots: settings.slots,
            drain_grace: grace,
            slice_limit: settings.slice_limit,
            ack_timeout: settings.ack_timeout,
            ..Config::new(name)
        };
        let callbacks = callbacks(settings, trusted, clock.clone())?;
        let provisioner = simulated(settings, clock)?;
        let ansible = kinds::ansible(settings.ansible());
        let worker = Worker::builder(config, backends)
            .handlers(kinds::built_in(&provisioner, &registry))
            .handlers(kinds::callbacks(callbacks))
            .handlers(ansible.context(WrongSetting("VMCTL_ANSIBLE_PLAYBOOKS"))?)
            .build()
            .context(WrongSetting("VMCTL_WORKER_KINDS, _SLICE_LIMIT"))?;
        let is_served = matches!(settings.api_listen, Listen::On(_));
        let token = settings.api_token.clone();
        let missing = WrongSetting("VMCTL_WORKER_API_LISTEN needs VMCTL_WORKER_API_TOKEN");
        Ok(Self {
            worker,
            rabbitmq,
            store,
            provisioner,
            machines: is_served
                .then(|| token.ok_or_else(|| anyhow::Error::msg(missing)))
                .transpose()?,
        })
    }
}

fn registry(settings: &Settings) -> anyhow::Result<Registry> {
    match &settings.kinds_dir {
        Some(directory) => {
            Registry::with_directory(directory).context(WrongSetting("VMCTL_KINDS_DIR"))
        }
        None => Ok(Registry::built_in()?),
    }
}

fn callbacks(
    settings: &Settings,
    trusted: Option<&str>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<CallbackDeliver> {
    let guard = Guard::new(Policy {
        allow_http: settings.callback_allow_http,
        ports: settings.callback_ports.clone(),
        allow_networks: settings
            .callback_allow_networks
            .iter()
            .map(|n| n.0)
            .collect(),
    });
    let config = ClientConfig {
        ca_pem: trusted.map(Vec::from),
        ..ClientConfig::with_slots(settings.slots)
    };
    let client = Client::new(guard, &config).context(WrongSetting("VMCTL_CA_FILE"))?;
    let directory = settings.callback_secrets_dir.clone();
    let secrets = Secrets::new(settings.callback_secret.clone(), directory)
        .context(WrongSetting("VMCTL_CALLBACK_SECRET"))?;
    let schedule = Schedule::new(&settings.callback_schedule);
    let schedule = schedule.context(WrongSetting("VMCTL_CALLBACK_SCHEDULE has no wait"))?;
    Ok(CallbackDeliver::new(client, secrets, schedule, clock))
}

fn simulated(settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Provisioner>> {
    let directory = settings.simulated_dir.clone().unwrap_or_else(state_dir);
    let config = SimulatedConfig {
        directory: directory.clone(),
        duration: settings.simulated_duration,
        fail: settings.simulated_fail.clone().map(|rule| rule.0),
    };
    let simulated = Simulated::open(config, clock)
        .with_context(|| format!("VMCTL_SIMULATED_DIR: {}", directory.display()))?;
    Ok(Arc::new(simulated))
}

/// Where the machines are when nobody says: a worker that comes back must find them again.
fn state_dir() -> PathBuf {
    let set = |name| env::var_os(name).filter(|path| !path.is_empty());
    let base = set("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/state")))
        .unwrap_or_else(env::temp_dir);
    base.join("vmctl/simulated")
}

/// Without Redis a worker works on: it only cancels later, and may do a copy's work twice.
fn watch(health: &Health, readiness: Readiness, store: redis::RedisStore) {
    health.check("work", move || match readiness.check() {
        Ok(()) => Status::Ok,
        Err(reason) => Status::Failing(reason),
    });
    health.poll("redis", LOOK_EVERY, move || {
        let store = store.clone();
        async move {
            match store.check_policy().await {
                Ok(None) => Status::Ok,
                Ok(Some(warning)) => Status::Degraded(warning),
                Err(error) => Status::Degraded(format!("{:#}", anyhow::Error::from(error))),
            }
        }
    });
}

/// A worker that cannot make machines is not ready, so that an update that breaks the provisioner
/// stops at its first worker. It goes on taking work: attempts fail and are tried again.
fn watch_provisioner(health: &Health, provisioner: Arc<dyn Provisioner>) {
    health.poll("provisioner", LOOK_EVERY, move || {
        let provisioner = provisioner.clone();
        async move {
            match provisioner.health().await {
                provisioner::Health::Ok => Status::Ok,
                provisioner::Health::Failing(reason) => Status::Failing(reason),
            }
        }
    });
}
