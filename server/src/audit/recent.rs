//! The newest audit entries of the log, of all servers, as this server's tail has read them.

use std::collections::VecDeque;

use jiff::Timestamp;
use vmctl_api_types::AuditEntry;

/// How many are kept.
pub(crate) const MOST: usize = 1_000;

/// The entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<AuditEntry>,
    since: Option<Timestamp>,
}

/// Entries, newest first, and since when none is missing.
pub(crate) struct Seen {
    pub items: Vec<AuditEntry>,
    pub since: Option<Timestamp>,
}

impl Recent {
    /// Entries may have been missed before this.
    pub fn restart(&mut self, now: Timestamp) {
        self.since = Some(now);
    }

    /// Adds an entry. A copy of one that is there is left out.
    pub fn push(&mut self, entry: AuditEntry) {
        if self
            .entries
            .iter()
            .rev()
            .take(16)
            .any(|have| have.id == entry.id)
        {
            return;
        }
        if self.entries.len() >= MOST
            && let Some(lost) = self.entries.pop_front()
        {
            self.since = self.since.max(Some(lost.time));
        }
        self.entries.push_back(entry);
    }

    pub fn newest(&self, most: usize, wanted: impl Fn(&AuditEntry) -> bool) -> Seen {
        let items = self.entries.iter().rev().filter(|entry| wanted(entry));
        Seen {
            items: items.take(most).cloned().collect(),
            since: self.since,
        }
    }
}
