//! Lost connections, blocked publishers, an absent broker: for fixtures that can bring them about.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    BusFixture, eventually,
    support::{Broker, command, id, next, patiently, unique},
};
use crate::{
    bus::{Attachment, BusState, Feed, LogStart, PublishError},
    topology::work_queue,
};

/// When the connection breaks, what is in hand is lost, settling it is an error, and the message
/// is delivered again to the same stream.
pub async fn a_lost_delivery_says_so_and_comes_again<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let sent = [broker.submit("1").await, broker.submit("2").await];
    let mut deliveries = broker.consume(2).await;
    let acked = next(&mut deliveries).await;
    let requeued = next(&mut deliveries).await;
    assert!(!acked.lost.is_cancelled());
    if !fixture.break_connections().await {
        return;
    }
    patiently("loss of the delivery", acked.lost.cancelled()).await;
    patiently("loss of the delivery", requeued.lost.cancelled()).await;
    assert!(acked.ack().await.is_err());
    assert!(requeued.requeue().await.is_err());
    let mut got = Vec::new();
    for _ in 0..2 {
        let again = next(&mut deliveries).await;
        assert!(again.message.redelivered);
        assert!(!again.lost.is_cancelled());
        got.push(id(&again));
        again.ack().await.unwrap();
    }
    got.sort();
    let mut sent = sent.to_vec();
    sent.sort();
    assert_eq!(got, sent);
}

/// A reader of the log ends with its connection; the next one finds everything.
pub async fn a_reader_of_the_log_ends_with_its_connection<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut reader = broker.bus.log.read(LogStart::First).await.unwrap();
    let before = broker.submit("before").await;
    let batch = patiently("entry in the log", reader.next_batch(10)).await;
    let offset = batch.unwrap()[0].offset;
    if !fixture.break_connections().await {
        return;
    }
    let ended = patiently("end of the reader", reader.next_batch(10)).await;
    assert!(ended.is_err());
    let after = broker.submit("after").await;
    let reader = eventually("new reader", async || {
        broker.bus.log.read(LogStart::Offset(offset)).await.ok()
    });
    let mut reader = reader.await;
    let mut ids = Vec::new();
    while ids.len() < 2 {
        let batch = patiently("entry in the log", reader.next_batch(10)).await;
        ids.extend(batch.unwrap().into_iter().map(|e| e.message.message_id));
    }
    assert_eq!(ids, [Some(before), Some(after)]);
}

/// Feeds come back by themselves.
pub async fn a_feed_outlives_its_connection<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let consumer = &broker.bus.consumer;
    let name = super::support::unique("suite-");
    let feed = crate::bus::Feed::Control;
    let mut feed = consumer.subscribe(feed, &name).await.unwrap();
    if !fixture.break_connections().await {
        return;
    }
    let control = crate::event::Control::Cancel {
        job_id: crate::JobId::from_uuid(uuid::Uuid::from_u128(7)),
        epoch: 0,
        reason: None,
    };
    let (received, ()) = tokio::join!(patiently("control message", feed.next()), async {
        // What is sent while it is away is lost, so send until it is back.
        let received = eventually("subscriber", async || {
            let queue = crate::topology::Topology::control_queue(&name).name;
            let stats = broker.bus.admin.inspect(&queue).await.ok()??;
            let sent = broker.bus.publisher.broadcast(control.clone()).await;
            (sent.is_ok() && stats.consumers == 1).then_some(())
        });
        received.await;
    });
    assert!(received.is_some());
}

/// A blocked publisher is told at once, by its state and by every publish, and nothing is sent.
pub async fn a_blocked_publisher_is_told<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    broker.submit("before").await;
    assert_eq!(broker.bus.publisher.state(), BusState::Up);
    if !fixture.set_blocked(true).await {
        return;
    }
    // RabbitMQ tells a connection that it is blocked when it publishes.
    let blocked = eventually("blocked state", async || {
        let sent = command(&broker.first, "blocked");
        let outcome = broker.bus.publisher.publish(sent).await;
        match (outcome, broker.bus.publisher.state()) {
            (Err(PublishError::Blocked(_)), BusState::Blocked(reason)) => Some(reason),
            _ => None,
        }
    })
    .await;
    assert!(!blocked.is_empty());
    assert!(!PublishError::Blocked(blocked).outcome_unknown());
    fixture.set_blocked(false).await;
    eventually("state up", async || {
        (broker.bus.publisher.state() == BusState::Up).then_some(())
    })
    .await;
    broker.submit("after").await;
}

/// Without a broker every call answers, and everything comes back with it.
pub async fn an_absent_broker_is_told_and_waited_for<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let kept = broker.submit("kept").await;
    if !fixture.set_down(true).await {
        return;
    }
    eventually("state down", async || {
        matches!(broker.bus.publisher.state(), BusState::Down(_)).then_some(())
    })
    .await;
    let sent = command(&broker.first, "refused");
    let outcome = patiently("answer", broker.bus.publisher.publish(sent)).await;
    assert!(
        matches!(outcome, Err(PublishError::Unavailable(_))),
        "{outcome:?}"
    );
    let mut deliveries = patiently("stream", broker.consume(1)).await;
    super::support::silent(&mut deliveries).await;
    assert!(
        patiently("answer", broker.bus.log.read(LogStart::First))
            .await
            .is_err()
    );
    assert!(
        patiently("answer", broker.bus.admin.inspect("none"))
            .await
            .is_err()
    );
    fixture.set_down(false).await;
    let delivery = next(&mut deliveries).await;
    assert_eq!(id(&delivery), kept);
    delivery.ack().await.unwrap();
    broker.submit("after").await;
    broker.find_in_log(&kept).await;
}

/// Consumers and feeds say whether the broker serves them: not without their queue, their connection, or
/// after a stop.
pub async fn an_attachment_says_whether_anything_can_come<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let queue = work_queue(&broker.first);
    let admin = &broker.bus.admin;
    let mut deliveries = broker.consume(1).await;
    let work = deliveries.attachment();
    attached(&work).await;
    admin.delete_queue(&queue).await.unwrap();
    detached(&work).await;
    admin.declare(&broker.topology).await.unwrap();
    attached(&work).await;
    let consumer = &broker.bus.consumer;
    let feed = consumer.subscribe(Feed::Ticks, &unique("c")).await.unwrap();
    let ticks = feed.attachment();
    let first = attached(&ticks).await;
    if fixture.set_down(true).await {
        detached(&work).await;
        detached(&ticks).await;
        fixture.pass(Duration::from_millis(10)).await;
        fixture.set_down(false).await;
        attached(&work).await;
        assert!(attached(&ticks).await > first);
    }
    deliveries.stop().await;
    detached(&work).await;
    drop(feed);
    detached(&ticks).await;
}

async fn attached(attachment: &Attachment) -> Instant {
    eventually("attachment", async || attachment.since()).await
}

async fn detached(attachment: &Attachment) {
    let gone = async || attachment.since().is_none().then_some(());
    eventually("end of the attachment", gone).await;
}
