//! Looks whether there is another pair.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::Tls;
use super::pair::{Contents, Files, Pair};

/// How often the files are looked at. What they hold is compared, so that any way of replacing them is
/// noticed: a mounted secret changes by a link alone.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks at the files of the pair, and shows what they hold.
pub(crate) struct Watch {
    tls: Tls,
    files: Files,
    /// What was tried last, so that one bad pair is said once.
    tried: Result<Contents, String>,
}

impl Watch {
    pub(super) fn new(tls: Tls, files: Files, shown: Contents) -> Self {
        Self {
            tls,
            files,
            tried: Ok(shown),
        }
    }

    /// Looks again and again, and whenever the process gets SIGHUP.
    ///
    /// # Errors
    ///
    /// If the signal cannot be had.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn start(self) -> io::Result<()> {
        let hangup = signal(SignalKind::hangup())?;
        tokio::spawn(self.run(hangup));
        Ok(())
    }

    async fn run(mut self, mut hangup: Signal) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let told = tokio::select! {
                _ = look.tick() => false,
                got = hangup.recv() => got.is_some(),
            };
            let files = self.files.clone();
            // A panic would be one of reading a file; the next look tries again.
            let Ok(read) = spawn_blocking(move || Ok(files.read()?)).await else {
                continue;
            };
            self.look(read, told);
        }
    }

    /// Shows what was read if it is another pair, or if somebody wants it.
    pub(super) fn look(&mut self, read: anyhow::Result<Contents>, told: bool) {
        let found = match &read {
            Ok(contents) => Ok(contents.clone()),
            Err(error) => Err(format!("{error:#}")),
        };
        if !told && found == self.tried {
            return;
        }
        self.tried = found;
        let pair = read.and_then(|read| Ok(Pair::of(&self.files, &read)?.in_time(&self.files)?));
        match pair {
            Ok(pair) => {
                self.tls.show(&pair);
                tracing::info!(
                    tls.expires = pair.expires(),
                    "the certificate is read again"
                );
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the new certificate is not used; the old one stays"
            ),
        }
    }
}
