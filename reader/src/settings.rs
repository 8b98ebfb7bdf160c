//! What `vmctl-reader` is told: `docs/settings.md` lists it.

use std::{path::PathBuf, time::Duration};

use vmctl_daemon::{Listen, SecretUrl, settings};

settings! {
    /// The settings of one reader.
    pub struct Settings {
        /// How long an ended job can be read; the same as the server's
        "job_ttl" = "24h" => job_ttl: Duration,
        /// Certificates, PEM, to trust besides the system's, for RabbitMQ and Redis
        "ca_file" => ca_file: Option<PathBuf>,
        /// Addresses of the RabbitMQ nodes of one cluster, comma-separated
        "amqp.url" = "amqp://127.0.0.1:5672/%2f" => amqp_url: Vec<SecretUrl>,
        /// Messages that may be in flight at once: each has a channel of its own
        "amqp.channels" = "32" => amqp_channels: u16,
        /// Address of Redis: `redis://h`, `redis+sentinel://h1,h2/NAME/0` or `redis+cluster://h1,h2`; `rediss` for TLS
        "redis.url" = "redis://127.0.0.1:6379/0" => redis_url: SecretUrl,
        /// After how long without a word of it a live job is said again to the log; well below the log's 24 h
        "sweep.keep_after" = "12h" => sweep_keep_after: Duration,
        /// How long a work queue must have been empty before jobs that wait in it are published again
        "sweep.empty_for" = "5m" => sweep_empty_for: Duration,
        /// How long an ended job can be read at least, however full Redis is
        "pressure.least_kept" = "5m" => pressure_least_kept: Duration,
        /// Address of `/health/*` and `/metrics`, or `off`
        "health.listen" = "127.0.0.1:8082" => health_listen: Listen,
    }
}
