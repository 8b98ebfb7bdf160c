//! What `vmctl-worker check` tries: RabbitMQ, Redis and the provisioner.

use std::time::Duration;

use anyhow::{Result, bail};
use vmctl_backends::rabbitmq::RabbitMq;
use vmctl_core::topology::Topology;
use vmctl_daemon::{Check, Trial};
use vmctl_worker::provisioner::Health;

use crate::{Parts, settings::Settings};

pub(crate) fn checks(settings: &Settings, trial: &Trial) -> Result<Vec<Check>> {
    let trusted = trial.trusted.as_deref();
    let Parts {
        worker,
        store,
        provisioner,
        ..
    } = Parts::new(settings, trusted, &trial.name, Duration::ZERO)?;
    let topology = Topology::new(worker.kinds());
    let bus = settings.links.bus(&trial.name, trusted)?;
    Ok(vec![
        Check::new("rabbitmq", async move {
            Ok(RabbitMq::reach(bus, &topology).await?)
        }),
        Check::new("redis", async move { Ok(store.check_policy().await?) }),
        Check::new("provisioner", async move {
            match provisioner.health().await {
                Health::Ok => Ok(None),
                Health::Failing(reason) => bail!(reason),
            }
        }),
    ])
}
