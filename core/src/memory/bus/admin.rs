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

impl Broker {
    fn reachable(&self) -> Result<(), BusError> {
        match self.link {
            Link::Up => Ok(()),
            Link::Down | Link::Closed => Err(BusError::Unavailable(None)),
        }
    }

    fn declare_exchange(&mut self, spec: &ExchangeSpec) -> Result<(), BusError> {
        if let Some(is) = self.router.exchange(&spec.name) {
            return drift::of_exchange(is, spec).map_or(Ok(()), |text| Err(BusError::Drift(text)));
        }
        self.router.add(spec.clone());
        self.wake_feeds();
        Ok(())
    }

    pub(super) fn declare_queue(&mut self, spec: &QueueSpec, now: Instant) -> Result<(), BusError> {
        let missing = |exchange: &str| self.router.exchange(exchange).is_none();
        if let Some(binding) = spec.bindings.iter().find(|b| missing(&b.exchange)) {
            let text = format!("no exchange '{}'", binding.exchange);
            return Err(BusError::Refused(text.into()));
        }
        let queue = self.queues.get(&spec.name).map(|queue| &queue.spec);
        let stream = self.streams.get(&spec.name).map(|stream| &stream.spec);
        match queue.or(stream) {
            Some(is) => {
                if let Some(text) = drift::of_queue(is, spec) {
                    return Err(BusError::Drift(text));
                }
            }
            None => self.add_queue(spec, now),
        }
        for binding in &spec.bindings {
            self.router.bind(&spec.name, binding);
        }
        if let Some(queue) = self.queues.get_mut(&spec.name) {
            queue.touch(now);
            let due = queue.due();
            self.note_due(due);
        }
        self.attach(&spec.name);
        Ok(())
    }

    fn add_queue(&mut self, spec: &QueueSpec, now: Instant) {
        let name = spec.name.clone();
        if spec.queue_type == QueueType::Stream {
            let first = self.stream_ends.get(&name).copied().unwrap_or(0);
            let incarnation = self.next_id();
            let stream = Stream::new(spec.clone(), &self.limits, first, incarnation);
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
        }
        if self.queues.remove(name).is_some() {
            self.lose_queue(name);
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
