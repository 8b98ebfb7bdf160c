//! `ansible.run`: a playbook of the worker's own, run by a real `ansible-playbook`.
//!
//! Playbooks come from one directory that the operator of the worker fills; a job names one and never
//! brings one. What a job does bring is data: hosts and variables, which go into files that only this
//! process can read, never on a command line and never where Ansible would take them for code
//! ([`checks`]).
//!
//! The same job may run a playbook twice. That is what playbooks are made for: Ansible's modules
//! change what is not yet as it should be.
//!
//! The playbook runs in one slice, and its processes ([`group`]) do not outlive it: they get SIGTERM
//! when the job is cancelled, its delivery is lost or its time is over, and SIGKILL [`GRACE`] later. What
//! they have left in the background is killed when the playbook has ended.

mod checks;
mod group;
mod recap;

use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
};
use tokio_util::sync::CancellationToken;
use vmctl_core::{JobError, LogStream};

use self::{group::Group, recap::Recap};
use super::{bad_input, failure};
use crate::{CancelReason, Ctx, Handler, LogSink, Outcome};

/// How long a playbook has between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(3);

/// Longest line of output that is read whole, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// How many of the last lines of output an error shows.
const LAST_LINES: usize = 10;

/// Where playbooks are, and what runs them.
#[derive(Debug, Clone)]
pub struct AnsibleConfig {
    /// The program: a path, or a name that is found in `PATH`.
    pub program: PathBuf,
    /// The directory of the playbooks. Ansible runs in it, so an `ansible.cfg` there counts.
    pub playbooks: PathBuf,
}

/// Runs playbooks.
pub struct AnsibleRun {
    program: PathBuf,
    playbooks: PathBuf,
}

#[derive(Deserialize)]
struct Input {
    playbook: String,
    hosts: Vec<String>,
    #[serde(default)]
    extra_vars: Map<String, Value>,
}

/// How a run ended.
enum End {
    Exited(ExitStatus),
    Stopped,
}

impl AnsibleRun {
    /// Makes the handler.
    ///
    /// # Errors
    ///
    /// The directory of playbooks cannot be read.
    pub fn new(config: AnsibleConfig) -> io::Result<Self> {
        let playbooks = config.playbooks.canonicalize()?;
        fs::read_dir(&playbooks)?;
        Ok(Self {
            program: config.program,
            playbooks,
        })
    }

    async fn play(&self, ctx: &Ctx, playbook: &Path, files: &Files) -> io::Result<(End, Recap)> {
        let mut command = self.command(playbook, files);
        // Held until the slice ends, however it ends: nothing of the playbook goes on after it.
        let (mut child, group) = Group::start(&mut command, files.0.path())?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let mut recap = Recap::new(LAST_LINES);
        let gone = CancellationToken::new();
        let log = ctx.log_sink();
        let reading = async {
            tokio::join!(
                lines(out, LogStream::Stdout, log, &gone),
                lines(err, LogStream::Stderr, log, &gone)
            )
        };
        let running = async {
            tokio::join!(reading, async {
                let exited = child.wait().await;
                // What is left of it may keep its output open.
                group.kill();
                gone.cancel();
                exited
            })
        };
        tokio::pin!(running);
        let ((out, err), exited, stopped) = tokio::select! {
            (read, exited) = &mut running => (read, exited?, false),
            () = stop(ctx) => {
                group.terminate();
                let grace = tokio::time::timeout(GRACE, &mut running).await;
                match grace {
                    Ok((read, exited)) => (read, exited?, true),
                    Err(_) => return Ok((End::Stopped, recap)),
                }
            }
        };
        for line in err.iter().chain(&out) {
            recap.read(line);
        }
        let end = if stopped {
            End::Stopped
        } else {
            End::Exited(exited)
        };
        Ok((end, recap))
    }

