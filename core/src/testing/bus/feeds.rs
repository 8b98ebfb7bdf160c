//! What goes to everybody and may be lost.

use std::{collections::BTreeSet, time::Duration};

use super::{
    BusFixture, patience,
    support::{Broker, assert_same, message, patiently, unique},
};
use crate::{
    bus::{Feed, FeedStream, Message, RoutingKey},
    clock::from_unix_ms,
    event::Control,
    topology::{EXCHANGE_TICK, Topology},
};

/// Every subscriber of the ticks gets each tick once.
pub async fn every_subscriber_gets_each_tick_once<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let (mut one, mut two) = (
        subscribe(&broker, Feed::Ticks).await,
        subscribe(&broker, Feed::Ticks).await,
    );
    let sent: Vec<_> = (0..20).map(|n| tick(&broker, &n.to_string())).collect();
    for tick in &sent {
        let publisher = &broker.bus.publisher;
        publisher.publish_tick(tick.clone()).await.unwrap();
    }
    for feed in [&mut one, &mut two] {
        for tick in &sent {
            let received = patiently("tick", feed.next()).await.unwrap();
            assert_same(&received, tick);
            assert_eq!(received.exchange, EXCHANGE_TICK);
        }
        silent(feed).await;
    }
}

/// Every subscriber gets each control message, once, and can read it.
pub async fn every_subscriber_gets_each_control_once<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let (mut one, mut two) = (
        subscribe(&broker, Feed::Control).await,
        subscribe(&broker, Feed::Control).await,
    );
    for epoch in 0..5 {
        broadcast(&broker, epoch).await;
    }
    for feed in [&mut one, &mut two] {
        for epoch in 0..5 {
            assert_eq!(next_epoch(feed).await, epoch);
        }
        silent(feed).await;
    }
}

/// Ticks and control messages leave no trace in the log.
pub async fn feeds_do_not_touch_the_log<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut ticks = subscribe(&broker, Feed::Ticks).await;
    let mut control = subscribe(&broker, Feed::Control).await;
    let tick = tick(&broker, "half");
    broker.bus.publisher.publish_tick(tick).await.unwrap();
    broadcast(&broker, 1).await;
    patiently("tick", ticks.next()).await.unwrap();
    next_epoch(&mut control).await;
    let last = broker.submit("last").await;
    let mut tail = broker.read(crate::bus::LogStart::First).await;
    tail.until_id(&last).await;
    assert_eq!(tail.ids(), [last]);
}

/// A tick or control message that nobody listens for is no error.
pub async fn a_feed_without_subscribers_is_no_error<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    broker.submit("the connection is there").await;
    let tick = tick(&broker, "half");
    broker.bus.publisher.publish_tick(tick).await.unwrap();
    broadcast(&broker, 1).await;
}

/// A subscriber that does not read loses the oldest messages and slows nobody.
pub async fn a_slow_subscriber_loses_the_oldest<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut slow = subscribe(&broker, Feed::Control).await;
    let mut fast = subscribe(&broker, Feed::Control).await;
    // More than its queue holds (10,000).
    let total = 12_000_u32;
    let (seen, ()) = tokio::join!(read_until(&mut fast, total - 1), async {
        for epoch in 0..total {
            broadcast(&broker, epoch).await;
            // The fast one shares this thread.
            tokio::task::yield_now().await;
        }
    });
    assert_rising(&seen);
    let seen = read_until(&mut slow, total - 1).await;
    assert_rising(&seen);
    silent(&mut slow).await;
}

async fn subscribe(broker: &Broker, feed: Feed) -> Box<dyn FeedStream> {
    let name = unique("suite-");
    let stream = broker.bus.consumer.subscribe(feed, &name).await.unwrap();
    let queue = match feed {
        Feed::Ticks => Topology::tick_queue(&name),
        Feed::Control => Topology::control_queue(&name),
    };
    // From then on it is bound, and misses nothing.
    broker.wait_consumers(&queue.name, 1).await;
    stream
}

fn tick(broker: &Broker, body: &str) -> Message {
    Message {
        exchange: EXCHANGE_TICK.to_owned(),
        persistent: false,
        ..message(RoutingKey::tick(&broker.first, "progress"), body)
    }
}

async fn broadcast(broker: &Broker, epoch: u32) {
    let control = control(epoch);
    super::eventually("room for a control message", async || {
        let publisher = &broker.bus.publisher;
        match publisher.broadcast(control.clone()).await {
            Ok(()) => Some(()),
            Err(crate::bus::PublishError::Busy) => None,
            Err(error) => panic!("expected room or none: {error:?}"),
        }
    })
    .await;
}

fn control(epoch: u32) -> Control {
    let id = uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);
    Control::Cancel {
        job_id: crate::JobId::from_uuid(id),
        epoch,
        reason: Some("suite".to_owned()),
    }
}

async fn next_epoch(feed: &mut Box<dyn FeedStream>) -> u32 {
    let received = patiently("control message", feed.next()).await.unwrap();
    let got = Control::parse(&received.body).unwrap();
    let Control::Cancel { epoch, .. } = &got;
    assert_eq!(got, control(*epoch));
    assert!(received.timestamp.is_some_and(|t| t > from_unix_ms(0)));
    *epoch
}

async fn read_until(feed: &mut Box<dyn FeedStream>, last: u32) -> Vec<u32> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        seen.push(next_epoch(feed).await);
    }
    seen
}

#[track_caller]
fn assert_rising(seen: &[u32]) {
    assert!(seen.windows(2).all(|w| w[0] < w[1]), "not in order");
    let unique: BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len());
}

async fn silent(feed: &mut Box<dyn FeedStream>) {
    let silence = Duration::from_millis(300).min(patience());
    if let Ok(Some(received)) = tokio::time::timeout(silence, feed.next()).await {
        panic!("expected no message, got {received:?}");
    }
}
