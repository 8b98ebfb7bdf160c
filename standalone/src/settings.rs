//! What `vmctl-standalone` is told: `docs/settings.md` lists it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use vmctl_daemon::{Parsed, settings, settings::Value};
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
        /// What `POST /v1/vm` answers: 202, or 200 as the original service did
        "compat_post_status" = "202" => compat_post_status: PostStatus,
        /// Jobs of one kind that run at once
        "worker.slots" = "8" => slots: u16,
        /// How long a simulated machine takes to be created
        "simulated.duration" = "90s" => simulated_duration: Duration,
        /// Directory of the simulated machines; else `machines` in the data directory, or a temporary one that goes away
        "simulated.dir" => simulated_dir: Option<PathBuf>,
        /// Phase of a simulated machine that fails, `PHASE:TIMES` or `PHASE` for ever
        "simulated.fail" => simulated_fail: Option<Parsed<FailRule>>,
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
