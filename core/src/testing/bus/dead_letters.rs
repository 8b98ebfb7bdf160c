//! Messages that a work queue gives up.

use super::{
    BusFixture,
    support::{Broker, assert_same, command, id, next, silent},
};
use crate::{
    bus::{LogEntry, LogStart},
    topology::{EXCHANGE_DLX, QUEUE_DEAD, work_queue},
};

/// A rejected message is dead-lettered, to the log and to the queue of the dead.
pub async fn a_rejected_message_is_dead_lettered<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut tail = broker.read(LogStart::First).await;
    let sent = command(&broker.first, "poison");
    broker.publish(&sent).await;
    let mut deliveries = broker.consume(1).await;
    next(&mut deliveries).await.reject().await.unwrap();

    let entry = tail.until("dead letter in the log", is_dead_letter).await;
    assert_same(&entry.message, &sent);
    assert_eq!(entry.message.exchange, EXCHANGE_DLX);
    assert_trace(fixture, &entry, "rejected", &work_queue(&broker.first));

    let mut dead = broker.consume_queue(QUEUE_DEAD, 1).await;
    let delivery = next(&mut dead).await;
    assert_same(&delivery.message, &sent);
    assert_eq!(delivery.message.exchange, EXCHANGE_DLX);
    let death = delivery.message.death.clone().unwrap();
    assert_eq!(death.reason, "rejected");
    delivery.ack().await.unwrap();
    silent(&mut deliveries).await;
}

/// What people look at and give back stays with the dead, more often than RabbitMQ 4 delivers where nothing is said.
pub async fn a_look_at_the_dead_takes_nothing_away<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let sent = command(&broker.first, "looked-at");
    broker.publish(&sent).await;
    let mut deliveries = broker.consume(1).await;
    next(&mut deliveries).await.reject().await.unwrap();
    let mut dead = broker.consume_queue(QUEUE_DEAD, 1).await;
    for _ in 0..25 {
        next(&mut dead).await.requeue().await.unwrap();
    }
    let delivery = next(&mut dead).await;
    assert_same(&delivery.message, &sent);
    delivery.ack().await.unwrap();
}

/// With a delivery limit of five a message is delivered six times, then dead-lettered.
pub async fn the_delivery_limit_gives_six_starts<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let queue = work_queue(&broker.first);
    let spec = broker.topology.queue(&queue).unwrap();
    assert_eq!(spec.delivery_limit, Some(5));
    let mut tail = broker.read(LogStart::First).await;
    let sent = command(&broker.first, "crasher");
    broker.publish(&sent).await;
    let mut deliveries = broker.consume(1).await;
    for count in 0..6 {
        let delivery = next(&mut deliveries).await;
        assert_eq!(id(&delivery), sent.message_id);
        assert_eq!(delivery.message.delivery_count, count);
        delivery.requeue().await.unwrap();
    }
    let entry = tail.until("dead letter in the log", is_dead_letter).await;
    assert_same(&entry.message, &sent);
    assert_eq!(entry.message.exchange, EXCHANGE_DLX);
    assert_trace(fixture, &entry, "delivery_limit", &queue);
    silent(&mut deliveries).await;
}

/// The limit counts consumers that vanish, as crashed workers do.
pub async fn a_vanished_consumer_counts_for_the_limit<F: BusFixture>(fixture: &F) {
    let broker = Broker::with(fixture, |queue, _| queue.delivery_limit = Some(1)).await;
    let mut tail = broker.read(LogStart::First).await;
    broker.submit("crasher").await;
    for _ in 0..2 {
        let mut deliveries = broker.consume(1).await;
        let in_hand = next(&mut deliveries).await;
        drop(deliveries);
        super::patiently("loss of the delivery", in_hand.lost.cancelled()).await;
    }
    let entry = tail.until("dead letter in the log", is_dead_letter).await;
    assert_trace(
        fixture,
        &entry,
        "delivery_limit",
        &work_queue(&broker.first),
    );
}

/// Reading the log needs nobody to tell a dead letter from a command: its exchange does.
pub async fn a_dead_letter_does_not_look_like_a_command<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut tail = broker.read(LogStart::First).await;
    let bad = broker.submit("bad").await;
    let mut deliveries = broker.consume(1).await;
    next(&mut deliveries).await.reject().await.unwrap();
    tail.until("dead letter in the log", is_dead_letter).await;
    let good = broker.submit("good").await;
    tail.until_id(&good).await;
    assert_eq!(tail.ids(), [bad.clone(), bad, good]);
    let dead: Vec<_> = tail.seen.iter().map(is_dead_letter).collect();
    assert_eq!(dead, [false, true, false]);
    let traced: Vec<_> = tail
        .seen
        .iter()
        .map(|entry| entry.message.death.is_some())
        .collect();
    assert_eq!(traced, dead);
}

pub(super) fn is_dead_letter(entry: &LogEntry) -> bool {
    entry.message.exchange != crate::topology::EXCHANGE_JOBS
}

/// Expects the only death of a log entry.
#[track_caller]
pub(super) fn assert_trace<F: BusFixture>(
    fixture: &F,
    entry: &LogEntry,
    reason: &str,
    queue: &str,
) {
    let death = entry.message.death.as_ref().unwrap();
    assert_eq!(
        (death.reason.as_str(), death.queue.as_str()),
        (reason, queue)
    );
    assert!(death.time.is_some() || !fixture.log_keeps_traces());
}
