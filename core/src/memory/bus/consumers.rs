//! Who takes from the queues: turns, prefetch, settling, loss.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    broker::{Broker, Link},
    dead_letter::Dying,
    message::Stored,
    queue::Entry,
};
use crate::{
    bus::{Attached, Attachment, Feed, SettleError, Settlement},
    topology::{QueueSpec, Topology},
};

/// A consumer of a queue, or a subscriber of a feed.
pub(super) struct Subscriber {
    /// Wakes it.
    pub wake: Arc<Notify>,
    queue: Arc<str>,
    takes: Takes,
    attached: Attached,
}

enum Takes {
    /// Deliveries that must be settled.
    Work(Window),
    /// Messages that are gone when they are taken, from a queue of its own.
    Feed(Box<QueueSpec>),
}

/// What a consumer has been given.
struct Window {
    prefetch: usize,
    /// By tag: what is not settled.
    unsettled: BTreeMap<u64, Entry>,
    /// Tags of those that nobody has taken yet.
    waiting: VecDeque<u64>,
    lost: CancellationToken,
    is_stopped: bool,
    /// Whether it stands in the rotation of its queue.
    in_turn: bool,
}

impl Window {
    fn has_room(&self) -> bool {
        !self.is_stopped && self.unsettled.len() < self.prefetch
    }

    /// Loses everything.
    fn lose(&mut self) -> BTreeMap<u64, Entry> {
        self.waiting.clear();
        self.in_turn = false;
        std::mem::take(&mut self.lost).cancel();
        std::mem::take(&mut self.unsettled)
    }
}

/// What a consumer gets.
pub(super) enum Next {
    Delivery {
        tag: u64,
        stored: Arc<Stored>,
        returns: u32,
        lost: CancellationToken,
    },
    Message(Arc<Stored>),
    /// Nothing yet: wait to be woken.
    Wait,
    /// Nothing ever again.
    End,
}

impl Broker {
    /// Adds a consumer of a queue, which may not exist yet.
    pub fn add_consumer(&mut self, queue: &str, prefetch: u16) -> (u64, Arc<Notify>) {
        // In AMQP zero means no limit; here nothing is without one.
        let prefetch = if prefetch == 0 { u16::MAX } else { prefetch };
        let takes = Takes::Work(Window {
            prefetch: usize::from(prefetch),
            unsettled: BTreeMap::new(),
            waiting: VecDeque::new(),
            lost: CancellationToken::new(),
            is_stopped: false,
            in_turn: false,
        });
        self.add_subscriber(queue, takes)
    }

    /// Adds a subscriber of a feed, whose queue is declared as soon as its exchange is there.
    pub fn add_feed(&mut self, feed: Feed, name: &str, now: Instant) -> (u64, Arc<Notify>) {
        let spec = match feed {
            Feed::Ticks => Topology::tick_queue(name),
            Feed::Control => Topology::control_queue(name),
        };
        let queue = spec.name.clone();
        let (id, wake) = self.add_subscriber(&queue, Takes::Feed(Box::new(spec)));
        self.take_feed(id, now);
        (id, wake)
    }

    fn add_subscriber(&mut self, queue: &str, takes: Takes) -> (u64, Arc<Notify>) {
        let id = self.next_id();
        let wake = Arc::new(Notify::new());
        let subscriber = Subscriber {
            wake: Arc::clone(&wake),
            queue: queue.into(),
            takes,
            attached: Attached::default(),
        };
        self.subscribers.insert(id, subscriber);
        self.attach(queue);
        (id, wake)
    }

