//! What `vmctl-worker check` tries: RabbitMQ, Redis and the provisioner.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use vmctl_backends::rabbitmq::RabbitMq;
use vmctl_core::clock::{Clock, SystemClock};
use vmctl_daemon::Check;
use vmctl_worker::{kinds, provisioner::Health};

use crate::{bus, callbacks, registry, settings::Settings, simulated, store};

pub(crate) fn checks(settings: &Settings, name: &str) -> Result<Vec<Check>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    registry(settings)?;
    callbacks(settings, clock.clone())?;
    kinds::ansible(settings.ansible()).context("VMCTL_ANSIBLE_PLAYBOOKS")?;
    let bus = bus(settings, name)?;
    let store = store(settings)?;
    let provisioner = simulated(settings, clock)?;
    Ok(vec![
        Check::new("rabbitmq", async { Ok(RabbitMq::reach(bus).await?) }),
        Check::new("redis", async move { Ok(store.check_policy().await?) }),
        Check::new("provisioner", async move {
            match provisioner.health().await {
                Health::Ok => Ok(None),
                Health::Failing(reason) => bail!(reason),
            }
        }),
    ])
}
