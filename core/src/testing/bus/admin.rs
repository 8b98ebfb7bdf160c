//! Declaring and inspecting.

use std::time::Duration;

use super::{
    BusFixture,
    support::{Broker, next},
};
use crate::{
    bus::BusError,
    topology::{QUEUE_DEAD, QUEUE_LOG, Topology, work_queue},
};

/// A queue tells how many messages are ready and how many consumers it has.
pub async fn inspect_counts_ready_messages_and_consumers<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let queue = work_queue(&broker.first);
    let stats = broker.bus.admin.inspect(&queue).await.unwrap().unwrap();
    assert_eq!((stats.ready, stats.consumers), (0, 0));
    for n in 0..3 {
        broker.submit(&n.to_string()).await;
    }
    broker.wait_ready(&queue, 3).await;
    let mut deliveries = broker.consume(1).await;
    broker.wait_consumers(&queue, 1).await;
    let delivery = next(&mut deliveries).await;
    broker.wait_ready(&queue, 2).await;
    drop(delivery);
    drop(deliveries);
    broker.wait_consumers(&queue, 0).await;
    broker.wait_ready(&queue, 3).await;
}

/// A missing queue is `None`, not an error, and deleting it does nothing.
pub async fn a_missing_queue_is_none<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let admin = &broker.bus.admin;
    for _ in 0..2 {
        assert_eq!(admin.inspect("work.no.such").await.unwrap(), None);
        admin.delete_queue("work.no.such").await.unwrap();
    }
    assert!(admin.inspect(QUEUE_LOG).await.unwrap().is_some());
}

/// Declaring again changes nothing and keeps what is in the queues.
pub async fn declaring_twice_changes_nothing<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    broker.submit("kept").await;
    broker.bus.admin.declare(&broker.topology).await.unwrap();
    for queue in &broker.topology.queues {
        broker.bus.admin.declare_queue(queue).await.unwrap();
    }
    broker.wait_ready(&work_queue(&broker.first), 1).await;
    let mut deliveries = broker.consume(1).await;
    next(&mut deliveries).await.ack().await.unwrap();
}

/// A queue that exists with another argument is told by name, with the argument.
pub async fn drift_names_the_queue_and_the_argument<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let queue = broker
        .topology
        .queue(&work_queue(&broker.first))
        .unwrap()
        .clone();
    let mut other = queue.clone();
    other.max_length = Some(5);
    assert_drift(&broker, &other, "x-max-length").await;
    let mut other = broker.topology.queue(QUEUE_DEAD).unwrap().clone();
    other.message_ttl = Some(Duration::from_secs(60));
    assert_drift(&broker, &other, "x-message-ttl").await;
    // What exists is as it was, and still declared without complaint.
    broker.bus.admin.declare_queue(&queue).await.unwrap();
    broker.submit("still works").await;
    broker.wait_ready(&queue.name, 1).await;
}

async fn assert_drift(broker: &Broker, queue: &crate::topology::QueueSpec, argument: &str) {
    match broker.bus.admin.declare_queue(queue).await {
        Err(BusError::Drift(text)) => {
            assert!(text.contains(&queue.name), "{text}");
            assert!(text.contains(argument), "{text}");
        }
        other => panic!("expected drift, got {other:?}"),
    }
}

/// An exchange that exists in another form is told by name.
pub async fn drift_names_the_exchange<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut exchanges = broker.topology.exchanges.clone();
    let ready = exchanges.iter_mut().find(|e| e.name == "jobs.ready");
    ready.unwrap().alternate = None;
    let other = Topology {
        exchanges,
        queues: Vec::new(),
    };
    match broker.bus.admin.declare(&other).await {
        Err(BusError::Drift(text)) => {
            assert!(text.contains("jobs.ready"), "{text}");
            assert!(text.contains("alternate-exchange"), "{text}");
        }
        outcome => panic!("expected drift, got {outcome:?}"),
    }
}

/// A deleted queue takes its messages with it.
pub async fn deleting_a_queue_takes_its_messages<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let queue = work_queue(&broker.first);
    broker.submit("gone").await;
    broker.bus.admin.delete_queue(&queue).await.unwrap();
    assert_eq!(broker.bus.admin.inspect(&queue).await.unwrap(), None);
    let spec = broker.topology.queue(&queue).unwrap();
    broker.bus.admin.declare_queue(spec).await.unwrap();
    broker.wait_ready(&queue, 0).await;
}
