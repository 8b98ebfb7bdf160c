//! Where files are: the XDG directories, on every system.

use std::path::PathBuf;

use etcetera::base_strategy::{BaseStrategy as _, Xdg};

use crate::{error::CliError, exit::Exit};

/// The directories of this user.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Configuration: no secrets.
    pub config_file: PathBuf,
    /// The credentials file, used with consent only.
    pub credentials_file: PathBuf,
    /// The last job that was submitted from here.
    pub last_job_file: PathBuf,
}

impl Paths {
    /// Finds the directories; `config_dir` overrides that of the configuration.
    pub fn find(config_dir: Option<PathBuf>) -> Result<Self, CliError> {
        let xdg = Xdg::new().map_err(|_| {
            CliError::new(Exit::Config, "there is no home directory")
                .why("HOME is not set")
                .next("set HOME, or use VMCTL_TOKEN and VMCTL_ENDPOINT")
        })?;
        let config_dir = config_dir
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or_else(|| xdg.config_dir().join("vmctl"));
        let state_dir = xdg.state_dir().unwrap_or_else(|| xdg.data_dir());
        Ok(Self {
            config_file: config_dir.join("config.toml"),
            credentials_file: xdg.data_dir().join("vmctl").join("credentials.json"),
            last_job_file: state_dir.join("vmctl").join("last-job"),
        })
    }
}
