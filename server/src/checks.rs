//! What `vmctl-server check` tries: RabbitMQ, Redis, and Keystone with the server's own user.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use vmctl_backends::rabbitmq::RabbitMq;
use vmctl_core::{
    clock::SystemClock,
    identity::{Identity, IdentityError, Token},
};
use vmctl_daemon::Check;

use crate::{bus, identity, registry, settings::Settings, store};

/// No token of any Keystone: to be told so takes a right that the server needs.
const NO_TOKEN: &str = "vmctl-server-check";

pub(crate) fn checks(settings: Settings, name: &str) -> Result<Vec<Check>> {
    registry(&settings)?;
    let bus = bus(&settings, name)?;
    let store = store(&settings)?;
    let identity = identity(&settings, Arc::new(SystemClock))?;
    Ok(vec![
        Check::new("rabbitmq", async { Ok(RabbitMq::reach(bus).await?) }),
        Check::new("redis", async move { Ok(store.check_policy().await?) }),
        Check::new("keystone", async move { may_validate(&*identity).await }),
    ])
}

/// Has Keystone say that a token is none.
async fn may_validate(identity: &dyn Identity) -> Result<Option<String>> {
    match identity.validate(&Token::parse(NO_TOKEN)?).await {
        Err(IdentityError::Invalid) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(_) => Err(anyhow!("it takes a made-up token for a real one")),
    }
}
