//! The server, on RabbitMQ, Redis and Keystone.

mod kinds;
mod settings;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use vmctl_api_types::AuthDiscovery;
use vmctl_backends::{
    keystone::{self, KeystoneIdentity},
    rabbitmq, redis,
};
use vmctl_core::{
    clock::{Clock, SystemClock},
    identity::Identity,
    kinds::Registry,
    store::project::ProjectLimits,
};
use vmctl_daemon::{Health, Process, Program, Status, Tls, authorities};
use vmctl_egress::{Guard, Policy};
use vmctl_server::{Backends, CheckState, Config, Limits, Readiness, SyncConfig};

use settings::Settings;

/// How often the backends are asked how they are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often Redis is asked for its settings.
const POLICY_EVERY: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let about = "The HTTP API: takes jobs and answers how they are";
    let program = Program::new("vmctl-server", env!("CARGO_PKG_VERSION"), about)
        .with_command(kinds::command(), kinds::run);
    vmctl_daemon::main(&program, run)
}

async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    rabbitmq::describe_metrics();
    redis::describe_metrics();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let registry = match &settings.kinds_dir {
        Some(directory) => Registry::with_directory(directory).context("VMCTL_KINDS_DIR")?,
        None => Registry::built_in()?,
    };
    let trusted = authorities(settings.ca_file.as_deref())?;
    let bus = bus(&settings, &process.name, trusted.clone())?;
    let rabbitmq = rabbitmq::RabbitMq::connect_lazy(bus);
    let store = redis::Config {
        ca_pem: trusted.clone(),
        ..redis::Config::new(settings.redis_url.expose())
    };
    let store = redis::RedisStore::connect_lazy(store).context("VMCTL_REDIS_URL")?;
    let backends = Backends {
        bus: rabbitmq.bus(),
        store: Arc::new(store.clone()),
        identity: identity(&settings, trusted.clone(), clock.clone())?,
        clock,
        registry: Arc::new(registry),
    };
    let server = config(&settings, trusted, &process).build(backends)?;
    watch(&process.health, &server.readiness(), store);
    let probes = process.health.router().merge(process.metrics.router());
    let server = server.mount(probes);
    tracing::info!(address = %server.address(), "listening");
    process.health.set_started();
    let ended = server.run(process.shutdown.clone()).await;
    rabbitmq.shutdown().await;
    Ok(ended?)
}

fn config(settings: &Settings, trusted: Option<String>, process: &Process) -> Config {
    let url = settings
        .keystone_public_url
        .as_ref()
        .unwrap_or(&settings.keystone_url);
    let workers = settings.worker_api_url.iter().map(|url| url.0.clone());
    Config {
        tls: process.tls.as_ref().map(Tls::server_config),
        name: process.name.clone(),
        job_ttl: settings.job_ttl,
        compat_post_status: settings.compat_post_status.0,
        auth: AuthDiscovery::Keystone {
            url: url.0.to_string(),
        },
        connect_project: settings.connect_project.clone(),
        callbacks: Guard::new(Policy {
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
        paused_kinds: settings
            .paused_kinds
            .iter()
            .map(|kind| kind.0.clone())
            .collect(),
        sync: SyncConfig {
            workers: workers.collect(),
            workers_token: settings.worker_api_token.clone(),
            token: settings.sync_token.clone(),
            ca_pem: trusted.map(String::into_bytes),
        },
        limits: Limits {
            drain: process.grace(),
            project: ProjectLimits::from_settings(
                settings.quota_active_jobs,
                settings.quota_submissions,
                settings.quota_window,
            ),
            busy_queue: settings.quota_busy_queue.into(),
            fair_share: settings.quota_fair_share.into(),
            ..Limits::default()
        },
        ..Config::new(settings.listen, settings.id_secret.clone())
    }
}

fn bus(
    settings: &Settings,
    name: &str,
    trusted: Option<String>,
) -> anyhow::Result<rabbitmq::Config> {
    let urls = settings.amqp_url.iter().map(|url| url.expose().parse());
    let urls = urls.collect::<Result<_, _>>().context("VMCTL_AMQP_URL")?;
    Ok(rabbitmq::Config {
        name: name.to_owned(),
        channels: settings.amqp_channels.into(),
        ca_pem: trusted,
        ..rabbitmq::Config::new(urls)
    })
}

fn identity(
    settings: &Settings,
    trusted: Option<String>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn Identity>> {
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
    config.options.ca_pem = trusted.map(String::into_bytes);
    let identity = KeystoneIdentity::new(config, clock).context("VMCTL_KEYSTONE_URL")?;
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
