//! Entries of the log become documents.

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};
use vmctl_core::{
    bus::LogEntry,
    fact::{Fact, Retention, interpret},
    store::Position,
};
use vmctl_search::{Document, MOST_BYTES, MOST_DOCUMENTS};

use super::{Indexer, LINGER, LOOK, Restart, Session};
use crate::cursor::place;

/// Most entries that are taken from the log at once: these may have 256 KiB each.
const ENTRIES: usize = 100;

/// What a run of entries came to.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub documents: Vec<Document>,
    bytes: usize,
    /// Entries about a job that nobody can read.
    pub unusable: usize,
    /// The last entry.
    pub end: Option<Position>,
    /// When the newest entry was published.
    pub newest: Option<Timestamp>,
}

impl Batch {
    fn add(&mut self, entry: &LogEntry, retention: Retention) {
        match interpret(entry, retention) {
            Fact::Job(fact) => {
                let document = Document::of(&fact);
                self.bytes += document.line.len();
                self.documents.push(document);
            }
            Fact::Bad { reason, .. } => {
                self.unusable += 1;
                tracing::debug!(offset = entry.offset, reason, "an entry is not indexed");
            }
            Fact::Mark(_) | Fact::Other => {}
        }
        self.end = Some(place(entry));
        self.newest = entry.message.timestamp.or(self.newest);
    }

    fn is_full(&self) -> bool {
        self.documents.len() >= MOST_DOCUMENTS || self.bytes >= MOST_BYTES
    }
}

impl Indexer {
    /// Waits a while for an entry, and a little for more. What it has taken from the log it returns.
    pub(super) async fn gather(&self, session: &mut Session) -> Result<Batch, Restart> {
        let mut batch = Batch::default();
        let mut until = Instant::now() + LOOK;
        while !batch.is_full() {
            let Ok(entries) = timeout_at(until, session.reader.next_batch(ENTRIES)).await else {
                break;
            };
            for entry in &entries? {
                batch.add(entry, self.config.retention);
            }
            until = until.min(Instant::now() + LINGER);
        }
        Ok(batch)
    }
}
