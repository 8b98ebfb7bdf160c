//! The delay tiers. Only the shortest is used: on a real broker a second is a second.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    BusFixture,
    dead_letters::is_dead_letter,
    support::{Broker, assert_same, message, next, silent},
};
use crate::{
    bus::{Delivery, LogEntry, LogStart, Received, RoutingKey},
    topology::{EXCHANGE_JOBS, EXCHANGE_READY, QUEUE_DEAD, Tier, work_queue},
};

/// A delayed command arrives after its tier's time, as it was published.
pub async fn a_tier_delays_and_changes_nothing<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut deliveries = broker.consume(10).await;
    let key = RoutingKey::delayed(Tier::S1, &broker.first);
    let sent = message(key, "later");
    let start = Instant::now();
    broker.publish(&sent).await;
    let delivery = next(&mut deliveries).await;
    // The broker counts in its own milliseconds.
    assert!(start.elapsed() >= Duration::from_millis(990));
    assert_same(&delivery.message, &sent);
    assert_eq!(delivery.message.exchange, EXCHANGE_READY);
    // The broker may deliver it twice, and then says so; the delay alone is no delivery.
    let delivered_before = delivery.message.delivery_count > 0;
    assert_eq!(delivery.message.redelivered, delivered_before);
    let death = delivery.message.death.clone().unwrap();
    assert_eq!(death.reason, "expired");
    assert_eq!(death.queue, "jobs.delay.1s");
    delivery.ack().await.unwrap();
}

/// What waits in a longer tier holds up nothing in a shorter one.
pub async fn a_longer_delay_holds_up_no_shorter_one<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let delayed = |tier, body| message(RoutingKey::delayed(tier, &broker.first), body);
    broker.publish(&delayed(Tier::H1, "much later")).await;
    let mut deliveries = broker.consume(10).await;
    silent(&mut deliveries).await;
    broker.publish(&delayed(Tier::S1, "soon")).await;
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.message.body, "soon");
    delivery.ack().await.unwrap();
    broker.wait_ready("jobs.delay.1h", 1).await;
}

/// A delayed command is in the log when it is published, not again when it comes due.
pub async fn the_log_has_a_delayed_command_once<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let sent = message(RoutingKey::delayed(Tier::S1, &broker.first), "later");
    broker.publish(&sent).await;
    let entry = broker.find_in_log(&sent.message_id).await;
    assert_eq!(entry.message.exchange, EXCHANGE_JOBS);
    let mut deliveries = broker.consume(1).await;
    next(&mut deliveries).await.ack().await.unwrap();
    let last = broker.submit("last").await;
    let mut tail = broker.read(LogStart::First).await;
    tail.until_id(&last).await;
    assert_eq!(tail.ids(), [sent.message_id, last]);
}

/// A delayed message that is given up afterwards has the newest death in its trace.
pub async fn the_newest_death_is_told<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut tail = broker.read(LogStart::First).await;
    let sent = message(RoutingKey::delayed(Tier::S1, &broker.first), "later");
    broker.publish(&sent).await;
    let mut deliveries = broker.consume(1).await;
    next(&mut deliveries).await.reject().await.unwrap();
    let entry = tail.until("dead letter in the log", is_dead_letter).await;
    assert_same(&entry.message, &sent);
    let mut dead = broker.consume_queue(QUEUE_DEAD, 1).await;
    let parked = next(&mut dead).await;
    let work = work_queue(&broker.first);
    assert_last_death(fixture, &entry, &parked, ("rejected", &work));
    parked.ack().await.unwrap();
}

/// A delayed command whose work queue is gone is parked, and the log says so.
pub async fn a_delayed_command_without_queue_is_parked<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut tail = broker.read(LogStart::First).await;
    let queue = work_queue(&broker.first);
    broker.bus.admin.delete_queue(&queue).await.unwrap();
    let sent = message(RoutingKey::delayed(Tier::S1, &broker.first), "orphan");
    broker.publish(&sent).await;
    let mut dead = broker.consume_queue(QUEUE_DEAD, 1).await;
    let delivery = next(&mut dead).await;
    assert_same(&delivery.message, &sent);
    let entry = tail.until("dead letter in the log", is_dead_letter).await;
    assert_same(&entry.message, &sent);
    // What the alternate exchange passes on keeps the name of the first one: that tells it from what
    // a work queue gave up.
    assert_eq!(entry.message.exchange, EXCHANGE_READY);
    assert_last_death(fixture, &entry, &delivery, ("expired", "jobs.delay.1s"));
    delivery.ack().await.unwrap();
}

/// Expects the newest death of a message that has passed a tier: where it is parked, and in the log
/// if the log can tell. If it cannot, it must not tell another.
#[track_caller]
fn assert_last_death<F: BusFixture>(
    fixture: &F,
    entry: &LogEntry,
    parked: &Delivery,
    expected: (&str, &str),
) {
    let told = |message: &Received| {
        let death = message.death.as_ref()?;
        Some((death.reason.clone(), death.queue.clone()))
    };
    let expected = Some((expected.0.to_owned(), expected.1.to_owned()));
    assert_eq!(told(&parked.message), expected);
    let logged = told(&entry.message);
    assert!(
        logged == expected || (logged.is_none() && !fixture.log_keeps_traces()),
        "{logged:?}"
    );
}

/// Delayed commands of a kind whose queue is full, and of one whose queue is gone, hold up no
/// other in the same tier.
pub async fn a_full_and_a_missing_queue_do_not_stop_a_tier<F: BusFixture>(fixture: &F) {
    let broker = Broker::with(fixture, |queue, _| queue.max_length = Some(1)).await;
    let missing = super::support::kind("missing");
    broker.fill().await;
    let delayed = |kind, body: &str| message(RoutingKey::delayed(Tier::S1, kind), body);
    // Fewer than a broker's dead-letter worker holds (32).
    for n in 0..10 {
        let body = n.to_string();
        broker.publish(&delayed(&broker.first, &body)).await;
        broker.publish(&delayed(&missing, &body)).await;
        broker.publish(&delayed(&broker.second, &body)).await;
    }
    let queue = work_queue(&broker.second);
    let mut deliveries = broker.consume_queue(&queue, 10).await;
    let mut bodies = Vec::new();
    for _ in 0..10 {
        let delivery = next(&mut deliveries).await;
        bodies.push(delivery.message.body.clone());
        delivery.ack().await.unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    silent(&mut deliveries).await;
    // Those of the missing queue are parked, those of the full one wait.
    broker.wait_ready(QUEUE_DEAD, 10).await;
}
