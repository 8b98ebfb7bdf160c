//! What `vmctl-reader` is told: `docs/settings.md` lists it.

use std::{fmt, str::FromStr, time::Duration};

use secrecy::SecretString;
use vmctl_backends::links::Links;
use vmctl_daemon::{Listen, Parsed, SecretUrl, settings};
use vmctl_search::IndexName;

settings! {
    /// The settings of one reader.
    pub struct Settings {
        /// How long an ended job can be read; the same as the server's
        "job_ttl" = "24h" => job_ttl: Duration,
        /// What this reader does, comma-separated: `fold` keeps the view, `search` fills the search cluster
        "reader.roles" = "fold,search" => roles: Vec<Parsed<Role>>,
        /// After how long without a word of it a live job is said again to the log; well below the log's 24 h
        "sweep.keep_after" = "12h" => sweep_keep_after: Duration,
        /// How long a work queue must have been empty before jobs that wait in it are published again
        "sweep.empty_for" = "5m" => sweep_empty_for: Duration,
        /// How long an ended job can be read at least, however full Redis is
        "pressure.least_kept" = "5m" => pressure_least_kept: Duration,
        /// Address of Elasticsearch or OpenSearch, without user; absent, the log is not indexed
        "search.url" => search_url: Option<SecretUrl>,
        /// User of the search cluster
        "search.username" => search_username: Option<String>,
        /// Password of that user
        "search.password" => search_password: Option<SecretString>,
        /// API key of Elasticsearch, encoded, in place of user and password
        "search.api_key" => search_api_key: Option<SecretString>,
        /// Data stream of the search cluster; the same as the server's
        "search.name" = "vmctl-events" => search_name: Parsed<IndexName>,
        /// How long the search cluster keeps an event at least
        "search.retention" = "30d" => search_retention: Duration,
        /// Address of `/health/*` and `/metrics`, or `off`
        "health.listen" = "127.0.0.1:8082" => health_listen: Listen,
        ..links: Links,
    }
}

/// What a reader does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Keeps the view, and does what goes with it.
    Fold,
    /// Fills the search cluster.
    Search,
}

/// A word that is no role.
#[derive(Debug)]
pub struct RoleError;

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a role is fold or search")
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text {
            "fold" => Ok(Self::Fold),
            "search" => Ok(Self::Search),
            _ => Err(RoleError),
        }
    }
}