    /// Lets everybody who waits for this queue consume it.
    pub(super) fn attach(&mut self, name: &str) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        for (id, subscriber) in &mut self.subscribers {
            if *subscriber.queue != *name {
                continue;
            }
            match &mut subscriber.takes {
                Takes::Work(window) if window.is_stopped => continue,
                Takes::Work(window) => {
                    queue.consumers.insert(*id);
                    if window.has_room() && !std::mem::replace(&mut window.in_turn, true) {
                        queue.rotation.push_back(*id);
                    }
                }
                Takes::Feed(_) => {
                    queue.feeds.insert(*id);
                }
            }
            if self.link == Link::Up {
                subscriber.attached.begin();
            }
        }
        self.dispatch(name);
    }

    /// Hands out what is ready to those who have room, in turn.
    pub(super) fn dispatch(&mut self, name: &str) {
        let kept = self.last_kept();
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        if self.link != Link::Up {
            return;
        }
        while queue.is_ready(kept)
            && let Some(id) = queue.rotation.pop_front()
        {
            let Some(subscriber) = self.subscribers.get_mut(&id) else {
                continue;
            };
            let Takes::Work(window) = &mut subscriber.takes else {
                continue;
            };
            window.in_turn = false;
            if !window.has_room() {
                continue;
            }
            if let Some(entry) = queue.pop() {
                if let Some(journal) = self.journal.as_mut().filter(|_| queue.is_durable()) {
                    journal.count_entry(name, &entry);
                }
                self.next_id += 1;
                window.unsettled.insert(self.next_id, entry);
                window.waiting.push_back(self.next_id);
                subscriber.wake.notify_one();
            }
            if window.has_room() {
                window.in_turn = true;
                queue.rotation.push_back(id);
            }
        }
        for id in &queue.feeds {
            if let Some(subscriber) = self.subscribers.get(id) {
                subscriber.wake.notify_one();
            }
        }
    }

    /// Takes the next delivery of a consumer.
    pub fn take(&mut self, id: u64) -> Next {
        let is_closed = self.link == Link::Closed;
        let Some(window) = self.window(id) else {
            return Next::End;
        };
        if window.is_stopped || is_closed {
            return Next::End;
        }
        let Some(tag) = window.waiting.pop_front() else {
            return Next::Wait;
        };
        let lost = window.lost.child_token();
        match window.unsettled.get(&tag) {
            Some(entry) => Next::Delivery {
                tag,
                stored: Arc::clone(&entry.stored),
                returns: entry.returns,
                lost,
            },
            None => Next::Wait,
        }
    }

    /// Takes the next message of a feed.
    pub fn take_feed(&mut self, id: u64, now: Instant) -> Next {
        let spec = match self.subscribers.get(&id).map(|s| &s.takes) {
            Some(Takes::Feed(spec)) if self.link != Link::Closed => spec,
            _ => return Next::End,
        };
        if self.link != Link::Up {
            return Next::Wait;
        }
        if !self.queues.contains_key(&spec.name) {
            let spec = (**spec).clone();
            // Refused while its exchange is not there; that wakes the feed.
            let _ = self.declare_queue(&spec, now);
            return Next::Wait;
        }
        match self
            .queues
            .get_mut(&spec.name)
            .and_then(super::queue::Queue::pop)
        {
            Some(entry) => Next::Message(entry.stored),
            None => Next::Wait,
        }
    }

    /// Returns what tells whether a subscriber gets anything.
    pub fn attachment(&self, id: u64) -> Attachment {
        let subscriber = self.subscribers.get(&id);
        // One that is not there has a backend that is gone.
        subscriber.map_or_else(
            || Attached::default().attachment(),
            |s| s.attached.attachment(),
        )
    }

    fn window(&mut self, id: u64) -> Option<&mut Window> {
        match &mut self.subscribers.get_mut(&id)?.takes {
            Takes::Work(window) => Some(window),
            Takes::Feed(_) => None,
        }
    }

    /// Settles a delivery, if it is still the consumer's.
    pub fn settle(
        &mut self,
        id: u64,
        tag: u64,
        how: Settlement,
        now: Instant,
    ) -> Result<(), SettleError> {
        let subscriber = self.subscribers.get_mut(&id).ok_or(SettleError)?;
        let name = Arc::clone(&subscriber.queue);
        let Takes::Work(window) = &mut subscriber.takes else {
            return Err(SettleError);
        };
        let message = window.unsettled.remove(&tag).ok_or(SettleError)?;
        if window.has_room()
            && !window.in_turn
            && let Some(queue) = self.queues.get_mut(&*name)
        {
            window.in_turn = true;
            queue.rotation.push_back(id);
        }
        match how {
            Settlement::Ack => self.forget_entry(&name, &message),
            Settlement::Requeue => self.give_back(&name, [message], now),
            Settlement::Reject => self.bury(vec![Dying::rejected(&name, message)], now),
        }
        self.dispatch(&name);
        Ok(())
    }

    /// Puts messages back to their places, or gives them up when they came back too often.
    fn give_back(&mut self, name: &str, messages: impl IntoIterator<Item = Entry>, now: Instant) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        let mut dying = Vec::new();
        let mut due: Option<Instant> = None;
        for mut entry in messages {
            entry.returns += 1;
            let limit = queue.spec.delivery_limit;
            if limit.is_some_and(|limit| entry.returns > limit) {
                dying.push(Dying::new(name, entry, "delivery_limit"));
            } else {
                let expires = queue.put_back(entry);
                due = due.into_iter().chain(expires).min();
            }
        }
        self.note_due(due);
        self.bury(dying, now);
    }

    /// Gives back what a consumer has not taken yet, and gives it nothing more.
    pub fn stop(&mut self, id: u64, now: Instant) {
        let Some(window) = self.window(id) else {
            return;
        };
        window.is_stopped = true;
        let waiting = std::mem::take(&mut window.waiting);
        let back: Vec<_> = waiting
            .iter()
            .filter_map(|tag| window.unsettled.remove(tag))
            .collect();
        self.detach(id, back, now);
    }

    /// Removes a subscriber; everything that it has is lost and goes back.
    pub fn remove(&mut self, id: u64, now: Instant) {
        let back = self.window(id).map(Window::lose).unwrap_or_default();
        self.detach(id, back.into_values(), now);
        self.subscribers.remove(&id);
    }

    fn detach(&mut self, id: u64, back: impl IntoIterator<Item = Entry>, now: Instant) {
        let Some(subscriber) = self.subscribers.get(&id) else {
            return;
        };
        subscriber.attached.end();
        let name = Arc::clone(&subscriber.queue);
        if let Some(queue) = self.queues.get_mut(&*name)
            && (queue.consumers.remove(&id) || queue.feeds.remove(&id))
        {
            queue.rotation.retain(|other| *other != id);
            queue.touch(now);
            let due = queue.due();
            self.note_due(due);
        }
        self.give_back(&name, back, now);
        self.dispatch(&name);
    }

    /// Takes everything back from everybody.
    pub(super) fn lose_all(&mut self, now: Instant) {
        for queue in self.queues.values_mut() {
            queue.rotation.clear();
        }
        let ids: Vec<_> = self.subscribers.keys().copied().collect();
        for id in ids {
            let Some(subscriber) = self.subscribers.get_mut(&id) else {
                continue;
            };
            subscriber.attached.end();
            let name = Arc::clone(&subscriber.queue);
            if let Takes::Work(window) = &mut subscriber.takes {
                let back = window.lose();
                self.give_back(&name, back.into_values(), now);
            }
        }
    }

    /// Lets everybody consume again.
    pub(super) fn subscribe_all(&mut self) {
        let names: Vec<_> = self.queues.keys().cloned().collect();
        for name in names {
            self.attach(&name);
        }
    }

    /// Takes from everybody what they have of a queue that is gone.
    pub(super) fn lose_queue(&mut self, name: &str) -> Vec<Entry> {
        let mut lost = Vec::new();
        for subscriber in self.subscribers.values_mut() {
            if *subscriber.queue == *name {
                subscriber.attached.end();
                if let Takes::Work(window) = &mut subscriber.takes {
                    lost.extend(window.lose().into_values());
                }
                subscriber.wake.notify_one();
            }
        }
        lost
    }

    /// Returns what somebody has in hand, with the name of its queue.
    #[cfg(feature = "testing")]
    pub(super) fn in_hand(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.subscribers.values().flat_map(|subscriber| {
            let window = match &subscriber.takes {
                Takes::Work(window) => Some(window),
                Takes::Feed(_) => None,
            };
            let entries = window.into_iter().flat_map(|w| w.unsettled.values());
            entries.map(|entry| (&*subscriber.queue, entry))
        })
    }

    /// Wakes the feeds whose queue is not there.
    pub(super) fn wake_feeds(&self) {
        for subscriber in self.subscribers.values() {
            if matches!(subscriber.takes, Takes::Feed(_)) {
                subscriber.wake.notify_one();
            }
        }
    }
}
