//! What becomes of a delivery.

use super::{
    BusFixture,
    support::{Broker, command, eventually, id, next, patiently, silent},
};
use crate::topology::work_queue;

/// No more than `prefetch` deliveries are out; settling one makes room for one.
pub async fn prefetch_counts_what_is_not_settled<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    for n in 0..6 {
        broker.submit(&n.to_string()).await;
    }
    let mut deliveries = broker.consume(2).await;
    let first = next(&mut deliveries).await;
    let second = next(&mut deliveries).await;
    silent(&mut deliveries).await;
    first.ack().await.unwrap();
    let third = next(&mut deliveries).await;
    silent(&mut deliveries).await;
    second.ack().await.unwrap();
    third.ack().await.unwrap();
    for n in 3..6 {
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.message.body, n.to_string());
        delivery.ack().await.unwrap();
    }
}

/// Two consumers share a queue, and each message goes to one of them.
pub async fn consumers_share_a_queue<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut one = broker.consume(1).await;
    let mut two = broker.consume(1).await;
    broker.wait_consumers(&work_queue(&broker.first), 2).await;
    let mut sent = vec![broker.submit("a").await, broker.submit("b").await];
    let a = next(&mut one).await;
    let b = next(&mut two).await;
    let mut got = vec![id(&a), id(&b)];
    sent.sort();
    got.sort();
    assert_eq!(got, sent);
    a.ack().await.unwrap();
    b.ack().await.unwrap();
    silent(&mut one).await;
    silent(&mut two).await;
}

/// An acked message is gone.
pub async fn an_ack_removes_the_message<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    broker.submit("once").await;
    let mut deliveries = broker.consume(1).await;
    next(&mut deliveries).await.ack().await.unwrap();
    drop(deliveries);
    let queue = work_queue(&broker.first);
    broker.wait_consumers(&queue, 0).await;
    broker.wait_ready(&queue, 0).await;
    let mut again = broker.consume(1).await;
    silent(&mut again).await;
}

/// A requeued message comes again, marked, with its count.
pub async fn a_requeue_delivers_again_and_counts<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let sent = broker.submit("again").await;
    let mut deliveries = broker.consume(1).await;
    for count in 0..3 {
        let delivery = next(&mut deliveries).await;
        assert_eq!(id(&delivery), sent);
        assert_eq!(delivery.message.redelivered, count > 0);
        assert_eq!(delivery.message.delivery_count, count);
        assert_eq!(delivery.message.death, None);
        delivery.requeue().await.unwrap();
    }
    next(&mut deliveries).await.ack().await.unwrap();
}

/// A requeued message goes ahead of those that wait.
pub async fn a_requeued_message_keeps_its_place<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let ids = [
        broker.submit("1").await,
        broker.submit("2").await,
        broker.submit("3").await,
    ];
    let mut deliveries = broker.consume(1).await;
    next(&mut deliveries).await.requeue().await.unwrap();
    for expected in ids {
        let delivery = next(&mut deliveries).await;
        assert_eq!(id(&delivery), expected);
        delivery.ack().await.unwrap();
    }
}

/// A delivery that is dropped without being settled is delivered again.
pub async fn a_dropped_delivery_is_delivered_again<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let sent = broker.submit("dropped").await;
    let mut deliveries = broker.consume(1).await;
    drop(next(&mut deliveries).await);
    let again = next(&mut deliveries).await;
    assert_eq!(id(&again), sent);
    assert!(again.message.redelivered);
    again.ack().await.unwrap();
}

/// When a consumer is dropped, all that it had goes to others; what is in hand is lost.
pub async fn a_dropped_consumer_gives_everything_back<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    for n in 0..3 {
        broker.submit(&n.to_string()).await;
    }
    let mut dropped = broker.consume(2).await;
    let in_hand = next(&mut dropped).await;
    drop(dropped);
    patiently("loss of the delivery", in_hand.lost.cancelled()).await;
    assert!(in_hand.ack().await.is_err());
    let mut deliveries = broker.consume(3).await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let delivery = next(&mut deliveries).await;
        let was_out = delivery.message.body != "2";
        if delivery.message.body == "0" {
            assert!(delivery.message.redelivered);
        }
        assert!(was_out || !delivery.message.redelivered);
        bodies.push(delivery.message.body.clone());
        delivery.ack().await.unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, ["0", "1", "2"]);
    silent(&mut deliveries).await;
}

/// A stopped consumer gives back what nobody has taken; what is in hand can still be acked.
pub async fn a_stopped_consumer_keeps_what_is_in_hand<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let queue = work_queue(&broker.first);
    for n in 0..4 {
        broker.submit(&n.to_string()).await;
    }
    let mut stopped = broker.consume(3).await;
    let in_hand = next(&mut stopped).await;
    // One is in hand and two have been pushed.
    broker.wait_ready(&queue, 1).await;
    patiently("stop", stopped.stop()).await;
    assert!(
        patiently("end of the stream", stopped.next())
            .await
            .is_none()
    );
    broker.wait_ready(&queue, 3).await;
    broker.publish(&command(&broker.first, "4")).await;
    assert!(
        patiently("end of the stream", stopped.next())
            .await
            .is_none()
    );
    assert!(!in_hand.lost.is_cancelled());
    in_hand.ack().await.unwrap();
    let mut deliveries = broker.consume(10).await;
    let mut bodies = Vec::new();
    for _ in 0..4 {
        let delivery = next(&mut deliveries).await;
        bodies.push(delivery.message.body.clone());
        delivery.ack().await.unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, ["1", "2", "3", "4"]);
    silent(&mut deliveries).await;
}

/// A consumer may come before its queue, and survives that the queue goes and comes back.
pub async fn a_consumer_waits_for_its_queue<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let queue = work_queue(&broker.first);
    let spec = broker.topology.queue(&queue).unwrap();
    broker.bus.admin.delete_queue(&queue).await.unwrap();
    let mut deliveries = broker.consume(1).await;
    silent(&mut deliveries).await;
    for _ in 0..2 {
        broker.bus.admin.declare_queue(spec).await.unwrap();
        let sent = broker.submit("late").await;
        let delivery = next(&mut deliveries).await;
        assert_eq!(id(&delivery), sent);
        delivery.ack().await.unwrap();
        broker.bus.admin.delete_queue(&queue).await.unwrap();
        eventually("deletion of the queue", async || {
            let stats = broker.bus.admin.inspect(&queue).await.unwrap();
            stats.is_none().then_some(())
        })
        .await;
    }
}
