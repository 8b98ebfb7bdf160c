//! One quorum or classic queue: what waits in it, and who takes from it in turn.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::message::{Held, Stored};
use crate::topology::{Overflow, QueueSpec};

/// When dead letters that a queue refused are offered again.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// One message in one queue.
pub(super) struct Entry {
    pub stored: Arc<Stored>,
    /// How often it was given back.
    pub returns: u32,
    expires: Option<Instant>,
    held: Held,
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
    /// A letter that waits still counts.
    _held: Held,
}

impl Letter {
    pub fn new(stored: Arc<Stored>, held: Held) -> Self {
        Self {
            stored,
            taken: Vec::new(),
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

    /// Says whether it has to refuse one more message of this size.
    pub fn refuses(&self, size: usize) -> bool {
        self.spec.overflow == Some(Overflow::RejectPublish) && self.is_over(1, size)
    }

    /// Adds a message, and returns when it expires.
    pub fn push(&mut self, stored: Arc<Stored>, held: Held, now: Instant) -> Option<Instant> {
        let expires = self.spec.message_ttl.map(|ttl| now + ttl);
        let place = self.next_place;
        self.next_place += 1;
        let entry = Entry {
            stored,
            returns: 0,
            expires,
            held,
        };
        self.put(place, entry);
        expires
    }

    /// Gives a message back to its place, and returns when it expires.
    pub fn put_back(&mut self, place: u64, entry: Entry) -> Option<Instant> {
        let expires = entry.expires;
        self.put(place, entry);
        expires
    }

    fn put(&mut self, place: u64, entry: Entry) {
        self.bytes += entry.stored.size();
        self.ready.insert(place, entry);
    }

    /// Takes the message in front.
    pub fn pop(&mut self) -> Option<(u64, Entry)> {
        let (place, entry) = self.ready.pop_first()?;
        self.bytes -= entry.stored.size();
        Some((place, entry))
    }

    /// Takes the message in front if there are too many.
    pub fn pop_excess(&mut self) -> Option<Entry> {
        if !self.is_over(0, 0) {
            return None;
        }
        self.pop().map(|(_, entry)| entry)
    }

    /// Takes the message in front if its time is over.
    pub fn pop_expired(&mut self, now: Instant) -> Option<Entry> {
        let (_, front) = self.ready.first_key_value()?;
        if front.expires.is_none_or(|expires| expires > now) {
            return None;
        }
        self.pop().map(|(_, entry)| entry)
    }

    fn is_over(&self, more: usize, more_bytes: usize) -> bool {
        let over = |have: usize, limit: Option<u64>| limit.is_some_and(|limit| have as u64 > limit);
        over(
            self.ready.len() + self.letters.len() + more,
            self.spec.max_length,
        ) || over(self.bytes + more_bytes, self.spec.max_length_bytes)
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
