//! What queues give up, and where it goes.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    broker::Broker,
    message::REJECTED,
    queue::{Entry, Letter},
};

/// A message that its queue gives up.
pub(super) struct Dying {
    queue: String,
    entry: Entry,
    reason: &'static str,
}

impl Dying {
    pub fn new(queue: &str, entry: Entry, reason: &'static str) -> Self {
        Self {
            queue: queue.to_owned(),
            entry,
            reason,
        }
    }

    pub fn rejected(queue: &str, entry: Entry) -> Self {
        Self::new(queue, entry, REJECTED)
    }
}

impl Broker {
    /// Dead-letters messages; without a dead-letter exchange they are gone.
    pub(super) fn bury(&mut self, dying: Vec<Dying>, now: Instant) {
        for Dying {
            queue,
            entry,
            reason,
        } in dying
        {
            let spec = self.queues.get(&queue).map(|queue| &queue.spec);
            let Some(exchange) = spec.and_then(|spec| spec.dead_letter_exchange.as_ref()) else {
                continue;
            };
            let time = self.clock.now();
            let stored = Arc::new(entry.stored.dead(reason, &queue, exchange, time));
            let letter = Letter::new(stored, entry.into_held());
            self.forward(&queue, letter, now);
        }
    }

    /// Offers a dead letter to the queues that have not taken it yet. If one refuses, or none is
    /// bound, an at-least-once queue keeps it and offers it again.
    pub(super) fn forward(&mut self, from: &str, mut letter: Letter, now: Instant) {
        let stored = Arc::clone(&letter.stored);
        let targets = self.router.route(&stored.exchange, stored.routing_key());
        let mut open = targets.as_ref().is_none_or(|targets| targets.is_empty());
        for target in targets.iter().flat_map(|targets| targets.iter()) {
            if letter.taken.contains(target) || stored.went_round(target) {
                continue;
            }
            if self.fill(target, &stored, now) {
                letter.taken.push(Arc::clone(target));
            } else {
                open = true;
            }
        }
        if !open {
            return;
        }
        let due = match self.queues.get_mut(from) {
            Some(queue) if queue.spec.dead_letter_at_least_once => queue.keep_letter(letter, now),
            _ => return,
        };
        self.note_due(Some(due));
    }
}
