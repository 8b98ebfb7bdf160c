//! How a process ends.
//!
//! ```text
//! running --first SIGTERM or SIGINT--> draining --done--------------> 0
//!    |                                    |------drain timeout------> 1
//!    |                                    |------second signal------> 143 or 130, at once
//!    |--stops or fails by itself------------------------------------> 1
//! ```
//!
//! Signals are read on a thread of their own, so that a busy runtime cannot delay them.

use std::process;
use std::thread;
use std::time::Duration;
use std::{fmt, io};

use anyhow::Context;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How a component ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to stop, and did.
    Drained,
    /// It failed, told to stop or not.
    Failed(anyhow::Error),
    /// It stopped though nobody told it to.
    ByItself,
    /// It was told to stop and did not in time.
    TimedOut(Duration),
}

impl Ended {
    /// Logs how it ended, and gives the exit code: zero only if it was told to stop and did, 2 for a
    /// [`WrongSetting`].
    pub fn report(self) -> u8 {
        match self {
            Self::Drained => {
                tracing::info!("stopped");
                return 0;
            }
            Self::Failed(error) => {
                tracing::error!("stopped by an error: {error:#}");
                if error.is::<WrongSetting>() {
                    return 2;
                }
            }
            Self::ByItself => tracing::error!("stopped by itself"),
            Self::TimedOut(limit) => tracing::error!(
                drain_timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
                "still draining when its time was over: stopped"
            ),
        }
        1
    }
}

/// The setting that an error is about, as the error's context. A process that it ends has exit code 2, as for a value that
/// cannot be read: whoever starts processes again need not try this one before somebody has mended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongSetting(pub &'static str);

impl fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a command could not ask, as its error's context: it has found nothing out, and its exit code is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAsked(pub &'static str);

impl fmt::Display for NotAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The life of one process, from its start to its last signal.
pub struct Lifecycle {
    shutdown: CancellationToken,
    drain_timeout: Duration,
}

impl Lifecycle {
    /// Starts to listen to SIGTERM and SIGINT.
    pub fn start(drain_timeout: Duration) -> anyhow::Result<Self> {
        let shutdown = CancellationToken::new();
        listen(shutdown.clone()).context("cannot listen to signals")?;
        Ok(Self {
            shutdown,
            drain_timeout,
        })
    }

    /// The token that the first signal cancels.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Runs a component to its end, at most the drain timeout after it was told to stop.
    pub async fn run(&self, component: impl Future<Output = anyhow::Result<()>>) -> Ended {
        run(component, &self.shutdown, self.drain_timeout).await
    }
}

async fn run(
    component: impl Future<Output = anyhow::Result<()>>,
    shutdown: &CancellationToken,
    drain_timeout: Duration,
) -> Ended {
    let too_long = async {
        shutdown.cancelled().await;
        tokio::time::sleep(drain_timeout).await;
    };
    tokio::select! {
        biased;
        result = component => match result {
            Err(error) => Ended::Failed(error),
            Ok(()) if shutdown.is_cancelled() => Ended::Drained,
            Ok(()) => Ended::ByItself,
        },
        () = too_long => Ended::TimedOut(drain_timeout),
    }
}

fn listen(shutdown: CancellationToken) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        )
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                let first = next(&mut terminate, &mut interrupt).await;
                tracing::info!(
                    signal = first.name,
                    "stopping: a second signal ends at once"
                );
                shutdown.cancel();
                let second = next(&mut terminate, &mut interrupt).await;
                tracing::warn!(signal = second.name, "second signal: ended at once");
                process::exit(second.code);
            });
        })?;
    Ok(())
}

struct Received {
    name: &'static str,
    /// 128 and the number of the signal, as shells count.
    code: i32,
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> Received {
    tokio::select! {
        _ = terminate.recv() => Received { name: "SIGTERM", code: 143 },
        _ = interrupt.recv() => Received { name: "SIGINT", code: 130 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(25);

    #[tokio::test(start_paused = true)]
    async fn the_end_depends_on_who_asked_for_it() {
        let told = CancellationToken::new();
        told.cancel();
        let free = CancellationToken::new();
        assert!(matches!(
            run(async { Ok(()) }, &told, LIMIT).await,
            Ended::Drained
        ));
        assert!(matches!(
            run(async { Ok(()) }, &free, LIMIT).await,
            Ended::ByItself
        ));
        for token in [&told, &free] {
            let failed = run(async { anyhow::bail!("no") }, token, LIMIT).await;
            assert!(matches!(failed, Ended::Failed(_)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_has_an_end() {
        let shutdown = CancellationToken::new();
        let start = tokio::time::Instant::now();
        let cancel = shutdown.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LIMIT).await;
            cancel.cancel();
        });
        let ended = run(std::future::pending(), &shutdown, LIMIT).await;
        assert!(matches!(ended, Ended::TimedOut(LIMIT)));
        assert_eq!(start.elapsed(), 2 * LIMIT);
    }
}
