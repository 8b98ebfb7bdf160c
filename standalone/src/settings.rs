//! What `vmctl-standalone` is told: `docs/settings.md` lists it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use secrecy::SecretString;
use vmctl_api_types::Kind;
use vmctl_daemon::{Parsed, settings, settings::Value};
use vmctl_egress::Network;
use vmctl_server::{CompatPostStatus, CompatPostStatusError};
use vmctl_standalone::FailRule;

settings! {
    /// The settings of the standalone.
    pub struct Settings {
        /// Address that the API listens on; `/health/*` and `/metrics` are there too
        "listen" = "127.0.0.1:8080" => listen: SocketAddr,
        /// Directory that keeps jobs and machines; without one they are gone when it stops
        "data_dir" => data_dir: Option<PathBuf>,
        /// How long an ended job can be read
        "job_ttl" = "24h" => job_ttl: Duration,
        /// Directory with a TOML file for each kind beside the built-in ones
        "kinds_dir" => kinds_dir: Option<PathBuf>,
        /// Kinds that take no jobs for now, comma-separated; what was accepted before goes on
        "paused_kinds" => paused_kinds: Vec<Parsed<Kind>>,
        /// What `POST /v1/vm` answers: 202, or 200 as the original service did
        "compat_post_status" = "202" => compat_post_status: PostStatus,
        /// Networks of proxies whose `X-Forwarded-For` is believed, comma-separated: `10.0.0.0/8,::1/128`
        "trusted_proxies" => trusted_proxies: Vec<Parsed<IpNet>>,
        /// Name of the project whose admins may in `/v1/admin` for all projects; admins of others for their own
        "admin_project" => admin_project: Option<String>,
        /// File of rules, YAML or JSON, that say who may do what in place of the defaults
        "policy_file" => policy_file: Option<PathBuf>,
        /// What is shown to the upstreams of synchronous kinds
        "sync.token" => sync_token: Option<SecretString>,
        /// Jobs of one project that may be active at a time; 0 sets no limit
        "quota.active_jobs" = "10000" => quota_active_jobs: u32,
        /// Submissions of one project in `quota.window`; 0 sets no limit
        "quota.submissions" = "1000" => quota_submissions: u32,
        /// The time that `quota.submissions` counts for, in whole seconds
        "quota.window" = "1s" => quota_window: Duration,
        /// Waiting commands of a kind from which on a project may only have its fair share of active jobs
        "quota.busy_queue" = "1000" => quota_busy_queue: u32,
        /// Active jobs of a project that are its fair share
        "quota.fair_share" = "100" => quota_fair_share: u32,
        /// Jobs of one kind that run at once
        "worker.slots" = "8" => slots: u16,
        /// Secret that signs callbacks which name none, `whsec_` and base64; two while it is changed
        "callback.secret" => callback_secret: Option<SecretString>,
        /// Directory with a file for each other secret: `NAME`, or `NAME.PROJECT` for one project alone
        "callback.secrets_dir" => callback_secrets_dir: Option<PathBuf>,
        /// Let callbacks use `http` and port 80 too; for development
        "callback.allow_http" = "false" => callback_allow_http: bool,
        /// Ports that callbacks may use, comma-separated
        "callback.ports" = "443,8443" => callback_ports: Vec<u16>,
        /// Networks that callbacks may reach although they are not public, comma-separated
        "callback.allow_networks" => callback_allow_networks: Vec<Parsed<Network>>,
        /// How long a simulated machine takes to be created
        "simulated.duration" = "90s" => simulated_duration: Duration,
        /// Directory of the simulated machines; else `machines` in the data directory, or a temporary one that goes away
        "simulated.dir" => simulated_dir: Option<PathBuf>,
        /// Phase of a simulated machine that fails, `PHASE:TIMES` or `PHASE` for ever
        "simulated.fail" => simulated_fail: Option<Parsed<FailRule>>,
        /// Directory of the playbooks that `ansible.run` may run; without it nothing runs that kind
        "ansible.playbooks" => ansible_playbooks: Option<PathBuf>,
        /// Program that runs playbooks
        "ansible.program" = "ansible-playbook" => ansible_program: PathBuf,
    }
}

/// What `POST /v1/vm` answers.
#[derive(Debug, Clone, Copy)]
pub struct PostStatus(pub CompatPostStatus);

impl Value for PostStatus {
    const FORM: settings::Form = settings::Form::Bare;

    fn parse(text: &str) -> Result<Self, String> {
        text.parse::<u16>()
            .map_err(|_| CompatPostStatusError)
            .and_then(CompatPostStatus::try_from)
            .map(Self)
            .map_err(|error| format!("{text:?}: {error}"))
    }
}
