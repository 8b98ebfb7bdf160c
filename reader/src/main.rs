//! The reader, on RabbitMQ and Redis.

mod settings;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use secrecy::SecretString;
use vmctl_backends::{rabbitmq, redis};
use vmctl_core::{
    bus::{Bus, BusState},
    clock::SystemClock,
    fact::Retention,
    kinds::Registry,
    topology::Topology,
};
use vmctl_daemon::{Check, Health, HealthServer, Process, Program, Status, Trial, WrongSetting};
use vmctl_reader::{Config, Reader, Search, StatusWatch};
use vmctl_search::{Auth, Cluster};

use settings::{Role, Settings};

/// How often Redis is asked how it is.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A mark arrives every second while a server runs.
const SILENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let about = "Folds the log of the bus into Redis, and ends jobs whose time is over";
    let program =
        Program::new("vmctl-reader", env!("CARGO_PKG_VERSION"), about).with_checks(checks);
    vmctl_daemon::main(&program, run)
}

async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    rabbitmq::describe_metrics();
    redis::describe_metrics();
    let trusted = process.trusted.as_deref();
    let rabbitmq = rabbitmq::RabbitMq::connect_lazy(settings.links.bus(&process.name, trusted)?);
    let store = settings.links.store(trusted)?;
    let (folds, search) = roles(&settings, trusted)?;
    let searches = search.is_some();
    let reader = Reader::new(
        Config {
            folds,
            search,
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
    let (bus, status) = (rabbitmq.bus(), reader.status());
    watch(&process.health, bus, status, store, searches);
    if let Some(server) = HealthServer::bind(settings.health_listen)? {
        let probes = process.health.router().merge(process.metrics.router());
        server.with_tls(process.tls.clone()).serve(probes)?;
    }
    process.health.set_started();
    let ended = reader.run(process.shutdown.clone()).await;
    rabbitmq.shutdown().await;
    Ok(ended?)
}

/// What `vmctl-reader check` tries.
fn checks(settings: &Settings, trial: &Trial) -> anyhow::Result<Vec<Check>> {
    let trusted = trial.trusted.as_deref();
    let bus = settings.links.bus(&trial.name, trusted)?;
    let topology = Topology::new(Registry::built_in()?.kinds().map(|spec| &spec.kind));
    let store = settings.links.store(trusted)?;
    let (_, search) = roles(settings, trusted)?;
    let mut checks = vec![
        Check::new("rabbitmq", async move {
            Ok(rabbitmq::RabbitMq::reach(bus, &topology).await?)
        }),
        Check::new("redis", async move { Ok(store.check_policy().await?) }),
    ];
    checks.extend(search.map(|search| {
        Check::new("search", async move {
            search.cluster.position().await?;
            Ok(None)
        })
    }));
    Ok(checks)
}

/// Returns whether the log is folded here, and where it is indexed, if it is here.
fn roles(settings: &Settings, trusted: Option<&str>) -> anyhow::Result<(bool, Option<Search>)> {
    let folds = settings.roles.iter().any(|role| role.0 == Role::Fold);
    let search = search(settings, trusted)?;
    ensure!(
        folds || search.is_some(),
        WrongSetting(
            "VMCTL_READER_ROLES leaves nothing to do: without fold it needs search and VMCTL_SEARCH_URL"
        )
    );
    Ok((folds, search))
}

fn search(settings: &Settings, trusted: Option<&str>) -> anyhow::Result<Option<Search>> {
    let is_ours = settings.roles.iter().any(|role| role.0 == Role::Search);
    let Some(url) = settings.search_url.as_ref().filter(|_| is_ours) else {
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
    Ok(Some(Search {
        cluster: cluster.context(WrongSetting("VMCTL_SEARCH_URL"))?,
        retention: settings.search_retention,
    }))
}

/// A reader takes no requests: failing says that somebody should look.
fn watch(health: &Health, bus: Bus, status: StatusWatch, store: redis::RedisStore, searches: bool) {
    health.check("bus", move || match bus.publisher.state() {
        BusState::Up => Status::Ok,
        // The log can be read all the same; the sweep waits.
        BusState::Blocked(reason) => Status::Degraded(format!("the broker is blocked: {reason}")),
        BusState::Down(reason) => Status::Failing(format!("no connection to the broker: {reason}")),
    });
    let pressed = status.clone();
    let indexing = status.clone();
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
    if searches {
        // Never failing: nobody who submits or asks for a job waits for it.
        health.check("search", move || match indexing.get().search.trouble {
            Some(reason) => Status::Degraded(reason),
            None => Status::Ok,
        });
    }
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
