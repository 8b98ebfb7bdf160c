//! Ctrl-C and SIGTERM while a job is followed: the first asks to detach, the second ends at once.
//!
//! They are heard on a thread of their own, so that a terminal that takes no output, or anything
//! else that blocks the main thread, cannot make Ctrl-C useless.

use std::{io, thread};

use tokio::sync::mpsc;

use crate::{error::CliError, exit::Exit};

/// Tells when to detach, and how the process ends then.
pub struct Signals(mpsc::Receiver<Exit>);

impl Signals {
    /// Starts listening; from here on the default action of both signals is gone.
    pub fn listen() -> Result<Self, CliError> {
        let (send, receive) = mpsc::channel(1);
        let (ready, started) = std::sync::mpsc::channel();
        let failed = |error: io::Error| {
            CliError::new(Exit::Internal, "signals cannot be received").why(error.to_string())
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || hear(&send, &ready))
            .map_err(failed)?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self(receive)),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(CliError::new(Exit::Internal, "signals cannot be received")),
        }
    }

    /// Waits for the first signal.
    pub async fn first(&mut self) -> Exit {
        match self.0.recv().await {
            Some(exit) => exit,
            // The thread ended without a signal, which it never does; waiting on is harmless.
            None => std::future::pending().await,
        }
    }
}

fn hear(send: &mpsc::Sender<Exit>, ready: &std::sync::mpsc::Sender<io::Result<()>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let mut next = match Listener::new() {
            Ok(listener) => listener,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let first = next.signal().await;
        // A full or closed channel means that the main thread knows or is gone.
        let _ = send.try_send(first);
        let second = next.signal().await;
        std::process::exit(second.code());
    });
}

#[cfg(unix)]
struct Listener {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Listener {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn signal(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Detached,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}

#[cfg(not(unix))]
struct Listener;

#[cfg(not(unix))]
impl Listener {
    #[expect(clippy::unnecessary_wraps, reason = "the same shape as on Unix")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn signal(&mut self) -> Exit {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Exit::Detached,
            Err(_) => std::future::pending().await,
        }
    }
}
