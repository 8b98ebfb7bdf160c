//! The server, on RabbitMQ, Redis and Keystone.

mod checks;
mod kinds;
mod policies;
mod settings;
mod topology;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use secrecy::{ExposeSecret as _, SecretString};
use vmctl_api_types::AuthDiscovery;
use vmctl_backends::{
    keystone::{self, KeystoneIdentity},
    rabbitmq, redis,
};
use vmctl_core::{
    clock::{Clock, SystemClock},
    kinds::Registry,
    store::project::ProjectLimits,
};
use vmctl_daemon::{Health, Process, Program, Status, Tls, WrongSetting, grace_after};
use vmctl_egress::Guard;
use vmctl_search::{Auth, Cluster};
use vmctl_server::{Backends, CheckState, Config, Limits, Readiness, SyncConfig, policy::Policy};

use settings::Settings;

/// How often the backends are asked how they are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often Redis is asked for its settings.
const POLICY_EVERY: Duration = Duration::from_secs(30);
/// Bytes that a secret has at least.
const SHORTEST_SECRET: usize = 16;

fn main() -> ExitCode {
    let about = "The HTTP API: takes jobs and answers how they are";
    let program = Program::new("vmctl-server", env!("CARGO_PKG_VERSION"), about)
        .with_checks(checks::checks)
        .with_command(kinds::command(), kinds::run)
        .with_command(policies::command(), policies::run)
        .with_command(topology::command(), topology::run);
    vmctl_daemon::main(&program, run)
}

async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    rabbitmq::describe_metrics();
    redis::describe_metrics();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let registry = registry(&settings)?;
    let trusted = process.trusted.as_deref();
    let rabbitmq = rabbitmq::RabbitMq::connect_lazy(settings.links.bus(&process.name, trusted)?);
    let store = settings.links.store(trusted)?;
    let backends = Backends {
        bus: rabbitmq.bus(),
        store: Arc::new(store.clone()),
        identity: identity(&settings, trusted, clock.clone())?,
        clock,
        registry: Arc::new(registry),
    };
    let server = config(&settings, &process)?.build(backends)?;
    watch(&process.health, &server.readiness(), store);
    let probes = process.health.router().merge(process.metrics.router());
    let server = server.mount(probes);
    tracing::info!(address = %server.address(), "listening");
    process.health.set_started();
    let ended = server.run(process.shutdown.clone()).await;
    rabbitmq.shutdown().await;
    Ok(ended?)
}

fn config(settings: &Settings, process: &Process) -> anyhow::Result<Config> {
    let url = settings
        .keystone_public_url
        .as_ref()
        .unwrap_or(&settings.keystone_url);
    let workers = settings.worker_api_url.iter().map(|url| url.0.clone());
    Ok(Config {
        tls: process.tls.as_ref().map(Tls::server_config),
        name: process.name.clone(),
        job_ttl: settings.job_ttl,
        compat_post_status: settings.compat_post_status.0,
        auth: AuthDiscovery::Keystone {
            url: url.0.to_string(),
        },
        connect_project: settings.connect_project.clone(),
        callbacks: Guard::new(vmctl_egress::Policy {
            allow_http: settings.callback_allow_http,
            ports: settings.callback_ports.clone(),
            allow_networks: settings
                .callback_allow_networks
                .iter()
                .map(|n| n.0)
                .collect(),
        }),
        trusted_proxies: settings.trusted_proxies.iter().map(|net| net.0).collect(),
        admin_project: settings.admin_project.clone(),
        policy: policy(settings)?,
        paused_kinds: settings
            .paused_kinds
            .iter()
            .map(|kind| kind.0.clone())
            .collect(),
        sync: SyncConfig {
            workers: workers.collect(),
            workers_token: settings.worker_api_token.clone(),
            token: settings.sync_token.clone(),
            ca_pem: process.trusted.clone().map(String::into_bytes),
        },
        search: search(settings, process.trusted.as_deref())?,
        limits: Limits {
            drain_delay: settings.drain_delay,
            drain: drain(settings, process.drain_timeout)?,
            project: ProjectLimits::from_settings(
                settings.quota_active_jobs,
                settings.quota_submissions,
                settings.quota_window,
            ),
            busy_queue: settings.quota_busy_queue.into(),
            fair_share: settings.quota_fair_share.into(),
            ..Limits::default()
        },
        ..Config::new(settings.listen, id_secret(settings)?)
    })
}

