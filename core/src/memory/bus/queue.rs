//! One quorum or classic queue: what waits in it, and who takes from it in turn.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::message::{Held, Stored};
use crate::topology::{Overflow, QueueSpec, QueueType};

/// When dead letters that a queue refused are offered again.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// One message in one queue.
pub(super) struct Entry {
    pub stored: Arc<Stored>,
    /// How often it was given back.
    pub returns: u32,
    /// Its place in the queue.
    pub place: u64,
    expires: Option<Instant>,
    /// The same by the wall clock, if the queue is durable.
    pub expires_at: Option<Timestamp>,
    /// The batch of the journal that it is kept with.
    batch: u64,
    held: Held,
}

/// What is known of a message when it comes into a queue.
pub(super) struct Arrival {
    pub stored: Arc<Stored>,
    pub held: Held,
    pub expires: Option<Instant>,
    pub expires_at: Option<Timestamp>,
    /// The batch of the journal that it is kept with.
    pub batch: u64,
}

impl Entry {
    pub fn into_held(self) -> Held {
        self.held
    }
}

/// A dead letter on its way.
pub(super) struct Letter {
    pub stored: Arc<Stored>,
    /// The queues that have taken it.
    pub taken: Vec<Arc<str>>,
    /// Its number, once it had to wait.
    pub number: Option<u64>,
    /// A letter that waits still counts.
    _held: Held,
}

impl Letter {
    pub fn new(stored: Arc<Stored>, held: Held) -> Self {
        Self {
            stored,
            taken: Vec::new(),
            number: None,
            _held: held,
        }
    }
}

/// The queue.
pub(super) struct Queue {
    pub spec: QueueSpec,
    /// By place. What is given back gets its place again; as the time to live is the same for all,
    /// what expires first is always in front.
    ready: BTreeMap<u64, Entry>,
    bytes: usize,
    next_place: u64,
    next_letter: u64,
    /// Dead letters that some queue refused.
    letters: VecDeque<Letter>,
    retry_at: Option<Instant>,
    /// Those who consume and settle.
    pub consumers: BTreeSet<u64>,
    /// Those who take without settling.
    pub feeds: BTreeSet<u64>,
    /// The consumers that have room, in turn.
    pub rotation: VecDeque<u64>,
    unused_since: Instant,
}

impl Queue {
    pub fn new(spec: QueueSpec, now: Instant) -> Self {
        Self {
            spec,
            ready: BTreeMap::new(),
            bytes: 0,
            next_place: 0,
            next_letter: 0,
            letters: VecDeque::new(),
            retry_at: None,
            consumers: BTreeSet::new(),
            feeds: BTreeSet::new(),
            rotation: VecDeque::new(),
            unused_since: now,
        }
    }

    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Says whether it is kept in the journal, if there is one.
    pub fn is_durable(&self) -> bool {
        self.spec.queue_type != QueueType::Classic
    }

    /// Says whether the message in front is kept, this batch being the last that is.
    pub fn is_ready(&self, kept: u64) -> bool {
        let front = self.ready.first_key_value();
        front.is_some_and(|(_, entry)| entry.batch <= kept)
    }

