//! Makes a broker of what a journal holds.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Change, FORMAT, Journal, JournalError, Recorder, Restored, Table, rows};
use crate::{
    clock::Clock,
    memory::bus::{
        Limits,
        admin::exchange_mark,
        broker::Broker,
        dead_letter::Dying,
        message::Stored,
        queue::{Arrival, Letter, Queue},
        stream::Stream,
    },
    topology::{ExchangeSpec, QueueSpec, QueueType},
};

/// The messages, by number.
type Messages = HashMap<u64, Arc<Stored>>;

impl Broker {
    /// Reads everything; a journal that is empty gets its format.
    pub(in crate::memory::bus) fn restore(
        clock: Arc<dyn Clock>,
        limits: Limits,
        journal: &dyn Journal,
        now: Instant,
    ) -> Result<(Self, Restored), JournalError> {
        check_format(journal)?;
        let mut broker = Self::new(clock, limits);
        let mut restored = Restored::default();
        broker.restore_topology(journal, now)?;
        let messages = load_messages(journal)?;
        broker.restore_entries(journal, &messages, now, &mut restored)?;
        broker.restore_letters(journal, &messages, now)?;
        broker.restore_log(journal, &messages, &mut restored)?;
        let last = messages.keys().max();
        let mut recorder = Recorder::new(last.map_or(1, |last| last + 1));
        for (number, stored) in &messages {
            // Its last row went in the batch that removed it too, so there is none; but a row that
            // nothing names would stay for ever.
            if stored.held.load(Ordering::Relaxed) == 0 {
                recorder.remove_message(*number);
            }
        }
        broker.journal = Some(recorder);
        broker.settle_in(now);
        Ok((broker, restored))
    }

    fn restore_topology(
        &mut self,
        journal: &dyn Journal,
        now: Instant,
    ) -> Result<(), JournalError> {
        journal.load(Table::Exchange, &mut |_, value| {
            let spec: ExchangeSpec = rows::read_json(value)?;
            self.restored.insert(exchange_mark(&spec.name));
            self.router.add(spec);
            Ok(())
        })?;
        journal.load(Table::Queue, &mut |_, value| {
            let spec: QueueSpec = rows::read_json(value)?;
            for binding in &spec.bindings {
                if !self.router.bind(&spec.name, binding) {
                    let text = format!("{} is bound to an exchange that is not there", spec.name);
                    return Err(JournalError::Damaged(text));
                }
            }
            let name = spec.name.clone();
            self.restored.insert(name.clone());
            if spec.queue_type == QueueType::Stream {
                let incarnation = self.next_id();
                let stream = Stream::new(spec, &self.limits, 0, incarnation);
                self.streams.insert(name, stream);
            } else {
                self.queues.insert(name, Queue::new(spec, now));
            }
            Ok(())
        })
    }

    fn restore_entries(
        &mut self,
        journal: &dyn Journal,
        messages: &Messages,
        now: Instant,
        restored: &mut Restored,
    ) -> Result<(), JournalError> {
        let time = self.clock.now();
        journal.load(Table::Entry, &mut |key, value| {
            let (name, place) = rows::read_place_key(key)?;
            let row = rows::EntryRow::read(value)?;
            let stored = take(messages, row.message)?;
            let queue = self.queues.get_mut(name).ok_or_else(|| missing(name))?;
            let ttl = queue.spec.message_ttl;
            // A clock that was set back must not keep it longer than its time.
            let left = row.expires.map(|at| until(time, at));
            let left = left.map(|left| ttl.map_or(left, |ttl| left.min(ttl)));
            let arrival = Arrival {
                held: self.gauge.hold(stored.size()),
                stored,
                expires: left.map(|left| now + left),
                expires_at: row.expires,
                batch: 0,
            };
            queue.restore(place, row.returns, arrival);
            restored.queued += 1;
            Ok(())
        })
    }

