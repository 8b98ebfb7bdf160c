//! The log and its readers.

use std::time::Duration;

use super::{
    BusFixture,
    support::{Broker, assert_same, command, message, patiently},
};
use crate::{
    bus::{BusError, LogStart, RoutingKey},
    event::Mark,
    topology::QUEUE_LOG,
};

/// Everything that is published to `jobs` is in the log, in order, with all its properties.
pub async fn the_log_has_everything_in_order<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let sent = [
        command(&broker.first, "1"),
        message(RoutingKey::event(&broker.first, "started"), "2"),
        message(RoutingKey::dead(&broker.second), "3"),
        message("nobody.listens".parse().unwrap(), "4"),
        command(&broker.second, "5"),
    ];
    for message in &sent {
        broker.publish(message).await;
    }
    let mut tail = broker.read(LogStart::First).await;
    tail.until_id(&sent[4].message_id).await;
    assert_eq!(tail.seen.len(), sent.len());
    for (entry, message) in tail.seen.iter().zip(&sent) {
        assert_same(&entry.message, message);
        assert_eq!(entry.message.exchange, message.exchange);
        assert_eq!(entry.message.death, None);
    }
    assert!(tail.seen.windows(2).all(|w| w[0].offset < w[1].offset));
}

/// Acks in the work queue take nothing out of the log.
pub async fn the_log_keeps_what_is_acked<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let id = broker.submit("done").await;
    let mut deliveries = broker.consume(1).await;
    let delivery = super::support::next(&mut deliveries).await;
    delivery.ack().await.unwrap();
    broker.find_in_log(&id).await;
    broker.find_in_log(&id).await;
}

/// A reader at an offset gets that entry first.
pub async fn reading_from_an_offset_includes_it<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(broker.submit(&n.to_string()).await);
    }
    let mut all = broker.read(LogStart::First).await;
    all.until_id(&ids[9]).await;
    for at in [0, 4, 9] {
        let offset = all.seen[at].offset;
        let mut tail = broker.read(LogStart::Offset(offset)).await;
        tail.until_id(&ids[9]).await;
        assert_eq!(tail.seen[0].offset, offset);
        assert_eq!(tail.ids(), ids[at..]);
    }
}

/// A reader at an offset that lies ahead gets the next new entry, or waits for the log to get there;
/// it never gets an old one.
pub async fn reading_ahead_gives_nothing_old<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let old = broker.submit("old").await;
    let entry = broker.find_in_log(&old).await;
    let ahead = LogStart::Offset(entry.offset + 1_000_000);
    let mut reader = broker.bus.log.read(ahead).await.unwrap();
    let new = broker.submit("new").await;
    let silence = Duration::from_millis(300);
    if let Ok(batch) = tokio::time::timeout(silence, reader.next_batch(10)).await {
        assert_eq!(batch.unwrap()[0].message.message_id, Some(new));
    }
}

/// A reader from a time misses nothing that was published after it.
pub async fn reading_from_a_time_misses_nothing<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let before = broker.submit("before").await;
    // AMQP tells times in whole seconds.
    fixture.pass(Duration::from_secs(2)).await;
    let time = fixture.now();
    let after = [broker.submit("1").await, broker.submit("2").await];
    let mut tail = broker.read(LogStart::Time(time)).await;
    tail.until_id(&after[1]).await;
    let mut ids = tail.ids();
    ids.retain(|id| *id != before);
    assert_eq!(ids, after);
}

/// A reader of what comes next gets nothing that was there before.
pub async fn reading_from_next_skips_the_past<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let old = broker.submit("old").await;
    broker.find_in_log(&old).await;
    let mut tail = broker.read(LogStart::Next).await;
    let new = broker.submit("new").await;
    tail.until_id(&new).await;
    assert!(!tail.ids().contains(&old));
    assert_eq!(tail.ids().last(), Some(&new));
}

/// Two readers see the same entries.
pub async fn every_reader_sees_everything<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut one = broker.read(LogStart::First).await;
    let mut two = broker.read(LogStart::First).await;
    let mut ids = Vec::new();
    for n in 0..25 {
        ids.push(broker.submit(&n.to_string()).await);
    }
    tokio::join!(one.until_id(&ids[24]), two.until_id(&ids[24]));
    assert_eq!(one.ids(), ids);
    assert_eq!(two.ids(), ids);
    let offsets = |tail: &super::support::Tail| -> Vec<_> {
        tail.seen.iter().map(|entry| entry.offset).collect()
    };
    assert_eq!(offsets(&one), offsets(&two));
}

/// What was confirmed before a mark lies before it in the log.
pub async fn a_mark_lies_behind_what_was_confirmed_before<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(broker.submit(&n.to_string()).await);
    }
    let mark = Mark {
        id: uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        server: "suite".to_owned(),
        time: crate::clock::from_unix_ms(1_795_000_000_123),
    };
    broker.publish(&mark.to_message()).await;
    let mut tail = broker.read(LogStart::First).await;
    let entry = tail.until_id(&mark.id.to_string()).await;
    assert_eq!(Mark::parse(&entry.message.body).unwrap(), mark);
    ids.push(mark.id.to_string());
    assert_eq!(tail.ids(), ids);
}

/// Waiting for the next batch may be given up and taken up again without a loss.
pub async fn waiting_for_a_batch_can_be_cancelled<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut reader = broker.bus.log.read(LogStart::First).await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(50), reader.next_batch(10)).await;
    assert!(given_up.is_err());
    let id = broker.submit("late").await;
    let batch = patiently("entry in the log", reader.next_batch(10)).await;
    let batch = batch.unwrap();
    assert_eq!(batch[0].message.message_id, Some(id));
}

/// Without a log there is nothing to read.
pub async fn a_missing_log_is_told<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    broker.bus.admin.delete_queue(QUEUE_LOG).await.unwrap();
    let Err(error) = patiently("answer", broker.bus.log.read(LogStart::First)).await else {
        panic!("expected no reader");
    };
    assert!(
        matches!(&error, BusError::MissingQueue(queue) if queue == QUEUE_LOG),
        "{error:?}"
    );
}
