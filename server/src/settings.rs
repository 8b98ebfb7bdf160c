//! What `vmctl-server` is told: `docs/settings.md` lists it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;
use vmctl_api_types::Kind;
use vmctl_backends::links::Links;
use vmctl_daemon::{Parsed, SecretUrl, settings, settings::Value};
use vmctl_egress::Network;
use vmctl_search::IndexName;
use vmctl_server::{CompatPostStatus, CompatPostStatusError};

settings! {
    /// The settings of one server.
    pub struct Settings {
        /// Address that the API listens on; `/health/*` and `/metrics` are there too
        "listen" = "127.0.0.1:8080" => listen: SocketAddr,
        /// Time that a server that is told to stop goes on, not ready, until load balancers have seen it; a part of `drain_timeout`
        "drain_delay" = "0s" => drain_delay: Duration,
        /// Secret that ids are derived from; the same on every server, and never changed
        "id_secret" => id_secret: SecretString,
        /// How long an ended job can be read; the same as the reader's
        "job_ttl" = "24h" => job_ttl: Duration,
        /// Directory with a TOML file for each kind beside the built-in ones
        "kinds_dir" => kinds_dir: Option<PathBuf>,
        /// Kinds that take no jobs for now, comma-separated; what was accepted before goes on
        "paused_kinds" => paused_kinds: Vec<Parsed<Kind>>,
        /// Project that `POST /v1/connect` scopes to when the body names none; else the user's own
        "connect_project" => connect_project: Option<String>,
        /// Networks of proxies whose `X-Forwarded-For` is believed, comma-separated: `10.0.0.0/8,::1/128`
        "trusted_proxies" => trusted_proxies: Vec<Parsed<IpNet>>,
        /// Id of the project whose admins may in `/v1/admin` for all projects; admins of others for their own
        "admin_project" => admin_project: Option<String>,
        /// File of rules, YAML or JSON, that say who may do what in place of the defaults
        "policy_file" => policy_file: Option<PathBuf>,
        /// What `POST /v1/vm` answers: 202, or 200 as the original service did
        "compat_post_status" = "202" => compat_post_status: PostStatus,
        /// Let callbacks use `http` and port 80 too; for development
        "callback.allow_http" = "false" => callback_allow_http: bool,
        /// Ports that callbacks may use, comma-separated
        "callback.ports" = "443,8443" => callback_ports: Vec<u16>,
        /// Networks that callbacks may reach although they are not public, comma-separated
        "callback.allow_networks" => callback_allow_networks: Vec<Parsed<Network>>,
        /// Addresses of the workers' own API, comma-separated and tried in turn, for `vm.list` and `vm.show`
        "worker.api_url" => worker_api_url: Vec<Parsed<Url>>,
        /// What that API asks for
        "worker.api_token" => worker_api_token: Option<SecretString>,
        /// What the server shows to the other upstreams of synchronous kinds
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
        /// Address of Elasticsearch or OpenSearch, without user; absent, jobs cannot be searched
        "search.url" => search_url: Option<SecretUrl>,
        /// User of the search cluster, who only reads
        "search.username" => search_username: Option<String>,
        /// Password of that user
        "search.password" => search_password: Option<SecretString>,
        /// API key of Elasticsearch, encoded, in place of user and password
        "search.api_key" => search_api_key: Option<SecretString>,
        /// Data stream of the search cluster; the same as the reader's
        "search.name" = "vmctl-events" => search_name: Parsed<IndexName>,
        /// Address of Keystone, ending in `/v3`
        "keystone.url" => keystone_url: Parsed<Url>,
        /// Address of Keystone that clients are told; else the same
        "keystone.public_url" => keystone_public_url: Option<Parsed<Url>>,
        /// Name of the server's own user, which may validate tokens
        "keystone.username" => keystone_username: String,
        /// Password of the server's own user
        "keystone.password" => keystone_password: SecretString,
        /// Project of the server's own user
        "keystone.project" => keystone_project: String,
        /// Domain of the server's own user, by name
        "keystone.user_domain" = "Default" => keystone_user_domain: String,
        /// Domain of that project, by name
        "keystone.project_domain" = "Default" => keystone_project_domain: String,
        ..links: Links,
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
