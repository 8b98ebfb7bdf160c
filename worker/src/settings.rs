//! What `vmctl-worker` is told: `docs/settings.md` lists it.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;
use vmctl_backends::links::Links;
use vmctl_core::Kind;
use vmctl_daemon::{Listen, Parsed, settings};
use vmctl_egress::Network;
use vmctl_worker::{kinds::AnsibleConfig, provisioner::simulated::FailRule};

settings! {
    /// The settings of one worker.
    pub struct Settings {
        /// Directory with a TOML file for each kind beside the built-in ones
        "kinds_dir" => kinds_dir: Option<PathBuf>,
        /// Kinds that this worker runs, comma-separated; all built-in ones if not set
        "worker.kinds" => kinds: Vec<Parsed<Kind>>,
        /// Jobs of one kind that run at once
        "worker.slots" = "8" => slots: u16,
        /// Longest slice of a job, unless its kind says otherwise; at most `amqp.ack_timeout` less 5 min
        "worker.slice_limit" = "10m" => slice_limit: Duration,
        /// `consumer_timeout` of the broker: how long it waits for an acknowledgement
        "amqp.ack_timeout" = "30m" => ack_timeout: Duration,
        /// Address of the worker's own API, which tells the server and other workers which machines exist, or `off`
        "worker.api_listen" = "off" => api_listen: Listen,
        /// What callers of that API must show; the same on every worker and server
        "worker.api_token" => api_token: Option<SecretString>,
        /// How long a simulated machine takes to be created
        "simulated.duration" = "90s" => simulated_duration: Duration,
        /// Directory of the simulated machines, shared by the workers that use it
        "simulated.dir" => simulated_dir: Option<PathBuf>,
        /// Phase of a simulated machine that fails, `PHASE:TIMES` or `PHASE` for ever
        "simulated.fail" => simulated_fail: Option<Parsed<FailRule>>,
        /// Secret that signs callbacks which name none, `whsec_` and base64; two while it is changed
        "callback.secret" => callback_secret: Option<SecretString>,
        /// Directory with a file for each other secret: `NAME`, or `NAME.PROJECT` for one project alone
        "callback.secrets_dir" => callback_secrets_dir: Option<PathBuf>,
        /// Waits between the attempts to deliver a callback, comma-separated; the last one repeats
        "callback.schedule" = "5s,5m,30m,2h,5h,10h,14h,20h,24h" => callback_schedule: Vec<Duration>,
        /// Let callbacks use `http` and port 80 too; for development
        "callback.allow_http" = "false" => callback_allow_http: bool,
        /// Ports that callbacks may use, comma-separated
        "callback.ports" = "443,8443" => callback_ports: Vec<u16>,
        /// Networks that callbacks may reach although they are not public, comma-separated
        "callback.allow_networks" => callback_allow_networks: Vec<Parsed<Network>>,
        /// Directory of the playbooks that `ansible.run` may run; without it this worker does not run that kind
        "ansible.playbooks" => ansible_playbooks: Option<PathBuf>,
        /// Program that runs playbooks
        "ansible.program" = "ansible-playbook" => ansible_program: PathBuf,
        /// Address of `/health/*` and `/metrics`, or `off`
        "health.listen" = "127.0.0.1:8081" => health_listen: Listen,
        ..links: Links,
    }
}

impl Settings {
    /// Where playbooks are, if there are any.
    pub fn ansible(&self) -> Option<AnsibleConfig> {
        Some(AnsibleConfig {
            program: self.ansible_program.clone(),
            playbooks: self.ansible_playbooks.clone()?,
        })
    }
}
