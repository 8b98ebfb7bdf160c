//! What `vmctl-worker` is told: `docs/settings.md` lists it.

use std::{path::PathBuf, time::Duration};

use vmctl_core::Kind;
use vmctl_daemon::{Listen, Parsed, SecretUrl, settings};
use vmctl_worker::provisioner::simulated::FailRule;

settings! {
    /// The settings of one worker.
    pub struct Settings {
        /// Directory with a TOML file for each kind beside the built-in ones
        "kinds_dir" => kinds_dir: Option<PathBuf>,
        /// Certificates, PEM, to trust besides the system's, for RabbitMQ
        "ca_file" => ca_file: Option<PathBuf>,
        /// Kinds that this worker runs, comma-separated; all built-in ones if not set
        "worker.kinds" => kinds: Vec<Parsed<Kind>>,
        /// Jobs of one kind that run at once
        "worker.slots" = "8" => slots: u16,
        /// Addresses of the RabbitMQ nodes of one cluster, comma-separated
        "amqp.url" = "amqp://127.0.0.1:5672/%2f" => amqp_url: Vec<SecretUrl>,
        /// Messages that may be in flight at once: each has a channel of its own
        "amqp.channels" = "32" => amqp_channels: u16,
        /// Address of Redis: `redis://`, `rediss://`, `redis+sentinel://h1,h2/NAME/0` or `redis+cluster://h1,h2`
        "redis.url" = "redis://127.0.0.1:6379/0" => redis_url: SecretUrl,
        /// How long a simulated machine takes to be created
        "simulated.duration" = "90s" => simulated_duration: Duration,
        /// Directory of the simulated machines, shared by the workers that use it
        "simulated.dir" => simulated_dir: Option<PathBuf>,
        /// Phase of a simulated machine that fails, `PHASE:TIMES` or `PHASE` for ever
        "simulated.fail" => simulated_fail: Option<Parsed<FailRule>>,
        /// Address of `/health/*` and `/metrics`, or `off`
        "health.listen" = "127.0.0.1:8081" => health_listen: Listen,
    }
}
