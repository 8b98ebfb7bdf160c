//! From a request to the log, without holding the request up.
//!
//! Entries wait in a bounded queue for a few publishers of their own. What does not fit is dropped
//! and counted; while the broker is away the queue keeps the oldest. Entries about callers whom
//! nobody knows have a rate, so that strangers cannot fill the log.

use std::{
    convert::Infallible,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc},
    time::{Instant, sleep, sleep_until},
};
use vmctl_api_types::{Audit, AuditEntry};
use vmctl_core::{
    audit,
    bus::{LogEntry, PublishError},
    clock,
};

use super::recent::{Recent, Seen};
use crate::{app::App, error::chain};

/// How many entries are published at once.
pub(crate) const LANES: usize = 4;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// Takes entries of this server, and remembers the newest of all servers.
pub(crate) struct Recorder {
    sender: mpsc::Sender<AuditEntry>,
    receiver: AsyncMutex<mpsc::Receiver<AuditEntry>>,
    /// Recorded and not yet in the log.
    pending: AtomicUsize,
    strangers: Mutex<Rate>,
    recent: Mutex<Recent>,
}

impl Recorder {
    pub fn new(queue: usize, strangers: u32) -> Self {
        let (sender, receiver) = mpsc::channel(queue.max(1));
        Self {
            sender,
            receiver: AsyncMutex::new(receiver),
            pending: AtomicUsize::new(0),
            strangers: Mutex::new(Rate::new(strangers)),
            recent: Mutex::default(),
        }
    }

    /// Takes an entry, at once.
    pub fn record(&self, app: &App, data: Audit) {
        let outcome = data.outcome.as_str();
        metrics::counter!("audit_total", "outcome" => outcome).increment(1);
        if data.who.is_none() {
            let mut rate = self
                .strangers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if !rate.take(Instant::now()) {
                dropped("strangers");
                return;
            }
        }
        let entry = AuditEntry {
            id: clock::new_uuid(&*app.clock),
            time: app.now(),
            source: app.source(),
            data,
        };
        self.pending.fetch_add(1, Ordering::SeqCst);
        if self.sender.try_send(entry).is_err() {
            self.pending.fetch_sub(1, Ordering::SeqCst);
            dropped("full");
        }
    }

    /// Waits until everything is in the log, at most until an instant. What is left then is lost.
    pub async fn wait_until_published(&self, deadline: Instant) {
        let all = async {
            while self.pending.load(Ordering::SeqCst) > 0 {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = all => {}
            () = sleep_until(deadline) => {
                let left = self.pending.load(Ordering::SeqCst);
                tracing::warn!(entries = left, "stopped before the audit was in the log");
            }
        }
    }

    /// The tail sees every entry of the log from now on.
    pub fn sees_from(&self, now: Timestamp) {
        self.recent().restart(now);
    }

    /// Takes note of an entry of the log.
    pub fn saw(&self, entry: &LogEntry) {
        if let Some(entry) = audit::parse(&entry.message) {
            self.recent().push(entry);
        }
    }

    /// Returns the newest entries of the log that the tail has seen, and since when it has.
    pub fn newest(&self, most: usize, wanted: impl Fn(&AuditEntry) -> bool) -> Seen {
        self.recent().newest(most, wanted)
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dropped(reason: &'static str) {
    metrics::counter!("audit_dropped_total", "reason" => reason).increment(1);
}

/// Publishes entries for ever: one lane of [`LANES`].
pub(crate) async fn publish(app: &App) -> Infallible {
    let recorder = &app.audit;
    loop {
        let next = recorder.receiver.lock().await.recv().await;
        let Some(entry) = next else {
            // The recorder holds a sender itself.
            return std::future::pending().await;
        };
        deliver(app, &entry).await;
        recorder.pending.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Publishes until the broker has it, or will never take it. A copy has the same id.
async fn deliver(app: &App, entry: &AuditEntry) {
    let mut pause = FIRST_PAUSE;
    loop {
        match app.bus.publisher.publish(audit::to_message(entry)).await {
            Ok(()) => return,
            Err(error @ PublishError::Returned(_)) => {
                dropped("returned");
                tracing::warn!(error = chain(&error), "the broker takes no audit entry");
                return;
            }
            Err(error) => {
                tracing::debug!(error = chain(&error), "an audit entry waits for the broker");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// So many in a second.
struct Rate {
    most: u32,
    taken: u32,
    since: Option<Instant>,
}

impl Rate {
    const fn new(most: u32) -> Self {
        Self {
            most,
            taken: 0,
            since: None,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let over = |since: Instant| now.duration_since(since) >= Duration::from_secs(1);
        if self.since.is_none_or(over) {
            (self.since, self.taken) = (Some(now), 0);
        }
        self.taken = self.taken.saturating_add(1);
        self.taken <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_for_each_second() {
        let now = Instant::now();
        let mut rate = Rate::new(2);
        let taken = [now; 3].map(|now| rate.take(now));
        assert_eq!(taken, [true, true, false]);
        assert!(rate.take(now + Duration::from_secs(1)));
    }
}
