//! Tests of what the contract suite leaves open, and of the hooks.

mod dead_letters;
mod faults;
mod feeds;
mod journal;
mod limits;
mod turns;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{InMemoryBus, Limits};
use crate::{
    bus::{Bus, Deliveries, Delivery, Message, PublishError},
    clock::from_unix_ms,
    testing::bus::{TokioClock, patiently},
    topology::{BindingSpec, EXCHANGE_JOBS, QUEUE_DEAD, QueueSpec, Topology},
};

/// A broker that has the shared topology and no kind.
async fn broker(limits: Limits) -> (InMemoryBus, Bus) {
    let broker = InMemoryBus::new(Arc::new(TokioClock::new()), limits);
    let bus = broker.bus();
    bus.admin.declare(&Topology::new([])).await.unwrap();
    (broker, bus)
}

/// A plain queue, bound to `jobs` by its own name.
fn queue(name: &str) -> QueueSpec {
    let topology = Topology::new([]);
    QueueSpec {
        name: name.to_owned(),
        message_ttl: None,
        max_length: None,
        overflow: None,
        bindings: vec![bound(EXCHANGE_JOBS, name)],
        ..topology.queue(QUEUE_DEAD).unwrap().clone()
    }
}

fn bound(exchange: &str, key: &str) -> BindingSpec {
    BindingSpec {
        exchange: exchange.to_owned(),
        key: key.to_owned(),
    }
}

fn message(key: &str, body: impl Into<String>) -> Message {
    Message {
        exchange: EXCHANGE_JOBS.to_owned(),
        routing_key: key.parse().unwrap(),
        content_type: "text/plain".to_owned(),
        message_id: "id".to_owned(),
        correlation_id: String::new(),
        message_type: "test".to_owned(),
        timestamp: from_unix_ms(1_795_000_000_999),
        persistent: true,
        headers: BTreeMap::new(),
        body: body.into().into(),
    }
}

async fn publish(bus: &Bus, key: &str, body: impl Into<String>) -> Result<(), PublishError> {
    bus.publisher.publish(message(key, body)).await
}

async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    patiently("delivery", deliveries.next()).await.unwrap()
}

/// Takes and acks everything that comes within ten seconds of each other.
async fn drain(bus: &Bus, queue: &str) -> Vec<String> {
    let mut deliveries = bus.consumer.consume(queue, 100).await.unwrap();
    let mut bodies = Vec::new();
    while let Ok(Some(delivery)) =
        tokio::time::timeout(Duration::from_secs(10), deliveries.next()).await
    {
        bodies.push(String::from_utf8(delivery.message.body.to_vec()).unwrap());
        delivery.ack().await.unwrap();
    }
    bodies
}

async fn ready(bus: &Bus, queue: &str) -> u64 {
    let stats = bus.admin.inspect(queue).await.unwrap();
    stats.unwrap().ready
}
