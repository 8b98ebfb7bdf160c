//! Notes what changes, until the writer takes it.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::{
    Change, Table,
    rows::{self, EntryRow, LetterRow, LogRow},
    writer::Progress,
};
use crate::{
    memory::bus::{message::Stored, queue::Entry, stream::Forgotten},
    topology::{ExchangeSpec, QueueSpec},
};

/// Bytes that may wait for the writer, above which publishers are told that it is busy.
const MAX_WAITING: usize = 64 << 20;

/// What a change costs beside its value, about.
const OVERHEAD: usize = 96;

/// The changes since the writer came last, and what is kept already.
pub(in crate::memory::bus) struct Recorder {
    changes: Vec<Change>,
    bytes: usize,
    /// Queues and streams that got something; of streams, where they end with it.
    touched: BTreeMap<String, u64>,
    /// The number of the batch that is being gathered, from 1.
    open: u64,
    /// The number of the last batch that is kept.
    kept: u64,
    /// The number that the next message gets.
    next_message: u64,
    /// Why the last batch is not kept.
    failure: Option<Arc<str>>,
    progress: watch::Sender<Progress>,
    /// Wakes the writer at once.
    pub urgent: Arc<Notify>,
    /// Wakes the writer some time.
    pub lazy: Arc<Notify>,
}

/// What is kept or lost together.
pub(in crate::memory::bus) struct Batch {
    pub number: u64,
    pub changes: Vec<Change>,
    pub touched: BTreeMap<String, u64>,
}

impl Recorder {
    pub fn new(next_message: u64) -> Self {
        Self {
            changes: Vec::new(),
            bytes: 0,
            touched: BTreeMap::new(),
            open: 1,
            kept: 0,
            next_message,
            failure: None,
            progress: watch::Sender::new(Progress::default()),
            urgent: Arc::new(Notify::new()),
            lazy: Arc::new(Notify::new()),
        }
    }

    /// Returns the number of the batch that is being gathered.
    pub fn open(&self) -> u64 {
        self.open
    }

    /// Returns how many changes wait for the writer.
    pub fn noted(&self) -> usize {
        self.changes.len()
    }

