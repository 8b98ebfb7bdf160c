use super::*;
use crate::{
    bus::{Feed, FeedStream},
    topology::EXCHANGE_TICK,
};

async fn tick(bus: &Bus, body: impl Into<String>) {
    let tick = Message {
        exchange: EXCHANGE_TICK.to_owned(),
        ..message("tick.vm.create.progress", body)
    };
    bus.publisher.publish_tick(tick).await.unwrap();
}

async fn bodies(feed: &mut Box<dyn FeedStream>) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Ok(Some(received)) = tokio::time::timeout(Duration::from_millis(1), feed.next()).await
    {
        bodies.push(String::from_utf8(received.body.to_vec()).unwrap());
    }
    bodies
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_keeps_the_newest() {
    let (_broker, bus) = broker(Limits::default()).await;
    let mut slow = bus.consumer.subscribe(Feed::Ticks, "slow").await.unwrap();
    for n in 0..50_010 {
        tick(&bus, n.to_string()).await;
    }
    let kept = bodies(&mut slow).await;
    assert_eq!(kept.len(), 50_000);
    assert_eq!(kept[0], "10");
    assert_eq!(kept[49_999], "50009");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_read_for_long_is_gone() {
    let (_broker, bus) = broker(Limits::default()).await;
    let mut feed = bus.consumer.subscribe(Feed::Ticks, "late").await.unwrap();
    tick(&bus, "old").await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    tick(&bus, "new").await;
    assert_eq!(bodies(&mut feed).await, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_goes_a_minute_after_its_subscriber() {
    let (_broker, bus) = broker(Limits::default()).await;
    let queue = Topology::tick_queue("brief").name;
    let feed = bus.consumer.subscribe(Feed::Ticks, "brief").await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(bus.admin.inspect(&queue).await.unwrap().is_some());
    drop(feed);
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(bus.admin.inspect(&queue).await.unwrap().is_some());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(bus.admin.inspect(&queue).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_feed_waits_for_its_exchange_and_outlives_its_queue() {
    let broker = InMemoryBus::new(Arc::new(TokioClock::new()), Limits::default());
    let bus = broker.bus();
    let mut feed = bus.consumer.subscribe(Feed::Ticks, "early").await.unwrap();
    let listener = tokio::spawn(async move {
        let first = feed.next().await.unwrap();
        (feed, first)
    });
    tokio::task::yield_now().await;
    bus.admin.declare(&Topology::new([])).await.unwrap();
    // The feed declares its queue when it runs.
    tokio::time::sleep(Duration::from_millis(1)).await;
    tick(&bus, "first").await;
    let (mut feed, first) = patiently("tick", listener).await.unwrap();
    assert_eq!(first.body, "first");
    let queue = Topology::tick_queue("early").name;
    bus.admin.delete_queue(&queue).await.unwrap();
    assert!(bodies(&mut feed).await.is_empty());
    tick(&bus, "second").await;
    assert_eq!(bodies(&mut feed).await, ["second"]);
}
