//! The broker's state, and what is common to all that it does: routing, filling queues, time.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    ConfirmFailure, Limits,
    consumers::Subscriber,
    dead_letter::Dying,
    journal::Recorder,
    message::{Gauge, Stored},
    queue::{Arrival, Queue},
    router::Router,
    stream::Stream,
    time::Timer,
};
use crate::{
    bus::{BusState, Message, PublishError},
    clock::{Clock, add},
};

/// Messages that expire in one go; the lock is given up in between.
const EXPIRE_BATCH: usize = 1000;

/// Dead letters of one queue that are offered again in one go.
const RETRY_BATCH: usize = 32;

/// All that the broker knows.
pub(super) struct Broker {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) router: Router,
    pub(super) queues: HashMap<String, Queue>,
    pub(super) streams: HashMap<String, Stream>,
    /// Where deleted streams ended: offsets never start again.
    pub(super) stream_ends: HashMap<String, u64>,
    pub(super) subscribers: HashMap<u64, Subscriber>,
    pub(super) gauge: Gauge,
    pub(super) link: Link,
    /// Counts up lost connections.
    pub(super) epoch: u64,
    blocked: Option<String>,
    failing: Option<(usize, ConfirmFailure)>,
    pub(super) next_id: u64,
    /// Notes what is to outlive the process, if anything is.
    pub(super) journal: Option<Recorder>,
    /// What came from the journal and was not declared since: it takes the form that it is declared
    /// in first, which may be that of a later version.
    pub(super) restored: BTreeSet<String>,
    /// Nothing is due before.
    due: Option<Instant>,
    timer: Timer,
}

/// Which of the queues that a message is routed to have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of them.
    ByAll,
    /// At least one has refused it.
    NotByAll,
    /// There is none.
    ByNobody,
}

/// Whether the broker can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Up,
    Down,
    /// Down for good.
    Closed,
}

impl Broker {
    pub fn new(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self {
            clock,
            limits,
            router: Router::default(),
            queues: HashMap::new(),
            streams: HashMap::new(),
            stream_ends: HashMap::new(),
            subscribers: HashMap::new(),
            gauge: Gauge::default(),
            link: Link::Up,
            epoch: 0,
            blocked: None,
            failing: None,
            next_id: 0,
            journal: None,
            restored: BTreeSet::new(),
            due: None,
            timer: Timer::default(),
        }
    }

    /// Draws a number that nothing else of this broker has.
    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    // Publishing

    pub(super) fn state(&self) -> BusState {
        match (self.link, self.blocked_by()) {
            (Link::Closed, _) => BusState::Down("shut down".to_owned()),
            (Link::Down, _) => BusState::Down("taken down".to_owned()),
            (Link::Up, Some(reason)) => BusState::Blocked(reason),
            (Link::Up, None) => BusState::Up,
        }
    }

    fn blocked_by(&self) -> Option<String> {
        let full = || self.gauge.get() >= self.limits.queued_bytes;
        let journal = self.journal.as_ref();
        self.blocked
            .clone()
            .or_else(|| journal.and_then(Recorder::failure))
            .or_else(|| full().then(|| "memory".to_owned()))
    }

    /// Publishes; what a queue refuses, the others have all the same.
    pub fn publish(&mut self, message: Message, now: Instant) -> Result<(), PublishError> {
        if self.journal.as_ref().is_some_and(Recorder::is_busy) && self.link == Link::Up {
            return Err(PublishError::Busy);
        }
        let taken = self.accept(message, now)?;
        if taken == Taken::ByNobody {
            return Err(PublishError::Unroutable);
        }
        if let Some((left, how)) = self.failing {
            self.failing = (left > 1).then_some((left - 1, how));
            return Err(match how {
                ConfirmFailure::Timeout => PublishError::Timeout(self.limits.confirm_timeout),
                ConfirmFailure::Lost => PublishError::Lost(None),
                ConfirmFailure::Nacked => PublishError::Nacked,
            });
        }
        if taken == Taken::ByAll {
            Ok(())
        } else {
            Err(PublishError::Nacked)
        }
    }

    /// Puts a message into every queue that it is routed to.
    pub fn accept(&mut self, message: Message, now: Instant) -> Result<Taken, PublishError> {
        if self.link != Link::Up {
            return Err(PublishError::Unavailable(None));
        }
        if let Some(reason) = self.blocked_by() {
            return Err(PublishError::Blocked(reason));
        }
        let key = message.routing_key.as_str();
        let Some(queues) = self.router.route(&message.exchange, key) else {
            let text = format!("no exchange '{}'", message.exchange);
            return Err(PublishError::Returned(text));
        };
        let stored = Arc::new(Stored::new(message));
        let mut accepted = true;
        for queue in queues.iter() {
            accepted &= self.fill(queue, &stored, now);
        }
        Ok(match accepted {
            _ if queues.is_empty() => Taken::ByNobody,
            true => Taken::ByAll,
            false => Taken::NotByAll,
        })
    }

