//! One program of the suite as a process, with its log in a file.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    environment,
    wait::{eventually, within},
};

/// What is shown of a log when a test fails.
const TAIL: usize = 25;

/// A program that runs; killed when the test ends before it does.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where it answers: the API, or health and metrics.
    pub address: SocketAddr,
    scheme: &'static str,
    settled: bool,
}

impl Process {
    /// Starts a program with no environment but this, and waits until it listens.
    pub async fn start(
        program: &str,
        name: &str,
        log: &Path,
        settings: &[(String, String)],
    ) -> Result<Self> {
        let command = Command::new(environment::program(program)?);
        Self::run(command, name, log, settings).await
    }

    /// Starts a command with no environment but this, and waits until it listens.
    pub async fn run(
        command: Command,
        name: &str,
        log: &Path,
        settings: &[(String, String)],
    ) -> Result<Self> {
        let mut process = Self::spawn(command, name, log, settings)?;
        process.address = eventually(&format!("{name} listens"), async || {
            process.listens().map_err(|error| format!("{error:#}"))
        })
        .await?;
        Ok(process)
    }

    /// Starts a command with no environment but this.
    pub fn spawn(
        mut command: Command,
        name: &str,
        log: &Path,
        settings: &[(String, String)],
    ) -> Result<Self> {
        let tls = settings
            .iter()
            .any(|(name, _)| name == "VMCTL_TLS_CERT_FILE");
        let output = File::create(log)?;
        let child = command
            .env_clear()
            .env("PATH", environment::path())
            .env("VMCTL_LOG_FORMAT", "json")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            address: ([0, 0, 0, 0], 0).into(),
            scheme: if tls { "https" } else { "http" },
            settled: false,
        })
    }

    fn listens(&mut self) -> Result<SocketAddr> {
        if let Some(status) = self.child.try_wait()? {
            return Err(anyhow::anyhow!("it ended with {status}"));
        }
        let log = self.log()?;
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut addresses = lines.filter_map(|line| line["address"].as_str()?.parse().ok());
        addresses.next().context("no address in its log")
    }

    /// Returns the base of its URLs.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns everything that it has said.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) -> Result<()> {
        signal(self.id(), name)
    }

    /// Says whether it is still there.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Kills it, as a crash does.
    pub fn kill(mut self) -> Result<()> {
        self.settled = true;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub async fn exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        within(limit, &what, async || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        })
        .await
    }

    /// Stops it as an operator does; it must end well, and in time.
    pub async fn stop(mut self, limit: Duration) -> Result<()> {
        self.signal("TERM")?;
        let status = self.exit(limit).await?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        ensure!(!self.log()?.contains("panicked"), "{} panicked", self.name);
        self.settled = true;
        Ok(())
    }

    /// Takes its end as it was; the test has looked at it.
    pub fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already, or gone now.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.settled {
            let log = self.log().unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!(
                "--- the end of what {} said:\n{}",
                self.name,
                tail.join("\n")
            );
        }
    }
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    kill(&format!("kill -{name} {pid}"))
}

/// Sends a signal to a process that leads a group, and to all of its group.
pub fn signal_group(leader: u32, name: &str) -> Result<()> {
    kill(&format!("kill -s {name} -- -{leader}"))
}

fn kill(command: &str) -> Result<()> {
    let status = Command::new("sh").args(["-c", command]).status()?;
    ensure!(status.success(), "{command}: {status}");
    Ok(())
}
