//! What queues give up, and where it goes.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    broker::Broker,
    message::REJECTED,
    queue::{Entry, Letter, Queue},
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
            self.forget_entry(&queue, &entry);
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
        let queue = self.queues.get_mut(from).filter(|_| open);
        let Some(queue) = queue.filter(|queue| queue.spec.dead_letter_at_least_once) else {
            if let (Some(number), Some(journal)) = (letter.number, &mut self.journal) {
                journal.remove_letter(from, number, &letter.stored);
            }
            return;
        };
        if let Some(journal) = &mut self.journal
            && queue.is_durable()
        {
            let is_new = letter.number.is_none();
            let number = letter.number.unwrap_or_else(|| queue.next_letter());
            letter.number = Some(number);
            journal.put_letter(from, number, &letter.stored, &letter.taken, is_new);
        }
        let due = queue.keep_letter(letter, now);
        self.note_due(Some(due));
    }

    /// Notes that a message has left its queue.
    pub(super) fn forget_entry(&mut self, queue: &str, entry: &Entry) {
        let is_durable = self.queues.get(queue).is_some_and(Queue::is_durable);
        if let Some(journal) = self.journal.as_mut().filter(|_| is_durable) {
            journal.remove_entry(queue, entry.place, &entry.stored);
        }
    }
}