    fn restore_letters(
        &mut self,
        journal: &dyn Journal,
        messages: &Messages,
        now: Instant,
    ) -> Result<(), JournalError> {
        journal.load(Table::Letter, &mut |key, value| {
            let (name, number) = rows::read_place_key(key)?;
            let row: rows::LetterRow = rows::read_json(value)?;
            let stored = take(messages, row.message)?;
            let held = self.gauge.hold(stored.size());
            let mut letter = Letter::new(stored, held);
            letter.number = Some(number);
            letter.taken = row
                .taken
                .iter()
                .map(|name| Arc::from(name.as_str()))
                .collect();
            let queue = self.queues.get_mut(name).ok_or_else(|| missing(name))?;
            queue.restore_letter(number, letter, now);
            Ok(())
        })
    }

    fn restore_log(
        &mut self,
        journal: &dyn Journal,
        messages: &Messages,
        restored: &mut Restored,
    ) -> Result<(), JournalError> {
        journal.load(Table::Log, &mut |key, value| {
            let (name, offset) = rows::read_place_key(key)?;
            let row = rows::LogRow::read(value)?;
            let stored = take(messages, row.message)?;
            let stream = self.streams.get_mut(name).ok_or_else(|| missing(name))?;
            stream.restore(offset, row.at, stored);
            restored.log_entries += 1;
            Ok(())
        })
    }

    /// Forgets what is too old by now, gives up what was in hand when the process died once too
    /// often, and notes what is due.
    fn settle_in(&mut self, now: Instant) {
        let time = self.clock.now();
        for (name, stream) in &mut self.streams {
            let forgotten = stream.forget(time);
            if let Some(journal) = &mut self.journal {
                journal.remove_logs(name, &forgotten);
            }
            stream.show(stream.end());
        }
        let mut dying = Vec::new();
        for (name, queue) in &mut self.queues {
            let worn = queue.take_worn().into_iter();
            dying.extend(worn.map(|entry| Dying::new(name, entry, "delivery_limit")));
        }
        self.bury(dying, now);
        let due = self.queues.values().filter_map(Queue::due).min();
        self.note_due(due);
    }

    pub(in crate::memory::bus) fn undeclared(&self) -> Vec<(String, usize)> {
        let held = |name: &String| {
            let queue = self.queues.get(name).map(Queue::ready);
            queue.or_else(|| self.streams.get(name).map(Stream::len))
        };
        let undeclared = self.restored.iter();
        undeclared
            .filter_map(|name| Some((name.clone(), held(name)?)))
            .collect()
    }
}

fn check_format(journal: &dyn Journal) -> Result<(), JournalError> {
    let mut found = None;
    journal.load(Table::Meta, &mut |key, value| {
        if key == rows::FORMAT_KEY {
            found = Some(rows::read_json::<u32>(value)?);
        }
        Ok(())
    })?;
    match found {
        Some(found) if found > FORMAT => Err(JournalError::Newer {
            found,
            known: FORMAT,
        }),
        Some(_) => Ok(()),
        None => start(journal),
    }
}

/// Writes the format into an empty journal.
fn start(journal: &dyn Journal) -> Result<(), JournalError> {
    for table in Table::ALL {
        journal.load(table, &mut |_, _| {
            let text = "it holds something and does not say its format";
            Err(JournalError::Damaged(text.to_owned()))
        })?;
    }
    journal.commit(&[Change {
        table: Table::Meta,
        key: rows::FORMAT_KEY.to_vec(),
        value: Some(rows::write_json(&FORMAT)),
    }])
}

fn load_messages(journal: &dyn Journal) -> Result<Messages, JournalError> {
    let mut messages = Messages::new();
    journal.load(Table::Message, &mut |key, value| {
        let number = rows::read_number_key(key)?;
        let stored = rows::read_message(value)?;
        stored.row.store(number, Ordering::Relaxed);
        messages.insert(number, Arc::new(stored));
        Ok(())
    })?;
    Ok(messages)
}

/// Returns a message that a row names.
fn take(messages: &Messages, number: u64) -> Result<Arc<Stored>, JournalError> {
    let stored = messages
        .get(&number)
        .ok_or_else(|| JournalError::Damaged(format!("message {number} is named and not there")))?;
    stored.held.fetch_add(1, Ordering::Relaxed);
    Ok(Arc::clone(stored))
}

fn missing(name: &str) -> JournalError {
    JournalError::Damaged(format!("{name} holds something and is not there"))
}

fn until(now: Timestamp, at: Timestamp) -> std::time::Duration {
    at.duration_since(now).try_into().unwrap_or_default()
}