    fn command(&self, playbook: &Path, files: &Files) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--inventory")
            .arg(files.path("inventory.json"))
            .arg("--extra-vars")
            .arg(format!("@{}", files.path("vars.json").display()))
            .arg("--")
            .arg(playbook)
            .current_dir(&self.playbooks)
            .env_clear()
            .envs(
                ["PATH", "HOME", "SSH_AUTH_SOCK"]
                    .into_iter()
                    .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
            )
            .env("LANG", "C.UTF-8")
            .env("LC_ALL", "C.UTF-8")
            .env("ANSIBLE_NOCOLOR", "1")
            .env("ANSIBLE_STDOUT_CALLBACK", "default")
            .env("ANSIBLE_RETRY_FILES_ENABLED", "0")
            // A connection that is kept for later would outlive the slice, and its delivery.
            .env(
                "ANSIBLE_SSH_ARGS",
                "-C -o ControlMaster=no -o ControlPersist=no",
            )
            .env("ANSIBLE_LOCAL_TEMP", files.path("tmp"))
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

#[async_trait]
impl Handler for AnsibleRun {
    async fn run(&self, ctx: Ctx) -> Outcome {
        let input = match Input::deserialize(&ctx.job().input) {
            Ok(input) => input,
            Err(error) => return bad_input(error),
        };
        if is_cancelled(&ctx) {
            return Outcome::Cancelled;
        }
        let playbook = match checks::playbook(&self.playbooks, &input.playbook) {
            Ok(playbook) => playbook,
            Err(reason) => return bad_input(reason),
        };
        if let Err(reason) = checks::hosts(&input.hosts).and(checks::vars(&input.extra_vars)) {
            return bad_input(reason);
        }
        let ran = match Files::write(&input) {
            Ok(files) => self.play(&ctx, &playbook, &files).await,
            Err(error) => Err(error),
        };
        match ran {
            Ok((end, recap)) => conclude(&ctx, &end, &recap, &input.playbook),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the playbook could not be run"
                );
                Outcome::Retry {
                    after: None,
                    error: failure("ansible", "the worker cannot run playbooks now"),
                }
            }
        }
    }
}

fn conclude(ctx: &Ctx, end: &End, recap: &Recap, playbook: &str) -> Outcome {
    match end {
        End::Exited(status) if status.success() => Outcome::Done(json!({"hosts": recap.hosts()})),
        End::Stopped if is_cancelled(ctx) => {
            ctx.log("cancelled: the playbook was stopped; what it has changed stays");
            Outcome::Cancelled
        }
        End::Stopped => Outcome::Retry {
            after: None,
            error: failure("stopped", "the playbook was stopped before its end"),
        },
        End::Exited(status) => {
            let error = JobError {
                detail: Some(recap.last()),
                retryable: true,
                ..failure(
                    recap.word(status.code()),
                    &format!("playbook {playbook} failed ({status})"),
                )
            };
            // 4 says that hosts could not be reached (documented by ansible-playbook).
            if recap.is_unreachable(status.code()) {
                Outcome::Retry { after: None, error }
            } else {
                Outcome::Fail(error)
            }
        }
    }
}

fn is_cancelled(ctx: &Ctx) -> bool {
    matches!(ctx.cancel_reason(), Some(CancelReason::Requested(_)))
}

/// Waits until the playbook has to stop. A worker that drains lets it end.
async fn stop(ctx: &Ctx) {
    tokio::select! {
        () = ctx.cancel().cancelled() => {}
        () = ctx.lost().cancelled() => {}
    }
}

/// Reads a stream into the job's log; returns what is needed of it. An overlong line is cut into
/// several. A stream that somebody keeps open is read no longer than [`GRACE`] once the program is gone.
async fn lines(
    stream: Option<impl AsyncRead + Unpin>,
    kind: LogStream,
    log: &LogSink,
    gone: &CancellationToken,
) -> Vec<String> {
    let Some(stream) = stream else {
        return Vec::new();
    };
    let mut kept = recap::Kept::default();
    let mut stream = BufReader::new(stream);
    let mut buffer = Vec::new();
    let mut over = pin!(async {
        gone.cancelled().await;
        tokio::time::sleep(GRACE).await;
    });
    loop {
        buffer.clear();
        let mut part = tokio::io::AsyncReadExt::take(&mut stream, MAX_LINE);
        let read = tokio::select! {
            biased;
            () = &mut over => return kept.into_lines(),
            read = part.read_until(b'\n', &mut buffer) => read,
        };
        match read {
            Ok(0) | Err(_) => return kept.into_lines(),
            Ok(_) => {
                let line = String::from_utf8_lossy(&buffer);
                let line = line.trim_end_matches(['\n', '\r']);
                if !line.is_empty() {
                    log.write(kind, line);
                    kept.add(line);
                }
            }
        }
    }
}

/// The files of one run, gone with it. Nobody else can read them.
struct Files(TempDir);

impl Files {
    fn write(input: &Input) -> io::Result<Self> {
        // Made with mode 0700.
        let files = Self(TempDir::with_prefix("vmctl-ansible-")?);
        let hosts: Map<String, Value> = input
            .hosts
            .iter()
            .map(|host| (host.clone(), json!({})))
            .collect();
        let inventory = json!({"all": {"hosts": hosts}});
        fs::write(files.path("inventory.json"), inventory.to_string())?;
        fs::write(files.path("vars.json"), json!(input.extra_vars).to_string())?;
        fs::create_dir(files.path("tmp"))?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
