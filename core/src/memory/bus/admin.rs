//! [`TopologyAdmin`] in memory.

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    InMemoryBus,
    broker::{Broker, Link},
    drift,
    queue::Queue,
    stream::Stream,
};
use crate::{
    bus::{BusError, QueueStats, TopologyAdmin},
    topology::{ExchangeSpec, QueueSpec, QueueType, Topology},
};

#[async_trait]
impl TopologyAdmin for InMemoryBus {
    async fn declare(&self, topology: &Topology) -> Result<(), BusError> {
        self.0.with(|broker, now| {
            broker.reachable()?;
            for exchange in &topology.exchanges {
                broker.declare_exchange(exchange)?;
            }
            for queue in &topology.queues {
                broker.declare_queue(queue, now)?;
            }
            Ok(())
        })
    }

    async fn declare_queue(&self, queue: &QueueSpec) -> Result<(), BusError> {
        self.0.with(|broker, now| {
            broker.reachable()?;
            broker.declare_queue(queue, now)
        })
    }

    async fn delete_queue(&self, queue: &str) -> Result<(), BusError> {
        self.0.with(|broker, _| {
            broker.reachable()?;
            broker.delete_queue(queue);
            Ok(())
        })
    }

    async fn inspect(&self, queue: &str) -> Result<Option<QueueStats>, BusError> {
        self.0.with(|broker, _| {
            broker.reachable()?;
            Ok(broker.inspect(queue))
        })
    }
}

/// How an exchange stands among what was restored; no queue can have that name.
pub(super) fn exchange_mark(name: &str) -> String {
    format!("exchange {name}")
}

impl Broker {
    fn reachable(&self) -> Result<(), BusError> {
        match self.link {
            Link::Up => Ok(()),
            Link::Down | Link::Closed => Err(BusError::Unavailable(None)),
        }
    }

    fn declare_exchange(&mut self, spec: &ExchangeSpec) -> Result<(), BusError> {
        let is_restored = self.restored.remove(&exchange_mark(&spec.name));
        if let Some(is) = self.router.exchange(&spec.name) {
            match drift::of_exchange(is, spec) {
                None => return Ok(()),
                Some(text) if !is_restored => return Err(BusError::Drift(text)),
                Some(_) => self.router.change(spec),
            }
        } else {
            self.router.add(spec.clone());
        }
        if let Some(journal) = &mut self.journal {
            journal.put_exchange(spec);
        }
        self.wake_feeds();
        Ok(())
    }

    pub(super) fn declare_queue(&mut self, spec: &QueueSpec, now: Instant) -> Result<(), BusError> {
        let missing = |exchange: &str| self.router.exchange(exchange).is_none();
        if let Some(binding) = spec.bindings.iter().find(|b| missing(&b.exchange)) {
            let text = format!("no exchange '{}'", binding.exchange);
            return Err(BusError::Refused(text.into()));
        }
        let is_restored = self.restored.remove(&spec.name);
        let queue = self.queues.get_mut(&spec.name).map(|queue| &mut queue.spec);
        let stream = self.streams.get_mut(&spec.name);
        let is_changed = match queue.or(stream.map(|stream| &mut stream.spec)) {
            Some(is) if is_restored && is.queue_type == spec.queue_type => {
                self.router.unbind(&spec.name);
                let is_changed = is != spec;
                *is = spec.clone();
                is_changed
            }
            Some(is) => {
                if let Some(text) = drift::of_queue(is, spec) {
                    return Err(BusError::Drift(text));
                }
                let new = spec.bindings.iter().filter(|b| !is.bindings.contains(b));
                let new: Vec<_> = new.cloned().collect();
                let is_changed = !new.is_empty();
                is.bindings.extend(new);
                is_changed
            }
            None => {
                self.add_queue(spec, now);
                true
            }
        };
        for binding in &spec.bindings {
            self.router.bind(&spec.name, binding);
        }
        if is_changed {
            self.keep_spec(&spec.name);
        }
        if let Some(queue) = self.queues.get_mut(&spec.name) {
            queue.touch(now);
            let due = queue.due();
            self.note_due(due);
        }
        self.attach(&spec.name);
        Ok(())
    }

    /// Notes the form of a durable queue or a stream.
    fn keep_spec(&mut self, name: &str) {
        let queue = self.queues.get(name).filter(|queue| queue.is_durable());
        let stream = self.streams.get(name).map(|stream| &stream.spec);
        let spec = queue.map(|queue| &queue.spec).or(stream);
        if let (Some(spec), Some(journal)) = (spec, &mut self.journal) {
            journal.put_queue(spec);
        }
    }

    fn add_queue(&mut self, spec: &QueueSpec, now: Instant) {
        let name = spec.name.clone();
        if spec.queue_type == QueueType::Stream {
            let first = self.stream_ends.get(&name).copied().unwrap_or(0);
            let incarnation = self.next_id();
            let mut stream = Stream::new(spec.clone(), &self.limits, first, incarnation);
            if self.journal.is_some() {
                stream.show(first);
            }
            self.streams.insert(name, stream);
        } else {
            self.queues.insert(name, Queue::new(spec.clone(), now));
        }
    }

    pub(super) fn delete_queue(&mut self, name: &str) {
        self.router.unbind(name);
        if let Some(stream) = self.streams.remove(name) {
            self.stream_ends.insert(name.to_owned(), stream.end());
            stream.grown.notify_waiters();
            if let Some(journal) = &mut self.journal {
                for (offset, stored) in stream.all() {
                    journal.remove_log(name, offset, stored);
                }
                journal.remove_queue(name);
            }
        }
        if let Some(queue) = self.queues.remove(name) {
            let in_hand = self.lose_queue(name);
            let Some(journal) = self.journal.as_mut().filter(|_| queue.is_durable()) else {
                return;
            };
            for entry in queue.entries().chain(&in_hand) {
                journal.remove_entry(name, entry.place, &entry.stored);
            }
            for letter in queue.letters() {
                if let Some(number) = letter.number {
                    journal.remove_letter(name, number, &letter.stored);
                }
            }
            journal.remove_queue(name);
        }
    }

    fn inspect(&self, name: &str) -> Option<QueueStats> {
        if let Some(stream) = self.streams.get(name) {
            return Some(QueueStats {
                ready: stream.len() as u64,
                consumers: stream.readers,
            });
        }
        let queue = self.queues.get(name)?;
        let consumers = queue.consumers.len() + queue.feeds.len();
        Some(QueueStats {
            ready: queue.ready() as u64,
            consumers: u32::try_from(consumers).unwrap_or(u32::MAX),
        })
    }
}
