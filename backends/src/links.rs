//! What every program is told of RabbitMQ and Redis.

use anyhow::{Context as _, Result};
use vmctl_daemon::{SecretUrl, WrongSetting, settings};

use crate::{rabbitmq, redis};

settings! {
    /// Where RabbitMQ and Redis are.
    pub struct Links {
        /// Addresses of the RabbitMQ nodes of one cluster, comma-separated
        "amqp.url" = "amqp://127.0.0.1:5672/%2f" => amqp_url: Vec<SecretUrl>,
        /// Messages that may be in flight at once: each has a channel of its own
        "amqp.channels" = "32" => amqp_channels: u16,
        /// Address of Redis: `redis://h`, `redis+sentinel://h1,h2/NAME/0` or `redis+cluster://h1,h2`; `rediss` for TLS
        "redis.url" = "redis://127.0.0.1:6379/0" => redis_url: SecretUrl,
    }
}

impl Links {
    /// Returns the store, which connects when it is asked something, and trusts these authorities (PEM) too.
    pub fn store(&self, trusted: Option<&str>) -> Result<redis::RedisStore> {
        let config = redis::Config {
            ca_pem: trusted.map(str::to_owned),
            ..redis::Config::new(self.redis_url.expose())
        };
        redis::RedisStore::connect_lazy(config).context(WrongSetting("VMCTL_REDIS_URL"))
    }

    /// Returns how the program with this name connects to the broker, whom these authorities (PEM) may vouch for too.
    pub fn bus(&self, name: &str, trusted: Option<&str>) -> Result<rabbitmq::Config> {
        let urls = self.amqp_url.iter().map(|url| url.expose().parse());
        let urls = urls
            .collect::<Result<_, _>>()
            .context(WrongSetting("VMCTL_AMQP_URL"))?;
        Ok(rabbitmq::Config {
            name: name.to_owned(),
            channels: self.amqp_channels.into(),
            ca_pem: trusted.map(str::to_owned),
            ..rabbitmq::Config::new(urls)
        })
    }
}
