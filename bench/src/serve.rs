//! A server that the bench runs itself: the one that ships, on the same backends, but for audit
//! entries, which it may throw away instead of publishing them. No setting of the product does that.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use vmctl_backends::{
    keystone::{self, KeystoneIdentity},
    rabbitmq::RabbitMq,
    redis::{self, RedisStore},
};
use vmctl_core::{
    bus::{BusState, Message, PublishError, Publisher},
    clock::{Clock, SystemClock},
    event::Control,
    kinds::Registry,
    store::project::ProjectLimits,
};
use vmctl_daemon::{Health, Status};
use vmctl_server::{Backends, Check, CheckState, Config, Limits};

use crate::services::{self, var};

/// How often it is looked whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Publishes everything but audit entries.
struct WithoutAudit(Arc<dyn Publisher>);

#[async_trait]
impl Publisher for WithoutAudit {
    async fn publish(&self, message: Message) -> Result<(), PublishError> {
        if message.routing_key.as_str().starts_with("audit.") {
            return Ok(());
        }
        self.0.publish(message).await
    }

    async fn publish_tick(&self, message: Message) -> Result<(), PublishError> {
        self.0.publish_tick(message).await
    }

    async fn broadcast(&self, control: Control) -> Result<(), PublishError> {
        self.0.broadcast(control).await
    }

    fn state(&self) -> BusState {
        self.0.state()
    }
}

/// Serves until it is told to stop.
pub(crate) async fn run(audited: bool) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let rabbit = RabbitMq::connect_lazy(services::amqp_config(&var("VMCTL_AMQP_URL")?)?);
    let mut bus = rabbit.bus();
    if !audited {
        bus.publisher = Arc::new(WithoutAudit(bus.publisher));
    }
    let identity = keystone::Config {
        url: var("VMCTL_KEYSTONE_URL")?.parse()?,
        username: var("VMCTL_KEYSTONE_USERNAME")?,
        password: var("VMCTL_KEYSTONE_PASSWORD")?.into(),
        project: var("VMCTL_KEYSTONE_PROJECT")?,
        user_domain: "Default".to_owned(),
        project_domain: "Default".to_owned(),
        connect_project: None,
        options: keystone::Options::default(),
    };
    let store = redis::Config::new(var("VMCTL_REDIS_URL")?);
    let backends = Backends {
        bus,
        store: Arc::new(RedisStore::connect_lazy(store)?),
        identity: Arc::new(KeystoneIdentity::new(identity, clock.clone())?),
        clock,
        registry: Arc::new(Registry::built_in()?),
    };
    let config = Config {
        limits: Limits {
            project: ProjectLimits::default(),
            ..Limits::default()
        },
        ..Config::new(
            var("VMCTL_LISTEN")?.parse()?,
            var("VMCTL_ID_SECRET")?.into(),
        )
    };
    let shutdown = CancellationToken::new();
    let mut stop = signal(SignalKind::terminate())?;
    let stopping = shutdown.clone();
    tokio::spawn(async move {
        stop.recv().await;
        stopping.cancel();
    });
    let server = config.build(backends).context("building the server")?;
    let (health, readiness) = (Health::new(), server.readiness());
    health.poll("server", LOOK_EVERY, move || {
        let readiness = readiness.clone();
        async move {
            let failing = |check: &Check| matches!(check.state, CheckState::Failing(_));
            if readiness.check().await.iter().any(failing) {
                return Status::Failing("not ready".to_owned());
            }
            Status::Ok
        }
    });
    health.set_started();
    let server = server.mount(health.router());
    let ended = server.run(shutdown).await;
    rabbit.shutdown().await;
    Ok(ended?)
}
