use std::time::Duration;

use super::*;
use crate::topology::{EXCHANGE_DLX, Overflow};

/// A queue that gives everything to `jobs.dlx` after a second, and keeps what is refused there.
fn source() -> QueueSpec {
    QueueSpec {
        message_ttl: Some(Duration::from_secs(1)),
        dead_letter_exchange: Some(EXCHANGE_DLX.to_owned()),
        dead_letter_at_least_once: true,
        overflow: Some(Overflow::RejectPublish),
        ..queue("source")
    }
}

/// A queue of at most two messages that takes dead letters of `source`.
fn small() -> QueueSpec {
    QueueSpec {
        max_length: Some(2),
        overflow: Some(Overflow::RejectPublish),
        bindings: vec![bound(EXCHANGE_DLX, "source")],
        ..queue("small")
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_dead_letter_waits_for_room() {
    let (_broker, bus) = broker(Limits::default()).await;
    for spec in [source(), small()] {
        bus.admin.declare_queue(&spec).await.unwrap();
    }
    let bodies: Vec<_> = (0..100).map(|n| format!("{n:03}")).collect();
    for body in &bodies {
        publish(&bus, "source", body).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ready(&bus, "small").await, 2);
    // The other queue of the dead has each once, however often the rest was tried.
    assert_eq!(ready(&bus, QUEUE_DEAD).await, 100);
    let mut got = drain(&bus, "small").await;
    got.sort();
    assert_eq!(got, bodies);
    assert_eq!(ready(&bus, QUEUE_DEAD).await, 100);
}

#[tokio::test(start_paused = true)]
async fn more_refused_letters_than_one_round_offers_hold_up_no_other() {
    let (_broker, bus) = broker(Limits::default()).await;
    let tier = QueueSpec {
        bindings: vec![bound(EXCHANGE_JOBS, "#")],
        ..source()
    };
    let other = QueueSpec {
        bindings: vec![bound(EXCHANGE_DLX, "other")],
        ..queue("other")
    };
    for spec in [tier, small(), other] {
        bus.admin.declare_queue(&spec).await.unwrap();
    }
    for n in 0..200 {
        publish(&bus, "source", n.to_string()).await.unwrap();
    }
    publish(&bus, "other", "passes").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(ready(&bus, "other").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_nothing_is_bound_for_waits_for_a_binding() {
    let (_broker, bus) = broker(Limits::default()).await;
    let lonely = QueueSpec {
        dead_letter_exchange: Some("jobs.tick".to_owned()),
        ..source()
    };
    bus.admin.declare_queue(&lonely).await.unwrap();
    publish(&bus, "source", "patient").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let late = QueueSpec {
        bindings: vec![bound("jobs.tick", "#")],
        ..queue("late")
    };
    bus.admin.declare_queue(&late).await.unwrap();
    assert_eq!(drain(&bus, "late").await, ["patient"]);
}

#[tokio::test(start_paused = true)]
async fn at_most_once_drops_what_is_refused() {
    let (_broker, bus) = broker(Limits::default()).await;
    let source = QueueSpec {
        dead_letter_at_least_once: false,
        ..source()
    };
    for spec in [source, small()] {
        bus.admin.declare_queue(&spec).await.unwrap();
    }
    for n in 0..5 {
        publish(&bus, "source", n.to_string()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(drain(&bus, "small").await, ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_head_is_dead_lettered_as_maxlen() {
    let (_broker, bus) = broker(Limits::default()).await;
    let short = QueueSpec {
        max_length: Some(2),
        overflow: Some(Overflow::DropHead),
        dead_letter_exchange: Some(EXCHANGE_DLX.to_owned()),
        ..queue("short")
    };
    bus.admin.declare_queue(&short).await.unwrap();
    for n in 0..3 {
        publish(&bus, "short", n.to_string()).await.unwrap();
    }
    assert_eq!(drain(&bus, "short").await, ["1", "2"]);
    let mut dead = bus.consumer.consume(QUEUE_DEAD, 1).await.unwrap();
    let letter = next(&mut dead).await;
    assert_eq!(letter.message.body, "0");
    let death = letter.message.death.clone().unwrap();
    assert_eq!((&*death.reason, &*death.queue), ("maxlen", "short"));
}

#[tokio::test(start_paused = true)]
async fn a_message_does_not_go_round_for_ever() {
    let (_broker, bus) = broker(Limits::default()).await;
    let mut specs = [source(), source()];
    specs[1].name = "back".to_owned();
    specs[0].bindings.push(bound("jobs.ready", "#"));
    specs[1].bindings = vec![bound(EXCHANGE_DLX, "#")];
    specs[1].dead_letter_exchange = Some("jobs.ready".to_owned());
    for spec in &specs {
        bus.admin.declare_queue(spec).await.unwrap();
    }
    publish(&bus, "source", "round").await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ready(&bus, "source").await, 0);
    assert_eq!(ready(&bus, "back").await, 0);
    assert_eq!(ready(&bus, QUEUE_DEAD).await, 1);
}

#[tokio::test(start_paused = true)]
async fn many_messages_may_expire_at_once() {
    let (_broker, bus) = broker(Limits::default()).await;
    bus.admin.declare_queue(&source()).await.unwrap();
    for n in 0..5000 {
        publish(&bus, "source", n.to_string()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(ready(&bus, "source").await, 0);
    assert_eq!(ready(&bus, QUEUE_DEAD).await, 5000);
}
