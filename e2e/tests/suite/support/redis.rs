//! A Redis that belongs to one test, which may stop, freeze and flush it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use vmctl_daemon::testing::{Identity, free_port};

use super::{process::signal, wait::eventually};

/// A Redis with a port, running or not. What it was told is in [`Redis::written`].
pub struct Redis {
    port: u16,
    directory: TempDir,
    child: Option<Child>,
    /// The port on which it speaks TLS.
    secure: Option<u16>,
    /// A file of users, if it has any.
    users: Option<PathBuf>,
}

impl Redis {
    /// Chooses a port; nothing listens there yet.
    pub fn reserve() -> Result<Self> {
        Ok(Self {
            port: free_port(),
            directory: tempfile::tempdir()?,
            child: None,
            secure: None,
            users: None,
        })
    }

    /// Starts it once more, on another port too, where it speaks TLS and shows this. From then on that is its address.
    pub async fn restart_with_tls(&mut self, shown: &Identity) -> Result<()> {
        shown.write(self.directory.path(), "own")?;
        self.secure = Some(free_port());
        self.stop().await?;
        self.start().await
    }

    /// Starts it with the users of an ACL file, now and from now on.
    pub async fn start_with_users(&mut self, file: &Path) -> Result<()> {
        self.users = Some(file.to_owned());
        self.start().await
    }

    /// Starts it, with the data that it had.
    pub async fn start(&mut self) -> Result<()> {
        let mut command = Command::new("redis-server");
        if let Some(port) = self.secure {
            command
                .args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"])
                .arg("--tls-cert-file")
                .arg(self.directory.path().join("own.pem"))
                .arg("--tls-key-file")
                .arg(self.directory.path().join("own.key"));
        }
        if let Some(file) = &self.users {
            command.arg("--aclfile").arg(file);
        }
        let child = command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .arg("--dir")
            .arg(self.directory.path())
            .args(["--save", "", "--appendonly", "yes"])
            // Plain text, all of it, for those who look at it.
            .args(["--aof-use-rdb-preamble", "no"])
            .args(["--maxmemory", "256mb", "--maxmemory-policy", "noeviction"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting redis-server")?;
        self.child = Some(child);
        eventually("redis answers", async || match self.cli(&["ping"]) {
            Ok(answer) if answer.trim() == "PONG" => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await
    }

    /// Stops it, as an operator does.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            bail!("redis does not run");
        };
        signal(child.id(), "TERM")?;
        eventually("redis ends", async || match child.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await
    }

    /// Stops it, throws its data away and starts it again.
    pub async fn restart_empty(&mut self) -> Result<()> {
        self.stop().await?;
        fs::remove_dir_all(self.directory.path().join("appendonlydir"))?;
        self.start().await
    }

    /// Stops it from answering, as a hung machine does.
    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it answer again.
    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let child = self.child.as_ref().context("redis does not run")?;
        signal(child.id(), name)
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        match self.secure {
            Some(port) => format!("rediss://127.0.0.1:{port}/0"),
            None => format!("redis://127.0.0.1:{}/0", self.port),
        }
    }

    /// Forgets everything.
    pub fn flush(&self) -> Result<()> {
        let answer = self.cli(&["FLUSHALL"])?;
        ensure!(answer.trim() == "OK", "FLUSHALL: {answer}");
        Ok(())
    }

    /// Gives one command to `redis-cli`.
    pub fn cli(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(args)
            .output()
            .context("starting redis-cli")?;
        ensure!(output.status.success(), "redis-cli {args:?}: {output:?}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Returns every write that it was ever told, also what was overwritten or expired.
    pub fn written(&self) -> Result<String> {
        let mut text = String::new();
        for entry in fs::read_dir(self.directory.path().join("appendonlydir"))? {
            text += &String::from_utf8_lossy(&fs::read(entry?.path())?);
        }
        Ok(text)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Gone already, or gone now.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
