//! What `vmctl-server check` tries: RabbitMQ, Redis, and Keystone with the server's own user.

use std::sync::Arc;

use anyhow::Result;
use vmctl_backends::rabbitmq::RabbitMq;
use vmctl_core::clock::SystemClock;
use vmctl_daemon::Check;

use crate::{bus, identity, policy, registry, settings::Settings, store};

pub(crate) fn checks(settings: &Settings, name: &str) -> Result<Vec<Check>> {
    registry(settings)?;
    policy(settings)?;
    let bus = bus(settings, name)?;
    let store = store(settings)?;
    let identity = identity(settings, Arc::new(SystemClock))?;
    Ok(vec![
        Check::new("rabbitmq", async { Ok(RabbitMq::reach(bus).await?) }),
        Check::new("redis", async move { Ok(store.check_policy().await?) }),
        Check::new("keystone", async move {
            identity.check().await?;
            Ok(None)
        }),
    ])
}