    /// Returns the number of the last batch that is kept.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    pub fn failure(&self) -> Option<String> {
        self.failure.as_deref().map(str::to_owned)
    }

    pub fn is_busy(&self) -> bool {
        self.bytes >= MAX_WAITING
    }

    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    // For the writer

    /// Takes what was noted; `None` when that is nothing.
    pub fn take(&mut self) -> Option<Batch> {
        if self.changes.is_empty() {
            return None;
        }
        let number = self.open;
        self.open += 1;
        self.bytes = 0;
        Some(Batch {
            number,
            changes: std::mem::take(&mut self.changes),
            touched: std::mem::take(&mut self.touched),
        })
    }

    pub fn set_kept(&mut self, number: u64) {
        self.kept = number;
        self.failure = None;
        self.progress.send_replace(Progress {
            kept: number,
            failure: None,
        });
    }

    pub fn set_failure(&mut self, failure: &str) {
        let failure: Arc<str> = failure.into();
        self.failure = Some(Arc::clone(&failure));
        self.progress
            .send_modify(|progress| progress.failure = Some(failure));
    }

    // What changes

    pub fn put_exchange(&mut self, spec: &ExchangeSpec) {
        let value = rows::write_json(spec);
        self.put(Table::Exchange, spec.name.clone().into_bytes(), value);
        self.urgent.notify_one();
    }

    pub fn put_queue(&mut self, spec: &QueueSpec) {
        let value = rows::write_json(spec);
        self.put(Table::Queue, spec.name.clone().into_bytes(), value);
        self.urgent.notify_one();
    }

    pub fn remove_queue(&mut self, name: &str) {
        self.remove(Table::Queue, name.as_bytes().to_vec());
        self.lazy.notify_one();
    }

    /// A queue got a message.
    pub fn put_entry(
        &mut self,
        queue: &str,
        place: u64,
        stored: &Stored,
        expires: Option<Timestamp>,
    ) {
        let message = self.hold(stored);
        let row = EntryRow {
            message,
            returns: 0,
            expires,
        };
        self.put(Table::Entry, rows::place_key(queue, place), row.write());
        self.touch(queue, 0);
    }

    /// A message was handed out: if the process dies with it, that counts.
    pub fn count_entry(&mut self, queue: &str, entry: &Entry) {
        let row = EntryRow {
            message: entry.stored.row.load(Ordering::Relaxed),
            returns: entry.returns + 1,
            expires: entry.expires_at,
        };
        self.put(
            Table::Entry,
            rows::place_key(queue, entry.place),
            row.write(),
        );
        self.lazy.notify_one();
    }

    /// A message left its queue.
    pub fn remove_entry(&mut self, queue: &str, place: u64, stored: &Stored) {
        self.remove(Table::Entry, rows::place_key(queue, place));
        self.release(stored);
        self.lazy.notify_one();
    }

    /// A queue keeps a dead letter, or keeps it further.
    pub fn put_letter(
        &mut self,
        queue: &str,
        number: u64,
        stored: &Stored,
        taken: &[Arc<str>],
        is_new: bool,
    ) {
        let message = if is_new {
            self.hold(stored)
        } else {
            stored.row.load(Ordering::Relaxed)
        };
        let taken = taken.iter().map(ToString::to_string).collect();
        let row = LetterRow { message, taken };
        let value = rows::write_json(&row);
        self.put(Table::Letter, rows::place_key(queue, number), value);
        self.lazy.notify_one();
    }

    pub fn remove_letter(&mut self, queue: &str, number: u64, stored: &Stored) {
        self.remove(Table::Letter, rows::place_key(queue, number));
        self.release(stored);
        self.lazy.notify_one();
    }

    /// A stream grew.
    pub fn put_log(&mut self, stream: &str, offset: u64, stored: &Stored, at: Timestamp) {
        let message = self.hold(stored);
        let row = LogRow { message, at };
        self.put(Table::Log, rows::place_key(stream, offset), row.write());
        self.touch(stream, offset + 1);
    }

    /// A stream forgot.
    pub fn remove_logs(&mut self, stream: &str, forgotten: &[Forgotten]) {
        for segment in forgotten {
            for (offset, (_, stored)) in (segment.first..).zip(&segment.entries) {
                self.remove_log(stream, offset, stored);
            }
        }
    }

    pub fn remove_log(&mut self, stream: &str, offset: u64, stored: &Stored) {
        self.remove(Table::Log, rows::place_key(stream, offset));
        self.release(stored);
        self.lazy.notify_one();
    }

    /// Removes a message that no row names.
    pub fn remove_message(&mut self, number: u64) {
        self.remove(Table::Message, number.to_be_bytes().to_vec());
    }

    /// Counts one more row that names this message; the first writes it.
    fn hold(&mut self, stored: &Stored) -> u64 {
        if stored.held.fetch_add(1, Ordering::Relaxed) > 0 {
            return stored.row.load(Ordering::Relaxed);
        }
        let number = self.next_message;
        self.next_message += 1;
        stored.row.store(number, Ordering::Relaxed);
        let value = rows::write_message(stored);
        self.put(Table::Message, number.to_be_bytes().to_vec(), value);
        number
    }

    /// Counts one row less; the last removes it.
    fn release(&mut self, stored: &Stored) {
        if stored.held.fetch_sub(1, Ordering::Relaxed) == 1 {
            let number = stored.row.load(Ordering::Relaxed);
            self.remove_message(number);
        }
    }

    /// Somebody waits for what was put here.
    fn touch(&mut self, name: &str, end: u64) {
        if let Some(known) = self.touched.get_mut(name) {
            *known = end;
        } else {
            self.touched.insert(name.to_owned(), end);
        }
        self.urgent.notify_one();
    }

    fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += OVERHEAD + value.len();
        let value = Some(value);
        self.changes.push(Change { table, key, value });
    }

    fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.bytes += OVERHEAD;
        let value = None;
        self.changes.push(Change { table, key, value });
    }
}
