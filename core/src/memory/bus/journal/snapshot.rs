//! What a journal should hold, told for tests: two brokers that tell the same hold the same.

use std::collections::BTreeMap;

use crate::memory::bus::{InMemoryBus, broker::Broker, message::Stored, queue::Queue};

impl InMemoryBus {
    /// Returns, for each durable queue and each stream, a line for each message in it.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<String>> {
        self.0.with(|broker, _| broker.snapshot())
    }

    /// Says whether the journal has everything that was done.
    pub fn is_kept(&self) -> bool {
        self.0.with(|broker, _| {
            let journal = broker.journal.as_ref();
            journal
                .is_none_or(|journal| journal.noted() == 0 && journal.kept() + 1 == journal.open())
        })
    }
}

impl Broker {
    fn snapshot(&self) -> BTreeMap<String, Vec<String>> {
        let durable = self.queues.iter().filter(|(_, queue)| queue.is_durable());
        let mut all: BTreeMap<_, _> = durable.map(|(n, q)| (n.clone(), lines(q))).collect();
        for (name, entry) in self.in_hand() {
            if let Some(lines) = all.get_mut(name) {
                // To be handed out counts, in case it is never settled.
                lines.push(entry_line(entry.place, &entry.stored, entry.returns + 1));
            }
        }
        for lines in all.values_mut() {
            lines.sort();
        }
        for (name, stream) in &self.streams {
            let line = |(offset, stored): (u64, &std::sync::Arc<Stored>)| {
                format!("offset {offset:08}: {}", message(stored))
            };
            all.insert(name.clone(), stream.all().map(line).collect());
        }
        all
    }
}

fn lines(queue: &Queue) -> Vec<String> {
    let entries = queue.entries();
    let entries = entries.map(|entry| entry_line(entry.place, &entry.stored, entry.returns));
    let letters = queue.letters().map(|letter| {
        let number = letter.number.unwrap_or(u64::MAX);
        format!(
            "letter {number}: {}, taken by {:?}",
            message(&letter.stored),
            letter.taken
        )
    });
    entries.chain(letters).collect()
}

fn entry_line(place: u64, stored: &Stored, returns: u32) -> String {
    format!("place {place:08}: {}, returns {returns}", message(stored))
}

fn message(stored: &Stored) -> String {
    let deaths = stored.deaths().iter();
    let deaths: Vec<_> = deaths
        .map(|d| format!("{} in {}", d.reason, d.queue))
        .collect();
    format!(
        "{} through {}, deaths {deaths:?}, {:?}",
        stored.message().message_id,
        stored.exchange,
        stored.message().body
    )
}
