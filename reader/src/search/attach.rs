//! Goes on in the log where the position says, if that is still the log.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use vmctl_core::{
    bus::{LogReader, LogStart},
    store::Position,
};
use vmctl_search::{Flavour, MOST_BYTES};

use super::{Indexer, Restart, Session};
use crate::{cursor::place, metrics};

/// How often the entry at the position is asked for: the broker may be slow once.
const TRIES: usize = 2;

impl Indexer {
    /// Attaches behind the position, or at the oldest entry when there is none, or no such entry.
    pub(super) async fn attach(
        &self,
        position: Option<Position>,
        flavour: Flavour,
    ) -> Result<Session, Restart> {
        let reader = match &position {
            None => self.log.read(LogStart::First).await?,
            Some(position) => match self.meet(position).await? {
                Met::Entry(reader) => reader,
                Met::Not(reason) => {
                    tracing::warn!(
                        offset = position.offset,
                        reason,
                        "the log does not hold the entry of the position any more, indexing from its start"
                    );
                    metrics::add(metrics::SEARCH_VOID, reason, 1);
                    self.log.read(LogStart::First).await?
                }
            },
        };
        let now = Instant::now();
        Ok(Session {
            reader,
            flavour,
            written: position,
            written_at: now,
            looked_at: now,
            most_bytes: MOST_BYTES,
        })
    }

    /// Reads from the position until the entry there has come, or another one.
    async fn meet(&self, position: &Position) -> Result<Met, Restart> {
        let limit: Duration = self.config.position_timeout;
        for _ in 0..TRIES {
            let mut reader = self.log.read(LogStart::Offset(position.offset)).await?;
            let Ok(entries) = timeout(limit, reader.next_batch(1)).await else {
                continue;
            };
            let found = entries?.first().map(place);
            return Ok(match found {
                Some(found) if found == *position => Met::Entry(reader),
                // Entries that were dropped before they were indexed are gone.
                Some(found) if found.offset > position.offset => Met::Not("hole"),
                _ => Met::Not("void"),
            });
        }
        Ok(Met::Not("void"))
    }
}

enum Met {
    /// The very entry: what comes next is new.
    Entry(Box<dyn LogReader>),
    Not(&'static str),
}
