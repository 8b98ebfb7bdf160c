//! The reader, on RabbitMQ and Redis.

mod settings;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use vmctl_backends::{rabbitmq, redis};
use vmctl_core::{
    bus::{Bus, BusState},
    clock::SystemClock,
    fact::Retention,
    kinds::Registry,
};
use vmctl_daemon::{Health, HealthServer, Process, Program, Status, authorities};
use vmctl_reader::{Config, Reader, StatusWatch};

use settings::Settings;

/// How often Redis is asked how it is.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A mark arrives every second while a server runs.
const SILENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let about = "Folds the log of the bus into Redis, and ends jobs whose time is over";
    let program = Program::new("vmctl-reader", env!("CARGO_PKG_VERSION"), about);
    vmctl_daemon::main(&program, run)
}

async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    rabbitmq::describe_metrics();
    redis::describe_metrics();
    let trusted = authorities(settings.ca_file.as_deref())?;
    let bus = bus(&settings, &process.name, trusted.clone())?;
    let rabbitmq = rabbitmq::RabbitMq::connect_lazy(bus);
    let store = redis::Config {
        ca_pem: trusted,
        ..redis::Config::new(settings.redis_url.expose())
    };
    let store = redis::RedisStore::connect_lazy(store).context("VMCTL_REDIS_URL")?;
    let reader = Reader::new(
        Config {
            retention: Retention(settings.job_ttl),
            keep_after: settings.sweep_keep_after,
            empty_for: settings.sweep_empty_for,
            least_kept: settings.pressure_least_kept,
            ..Config::new(&process.name)
        },
        rabbitmq.bus(),
        Arc::new(store.clone()),
        Arc::new(SystemClock),
        &Registry::built_in()?,
    );
    watch(&process.health, rabbitmq.bus(), reader.status(), store);
    if let Some(server) = HealthServer::bind(settings.health_listen)? {
        let probes = process.health.router().merge(process.metrics.router());
        server.with_tls(process.tls.clone()).serve(probes)?;
    }
    process.health.set_started();
    let ended = reader.run(process.shutdown.clone()).await;
    rabbitmq.shutdown().await;
    Ok(ended?)
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

/// A reader takes no requests: failing says that somebody should look.
fn watch(health: &Health, bus: Bus, status: StatusWatch, store: redis::RedisStore) {
    health.check("bus", move || match bus.publisher.state() {
        BusState::Up => Status::Ok,
        // The log can be read all the same; the sweep waits.
        BusState::Blocked(reason) => Status::Degraded(format!("the broker is blocked: {reason}")),
        BusState::Down(reason) => Status::Failing(format!("no connection to the broker: {reason}")),
    });
    let pressed = status.clone();
    health.check("memory", move || match pressed.get().pressed {
        Some(share) => Status::Degraded(format!(
            "Redis is {:.0} % full, the oldest ended jobs are forgotten early",
            share * 100.0
        )),
        None => Status::Ok,
    });
    health.check("fold", move || match status.not_ready(SILENCE) {
        Some(reason) => Status::Failing(reason),
        None => Status::Ok,
    });
    health.poll("redis", LOOK_EVERY, move || {
        let store = store.clone();
        async move {
            match store.check_policy().await {
                Ok(None) => Status::Ok,
                Ok(Some(warning)) => Status::Degraded(warning),
                Err(error) => Status::Failing(format!("{:#}", anyhow::Error::from(error))),
            }
        }
    });
}
