use super::*;
use crate::bus::HeaderValue;

#[tokio::test(start_paused = true)]
async fn consumers_take_turns() {
    let (_broker, bus) = broker(Limits::default()).await;
    bus.admin.declare_queue(&queue("work")).await.unwrap();
    let mut one = bus.consumer.consume("work", 10).await.unwrap();
    let mut two = bus.consumer.consume("work", 10).await.unwrap();
    for n in 0..6 {
        publish(&bus, "work", n.to_string()).await.unwrap();
    }
    for n in [0, 2, 4] {
        assert_eq!(next(&mut one).await.message.body, n.to_string());
        assert_eq!(next(&mut two).await.message.body, (n + 1).to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_consumer_loses_its_turn_until_it_settles() {
    let (_broker, bus) = broker(Limits::default()).await;
    bus.admin.declare_queue(&queue("work")).await.unwrap();
    let mut small = bus.consumer.consume("work", 1).await.unwrap();
    let mut large = bus.consumer.consume("work", 10).await.unwrap();
    for n in 0..4 {
        publish(&bus, "work", n.to_string()).await.unwrap();
    }
    let held = next(&mut small).await;
    assert_eq!(held.message.body, "0");
    let mut in_hand = Vec::new();
    for n in 1..4 {
        let delivery = next(&mut large).await;
        assert_eq!(delivery.message.body, n.to_string());
        in_hand.push(delivery);
    }
    held.ack().await.unwrap();
    publish(&bus, "work", "4").await.unwrap();
    publish(&bus, "work", "5").await.unwrap();
    let more = [next(&mut small).await, next(&mut large).await];
    let mut bodies: Vec<_> = more.iter().map(|d| d.message.body.clone()).collect();
    bodies.sort();
    assert_eq!(bodies, ["4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn messages_given_back_in_any_order_keep_their_places() {
    let (_broker, bus) = broker(Limits::default()).await;
    bus.admin.declare_queue(&queue("work")).await.unwrap();
    for n in 0..5 {
        publish(&bus, "work", n.to_string()).await.unwrap();
    }
    let mut deliveries = bus.consumer.consume("work", 3).await.unwrap();
    let mut in_hand = Vec::new();
    for _ in 0..3 {
        in_hand.push(next(&mut deliveries).await);
    }
    deliveries.stop().await;
    in_hand.rotate_left(1);
    for delivery in in_hand {
        delivery.requeue().await.unwrap();
    }
    assert_eq!(drain(&bus, "work").await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn prefetch_zero_is_a_large_number() {
    let (_broker, bus) = broker(Limits::default()).await;
    bus.admin.declare_queue(&queue("work")).await.unwrap();
    for n in 0..1000 {
        publish(&bus, "work", n.to_string()).await.unwrap();
    }
    let _deliveries = bus.consumer.consume("work", 0).await.unwrap();
    assert_eq!(ready(&bus, "work").await, 0);
}

#[tokio::test(start_paused = true)]
async fn headers_of_the_broker_are_not_taken_from_publishers() {
    let (_broker, bus) = broker(Limits::default()).await;
    bus.admin.declare_queue(&queue("work")).await.unwrap();
    let mut forged = message("work", "forged");
    forged.headers = BTreeMap::from([
        ("x-death".to_owned(), HeaderValue::Int(1)),
        ("kept".to_owned(), HeaderValue::Int(2)),
    ]);
    bus.publisher.publish(forged).await.unwrap();
    let mut deliveries = bus.consumer.consume("work", 1).await.unwrap();
    let received = next(&mut deliveries).await.message.headers.clone();
    assert_eq!(received.into_keys().collect::<Vec<_>>(), ["kept"]);
}

#[tokio::test(start_paused = true)]
async fn a_reused_place_is_not_settled_by_an_old_delivery() {
    let (broker, bus) = broker(Limits::default()).await;
    bus.admin.declare_queue(&queue("work")).await.unwrap();
    publish(&bus, "work", "once").await.unwrap();
    let mut deliveries = bus.consumer.consume("work", 1).await.unwrap();
    let old = next(&mut deliveries).await;
    broker.break_connections();
    let new = next(&mut deliveries).await;
    assert!(old.ack().await.is_err());
    assert!(!new.lost.is_cancelled());
    new.ack().await.unwrap();
    assert_eq!(ready(&bus, "work").await, 0);
}
