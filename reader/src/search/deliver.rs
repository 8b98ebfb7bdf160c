//! A batch goes into the cluster, however often that has to be tried.

use std::collections::VecDeque;

use tokio::time::Instant;
use uuid::Uuid;
use vmctl_search::{Document, Sent, pieces};

use super::{Indexer, PATIENCE, Restart, Session};
use crate::{Backoff, metrics};

/// Reasons that are remembered; the products have few.
const MOST_REASONS: usize = 64;

impl Indexer {
    /// Returns when the cluster has every document, or will never take it.
    pub(super) async fn deliver(
        &self,
        session: &mut Session,
        documents: Vec<Document>,
    ) -> Result<(), Restart> {
        let mut backoff = Backoff::up_to(PATIENCE);
        let mut left: VecDeque<_> = pieces(documents, session.most_bytes).into();
        while let Some(piece) = left.pop_front() {
            let started = Instant::now();
            let sent = self.search.cluster.send(piece.clone(), session.flavour);
            match self.counted(sent.await) {
                Ok(sent) => {
                    ::metrics::histogram!(metrics::SEARCH_SECONDS)
                        .record(started.elapsed().as_secs_f64());
                    if sent.gone {
                        return Err(Restart::Gone);
                    }
                    let again = self.account(sent);
                    if again.is_empty() {
                        backoff.reset();
                    } else {
                        self.busy(again.len());
                        left.push_front(again);
                        backoff.wait().await;
                    }
                }
                Err(error) => match error.status() {
                    Some(413) => self.halve(session, piece, &mut left),
                    Some(429) => {
                        self.busy(piece.len());
                        left.push_front(piece);
                        backoff.wait().await;
                    }
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(())
    }

    /// Counts what became of documents, and returns those to be sent again.
    fn account(&self, sent: Sent) -> Vec<Document> {
        metrics::add(metrics::SEARCH_DOCUMENTS, "indexed", sent.indexed);
        metrics::add(metrics::SEARCH_DOCUMENTS, "present", sent.present);
        for (event, kind) in sent.refused {
            self.refused(event, &kind);
        }
        sent.again
    }

    /// Smaller pieces from now on; what is too large alone is given up.
    fn halve(
        &self,
        session: &mut Session,
        piece: Vec<Document>,
        left: &mut VecDeque<Vec<Document>>,
    ) {
        if let [document] = &*piece {
            self.refused(document.id, "too large");
            return;
        }
        let bytes: usize = piece.iter().map(|document| document.line.len()).sum();
        session.most_bytes = bytes / 2;
        let half = piece.len() / 2;
        let mut first = piece;
        let second = first.split_off(half);
        left.push_front(second);
        left.push_front(first);
    }

    fn busy(&self, documents: usize) {
        let trouble = format!("the search cluster is busy, {documents} documents wait");
        tracing::debug!(documents, "the search cluster is busy");
        self.status
            .update(|status| status.search.trouble = Some(trouble));
    }

    /// Gives a document up. Each reason is said once, with an event that shows it.
    fn refused(&self, event: Uuid, kind: &str) {
        metrics::add(metrics::SEARCH_DOCUMENTS, "refused", 1);
        let mut is_new = false;
        self.status.update(|status| {
            let reasons = &mut status.search.refusals;
            is_new = reasons.len() < MOST_REASONS && reasons.insert(kind.to_owned());
        });
        if is_new {
            tracing::error!(
                event.id = %event,
                reason = kind,
                "the search cluster refuses an event for what it is; it is not indexed, and so are others"
            );
        }
    }
}
