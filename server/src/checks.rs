//! What `vmctl-server check` tries: RabbitMQ, Redis, and Keystone with the server's own user.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use vmctl_backends::rabbitmq::RabbitMq;
use vmctl_core::{clock::SystemClock, topology::Topology};
use vmctl_daemon::{Check, Trial};

use crate::{drain, id_secret, identity, policy, registry, search, settings::Settings};

/// How long the search cluster may take.
const SEARCH_TIME: Duration = Duration::from_secs(10);

pub(crate) fn checks(settings: &Settings, trial: &Trial) -> Result<Vec<Check>> {
    id_secret(settings)?;
    drain(settings, trial.drain_timeout)?;
    let topology = Topology::new(registry(settings)?.kinds().map(|spec| &spec.kind));
    policy(settings)?;
    let trusted = trial.trusted.as_deref();
    let bus = settings.links.bus(&trial.name, trusted)?;
    let store = settings.links.store(trusted)?;
    let identity = identity(settings, trusted, Arc::new(SystemClock))?;
    let search = search(settings, trusted)?;
    let mut checks = vec![
        Check::new("rabbitmq", async move {
            Ok(RabbitMq::reach(bus, &topology).await?)
        }),
        Check::new("redis", async move { Ok(store.check_policy().await?) }),
        Check::new("keystone", async move {
            identity.check().await?;
            Ok(None)
        }),
    ];
    checks.extend(search.map(|cluster| {
        Check::new("search", async move {
            cluster.reach(SEARCH_TIME).await?;
            Ok(None)
        })
    }));
    Ok(checks)
}
