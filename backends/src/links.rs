//! What every program is told of RabbitMQ and Redis.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use vmctl_daemon::{SecretUrl, WrongSetting, authorities, settings};

use crate::{rabbitmq, redis};

settings! {
    /// Where RabbitMQ and Redis are, and whom to trust.
    pub struct Links {
        /// Certificates, PEM, to trust besides the system's, on every link but that to the collector of traces
        "ca_file" => ca_file: Option<PathBuf>,
        /// Addresses of the RabbitMQ nodes of one cluster, comma-separated
        "amqp.url" = "amqp://127.0.0.1:5672/%2f" => amqp_url: Vec<SecretUrl>,
        /// Messages that may be in flight at once: each has a channel of its own
        "amqp.channels" = "32" => amqp_channels: u16,
        /// Address of Redis: `redis://h`, `redis+sentinel://h1,h2/NAME/0` or `redis+cluster://h1,h2`; `rediss` for TLS
        "redis.url" = "redis://127.0.0.1:6379/0" => redis_url: SecretUrl,
    }
}

impl Links {
    /// Returns the authorities to trust besides the system's.
    pub fn trusted(&self) -> Result<Option<String>> {
        authorities(self.ca_file.as_deref())
    }

    /// Returns the store, which connects when it is asked something.
    pub fn store(&self) -> Result<redis::RedisStore> {
        let config = redis::Config {
            ca_pem: self.trusted()?,
            ..redis::Config::new(self.redis_url.expose())
        };
        redis::RedisStore::connect_lazy(config).context(WrongSetting("VMCTL_REDIS_URL"))
    }

    /// Returns how the program with this name connects to the broker.
    pub fn bus(&self, name: &str) -> Result<rabbitmq::Config> {
        let urls = self.amqp_url.iter().map(|url| url.expose().parse());
        let urls = urls
            .collect::<Result<_, _>>()
            .context(WrongSetting("VMCTL_AMQP_URL"))?;
        Ok(rabbitmq::Config {
            name: name.to_owned(),
            channels: self.amqp_channels.into(),
            ca_pem: self.trusted()?,
            ..rabbitmq::Config::new(urls)
        })
    }
}