/// A short secret could be found by trying, and with it the ids of jobs.
fn id_secret(settings: &Settings) -> anyhow::Result<SecretString> {
    let is_long = settings.id_secret.expose_secret().len() >= SHORTEST_SECRET;
    ensure!(
        is_long,
        WrongSetting("VMCTL_ID_SECRET has less than 16 bytes")
    );
    Ok(settings.id_secret.clone())
}

fn drain(settings: &Settings, whole: Duration) -> anyhow::Result<Duration> {
    grace_after(settings.drain_delay, whole).context(WrongSetting("VMCTL_DRAIN_DELAY"))
}

fn registry(settings: &Settings) -> anyhow::Result<Registry> {
    match &settings.kinds_dir {
        Some(directory) => {
            Registry::with_directory(directory).context(WrongSetting("VMCTL_KINDS_DIR"))
        }
        None => Ok(Registry::built_in()?),
    }
}

fn policy(settings: &Settings) -> anyhow::Result<Policy> {
    let file = settings.policy_file.as_deref().map(Policy::from_file);
    Ok(file
        .transpose()
        .context(WrongSetting("VMCTL_POLICY_FILE"))?
        .unwrap_or_default())
}

/// Returns where jobs are searched.
fn search(settings: &Settings, trusted: Option<&str>) -> anyhow::Result<Option<Cluster>> {
    let Some(url) = &settings.search_url else {
        return Ok(None);
    };
    let auth = Auth::of(
        settings.search_username.clone(),
        settings.search_password.clone(),
        settings.search_api_key.clone(),
    );
    let cluster = Cluster::new(&vmctl_search::Config {
        url: SecretString::from(url.expose()),
        auth: auth.context(WrongSetting("VMCTL_SEARCH_USERNAME, _PASSWORD, _API_KEY"))?,
        name: settings.search_name.0.clone(),
        ca_pem: trusted.map(Vec::from),
    });
    Ok(Some(cluster.context(WrongSetting("VMCTL_SEARCH_URL"))?))
}

fn identity(
    settings: &Settings,
    trusted: Option<&str>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<KeystoneIdentity>> {
    let mut config = keystone::Config {
        url: settings.keystone_url.0.clone(),
        username: settings.keystone_username.clone(),
        password: settings.keystone_password.clone(),
        project: settings.keystone_project.clone(),
        user_domain: settings.keystone_user_domain.clone(),
        project_domain: settings.keystone_project_domain.clone(),
        connect_project: settings.connect_project.clone(),
        options: keystone::Options::default(),
    };
    config.options.ca_pem = trusted.map(Vec::from);
    let identity =
        KeystoneIdentity::new(config, clock).context(WrongSetting("VMCTL_KEYSTONE_URL"))?;
    Ok(Arc::new(identity))
}

fn watch(health: &Health, readiness: &Readiness, store: redis::RedisStore) {
    for (name, check) in readiness.checks() {
        health.poll(name, LOOK_EVERY, move || {
            let asked = check();
            async move {
                match asked.await {
                    CheckState::Ok => Status::Ok,
                    CheckState::Degraded(reason) => Status::Degraded(reason),
                    CheckState::Failing(reason) => Status::Failing(reason),
                }
            }
        });
    }
    health.poll("redis-policy", POLICY_EVERY, move || {
        let store = store.clone();
        async move {
            match store.check_policy().await {
                Ok(Some(warning)) => Status::Degraded(warning),
                // Whether Redis answers is another check.
                Ok(None) | Err(_) => Status::Ok,
            }
        }
    });
}