    /// Returns what waits in it.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ready.values()
    }

    /// Returns its dead letters that wait.
    pub fn letters(&self) -> impl Iterator<Item = &Letter> {
        self.letters.iter()
    }

    /// Says whether it has to refuse one more message of this size.
    pub fn refuses(&self, size: usize) -> bool {
        self.spec.overflow == Some(Overflow::RejectPublish) && self.is_over(1, size)
    }

    /// Adds a message, and returns its place.
    pub fn push(&mut self, arrival: Arrival) -> u64 {
        let place = self.next_place;
        self.restore(place, 0, arrival);
        place
    }

    /// Adds a message that has been there before.
    pub fn restore(&mut self, place: u64, returns: u32, arrival: Arrival) {
        self.next_place = self.next_place.max(place + 1);
        let entry = Entry {
            stored: arrival.stored,
            returns,
            place,
            expires: arrival.expires,
            expires_at: arrival.expires_at,
            batch: arrival.batch,
            held: arrival.held,
        };
        self.put(entry);
    }

    /// Gives a message back to its place, and returns when it expires.
    pub fn put_back(&mut self, entry: Entry) -> Option<Instant> {
        let expires = entry.expires;
        self.put(entry);
        expires
    }

    fn put(&mut self, entry: Entry) {
        self.bytes += entry.stored.size();
        self.ready.insert(entry.place, entry);
    }

    /// Takes the message in front.
    pub fn pop(&mut self) -> Option<Entry> {
        let (_, entry) = self.ready.pop_first()?;
        self.bytes -= entry.stored.size();
        Some(entry)
    }

    /// Takes the message in front if there are too many.
    pub fn pop_excess(&mut self) -> Option<Entry> {
        if !self.is_over(0, 0) {
            return None;
        }
        self.pop()
    }

    /// Takes the message in front if its time is over.
    pub fn pop_expired(&mut self, now: Instant) -> Option<Entry> {
        let (_, front) = self.ready.first_key_value()?;
        if front.expires.is_none_or(|expires| expires > now) {
            return None;
        }
        self.pop()
    }

    /// Takes the messages that were handed out too often.
    pub fn take_worn(&mut self) -> Vec<Entry> {
        let Some(limit) = self.spec.delivery_limit else {
            return Vec::new();
        };
        let worn = self.ready.extract_if(.., |_, entry| entry.returns > limit);
        let worn: Vec<_> = worn.map(|(_, entry)| entry).collect();
        self.bytes -= worn.iter().map(|entry| entry.stored.size()).sum::<usize>();
        worn
    }

    fn is_over(&self, more: usize, more_bytes: usize) -> bool {
        let over = |have: usize, limit: Option<u64>| limit.is_some_and(|limit| have as u64 > limit);
        over(
            self.ready.len() + self.letters.len() + more,
            self.spec.max_length,
        ) || over(self.bytes + more_bytes, self.spec.max_length_bytes)
    }

    /// Draws the number of a dead letter.
    pub fn next_letter(&mut self) -> u64 {
        self.next_letter += 1;
        self.next_letter - 1
    }

    /// Keeps a dead letter that has been kept before.
    pub fn restore_letter(&mut self, number: u64, letter: Letter, now: Instant) {
        self.next_letter = self.next_letter.max(number + 1);
        self.keep_letter(letter, now);
    }

    /// Keeps a dead letter that was refused, and returns when it is to be offered again.
    pub fn keep_letter(&mut self, letter: Letter, now: Instant) -> Instant {
        self.letters.push_back(letter);
        *self.retry_at.get_or_insert(now + RETRY)
    }

    /// Takes at most `limit` dead letters that are to be offered again now.
    pub fn take_letters(&mut self, limit: usize, now: Instant) -> Vec<Letter> {
        if self.retry_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let letters: Vec<_> = self
            .letters
            .drain(..limit.min(self.letters.len()))
            .collect();
        self.retry_at = (!self.letters.is_empty()).then(|| now + RETRY);
        letters
    }

    /// Notes that the queue was just declared, or that a consumer has just gone.
    pub fn touch(&mut self, now: Instant) {
        self.unused_since = now;
    }

    /// Says whether it has been without consumers for too long.
    pub fn is_abandoned(&self, now: Instant) -> bool {
        self.abandoned_at().is_some_and(|at| at <= now)
    }

    fn abandoned_at(&self) -> Option<Instant> {
        let is_used = !self.consumers.is_empty() || !self.feeds.is_empty();
        let expires = self.spec.expires.filter(|_| !is_used)?;
        Some(self.unused_since + expires)
    }

    /// Returns when something is to be done next.
    pub fn due(&self) -> Option<Instant> {
        let front = self.ready.first_key_value();
        let expires = front.and_then(|(_, entry)| entry.expires);
        [expires, self.retry_at, self.abandoned_at()]
            .into_iter()
            .flatten()
            .min()
    }
}