    /// Puts a message into one queue or stream; false when it refuses.
    pub(super) fn fill(&mut self, name: &str, stored: &Arc<Stored>, now: Instant) -> bool {
        let time = self.clock.now();
        if let Some(stream) = self.streams.get_mut(name) {
            let offset = stream.end();
            let (at, forgotten) = stream.append(Arc::clone(stored), time);
            if let Some(journal) = &mut self.journal {
                journal.put_log(name, offset, stored, at);
                journal.remove_logs(name, &forgotten);
            }
            return true;
        }
        let Some(queue) = self.queues.get_mut(name) else {
            return true;
        };
        let size = stored.size();
        if queue.refuses(size) {
            return false;
        }
        let ttl = queue.spec.message_ttl;
        let journal = self.journal.as_mut().filter(|_| queue.is_durable());
        let (expires, expires_at) = (ttl.map(|ttl| now + ttl), ttl.map(|ttl| add(time, ttl)));
        let place = queue.push(Arrival {
            stored: Arc::clone(stored),
            held: self.gauge.hold(size),
            expires,
            expires_at,
            batch: journal.as_ref().map_or(0, |journal| journal.open()),
        });
        if let Some(journal) = journal {
            journal.put_entry(name, place, stored, expires_at);
        }
        self.note_due(expires);
        self.dispatch(name);
        self.trim(name, now);
        true
    }

    /// Drops the head of a queue that holds too much.
    fn trim(&mut self, name: &str, now: Instant) {
        let mut dying = Vec::new();
        if let Some(queue) = self.queues.get_mut(name) {
            while let Some(entry) = queue.pop_excess() {
                dying.push(Dying::new(name, entry, "maxlen"));
            }
        }
        self.bury(dying, now);
    }

    /// Returns the last batch of the journal that is kept; what needs none is always kept.
    pub(super) fn last_kept(&self) -> u64 {
        self.journal.as_ref().map_or(u64::MAX, Recorder::kept)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.link == Link::Closed
    }

    // Time

    /// Returns when something is due next; it may be earlier than anything is.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    pub fn timer(&mut self) -> &mut Timer {
        &mut self.timer
    }

    /// Notes that something is due at `at`.
    pub(super) fn note_due(&mut self, at: Option<Instant>) {
        if let Some(at) = at {
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// Does what is due: messages expire, dead letters are offered again, abandoned queues go. What
    /// is too much for one go stays due.
    pub fn advance(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let (mut dying, mut letters, mut abandoned) = (Vec::new(), Vec::new(), Vec::new());
        for (name, queue) in &mut self.queues {
            while dying.len() < EXPIRE_BATCH
                && let Some(entry) = queue.pop_expired(now)
            {
                dying.push(Dying::new(name, entry, "expired"));
            }
            for letter in queue.take_letters(RETRY_BATCH, now) {
                letters.push((name.clone(), letter));
            }
            if queue.is_abandoned(now) {
                abandoned.push(name.clone());
            }
        }
        for name in abandoned {
            self.delete_queue(&name);
        }
        self.due = self.queues.values().filter_map(Queue::due).min();
        for (name, letter) in letters {
            self.forward(&name, letter, now);
        }
        self.bury(dying, now);
    }

    // Faults

    pub fn set_blocked(&mut self, reason: Option<&str>) {
        self.blocked = reason.map(str::to_owned);
    }

    pub fn fail_next_confirms(&mut self, count: usize, how: ConfirmFailure) {
        self.failing = (count > 0).then_some((count, how));
    }

    pub fn set_down(&mut self, down: bool, now: Instant) {
        let link = if down { Link::Down } else { Link::Up };
        if self.link != link && self.link != Link::Closed {
            self.set_link(link, now);
        }
    }

    pub fn shutdown(&mut self, now: Instant) {
        self.set_link(Link::Closed, now);
    }

    fn set_link(&mut self, link: Link, now: Instant) {
        self.link = link;
        if link == Link::Up {
            self.subscribe_all();
        } else {
            self.epoch += 1;
            self.lose_all(now);
        }
        for stream in self.streams.values() {
            stream.grown.notify_waiters();
        }
        for subscriber in self.subscribers.values() {
            subscriber.wake.notify_one();
        }
    }
}
