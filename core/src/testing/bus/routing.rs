//! Where a published message goes, and what a confirm means.

use super::{
    BusFixture,
    support::{Broker, assert_same, command, message, next, silent, unique},
};
use crate::{
    bus::{LogStart, PublishError},
    topology::{BindingSpec, EXCHANGE_JOBS, QUEUE_DEAD, QUEUE_LOG, QueueSpec, work_queue},
};

/// `*` takes one word, `#` any number.
pub async fn a_topic_routes_by_pattern<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let template = broker.topology.queue(QUEUE_DEAD).unwrap();
    let mut queues = Vec::new();
    for pattern in ["a.*.c", "a.#", "#.c", "a.b"] {
        let queue = QueueSpec {
            name: unique("pattern"),
            bindings: vec![BindingSpec {
                exchange: EXCHANGE_JOBS.to_owned(),
                key: pattern.to_owned(),
            }],
            ..template.clone()
        };
        broker.bus.admin.declare_queue(&queue).await.unwrap();
        queues.push(queue.name);
    }
    for key in ["a.b.c", "a.b", "a", "a.b.b.c", "c", "b.c.a"] {
        broker.publish(&message(key.parse().unwrap(), key)).await;
    }
    for (queue, expected) in queues.iter().zip([
        &["a.b.c"][..],
        &["a.b.c", "a.b", "a", "a.b.b.c"],
        &["a.b.c", "a.b.b.c", "c"],
        &["a.b"],
    ]) {
        let mut deliveries = broker.consume_queue(queue, 100).await;
        for key in expected {
            let delivery = next(&mut deliveries).await;
            assert_eq!(delivery.message.routing_key, *key, "in {queue}");
            delivery.ack().await.unwrap();
        }
        silent(&mut deliveries).await;
    }
}

/// A message with two bindings to one queue is in it once.
pub async fn two_bindings_make_one_copy<F: BusFixture>(fixture: &F) {
    let broker = Broker::with(fixture, |queue, kind| {
        queue.bindings.push(BindingSpec {
            exchange: EXCHANGE_JOBS.to_owned(),
            key: format!("job.{kind}"),
        });
    })
    .await;
    broker.submit("once").await;
    let mut deliveries = broker.consume(10).await;
    next(&mut deliveries).await.ack().await.unwrap();
    silent(&mut deliveries).await;
}

/// A command is delivered with every property that it was published with.
pub async fn a_command_arrives_as_it_was_published<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let sent = command(&broker.first, "body");
    broker.publish(&sent).await;
    let mut deliveries = broker.consume(1).await;
    let delivery = next(&mut deliveries).await;
    assert_same(&delivery.message, &sent);
    assert_eq!(delivery.message.exchange, EXCHANGE_JOBS);
    assert_eq!(delivery.message.death, None);
    assert!(!delivery.message.redelivered);
    assert_eq!(delivery.message.delivery_count, 0);
    delivery.ack().await.unwrap();
}

/// After the confirm the message is in the work queue and in the log.
pub async fn a_confirm_means_that_every_queue_has_it<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let mut tail = broker.read(LogStart::First).await;
    for n in 0..20 {
        let sent = command(&broker.first, &n.to_string());
        broker.publish(&sent).await;
        let stats = broker.bus.admin.inspect(&work_queue(&broker.first)).await;
        assert_eq!(stats.unwrap().unwrap().ready, n + 1);
        tail.until_id(&sent.message_id).await;
    }
}

/// Without a work queue a command is confirmed all the same, and only the log has it.
pub async fn a_command_without_queue_is_only_in_the_log<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let queue = work_queue(&broker.first);
    broker.bus.admin.delete_queue(&queue).await.unwrap();
    let id = broker.submit("lost").await;
    let entry = broker.find_in_log(&id).await;
    assert_eq!(entry.message.exchange, EXCHANGE_JOBS);
    let spec = broker.topology.queue(&queue).unwrap();
    broker.bus.admin.declare_queue(spec).await.unwrap();
    let mut deliveries = broker.consume(1).await;
    silent(&mut deliveries).await;
}

/// What no queue at all is bound for is not confirmed, and the publisher goes on.
pub async fn a_message_that_nothing_holds_is_not_confirmed<F: BusFixture>(fixture: &F) {
    let broker = Broker::new(fixture).await;
    let queue = work_queue(&broker.first);
    for gone in [&queue, QUEUE_LOG] {
        broker.bus.admin.delete_queue(gone).await.unwrap();
    }
    let message = command(&broker.first, "nowhere");
    for _ in 0..3 {
        let outcome = broker.try_publish(&message).await;
        assert!(
            matches!(outcome, Err(PublishError::Unroutable)),
            "{outcome:?}"
        );
        assert!(!PublishError::Unroutable.outcome_unknown());
        broker.publish(&command(&broker.second, "somewhere")).await;
    }
    broker.wait_ready(&work_queue(&broker.second), 3).await;
    let spec = broker.topology.queue(&queue).unwrap();
    broker.bus.admin.declare_queue(spec).await.unwrap();
    broker.publish(&message).await;
}

/// A full work queue refuses, and the log has the message all the same: the outcome is unknown.
pub async fn a_full_queue_nacks_what_the_log_has<F: BusFixture>(fixture: &F) {
    let broker = Broker::with(fixture, |queue, _| queue.max_length = Some(3)).await;
    let refused = broker.fill().await;
    assert!(PublishError::Nacked.outcome_unknown());
    broker.find_in_log(&refused).await;
    // The messages ahead of it stayed, it did not get in.
    let mut deliveries = broker.consume(100).await;
    let first = next(&mut deliveries).await;
    assert_eq!(first.message.body, "filler 0");
    assert!(broker.bus.admin.inspect(QUEUE_LOG).await.unwrap().is_some());
}

/// A full queue takes messages again when it has room.
pub async fn a_full_queue_opens_again<F: BusFixture>(fixture: &F) {
    let broker = Broker::with(fixture, |queue, _| queue.max_length = Some(3)).await;
    broker.fill().await;
    let mut deliveries = broker.consume(10).await;
    for _ in 0..3 {
        next(&mut deliveries).await.ack().await.unwrap();
    }
    let last = super::eventually("confirm after the queue was emptied", async || {
        let message = command(&broker.first, "last");
        let confirmed = broker.try_publish(&message).await.is_ok();
        confirmed.then_some(message.message_id)
    })
    .await;
    loop {
        let delivery = next(&mut deliveries).await;
        let found = super::support::id(&delivery) == last;
        delivery.ack().await.unwrap();
        if found {
            break;
        }
    }
}

/// One kind whose queue is full and one whose queue is missing hold up no other.
pub async fn a_full_and_a_missing_queue_hold_up_nobody<F: BusFixture>(fixture: &F) {
    let broker = Broker::with(fixture, |queue, _| queue.max_length = Some(1)).await;
    broker.fill().await;
    let missing = super::support::kind("missing");
    let others = 20;
    let (full, gone, good) = tokio::join!(
        async {
            for n in 0..others {
                let message = command(&broker.first, &n.to_string());
                let outcome = broker.try_publish(&message).await;
                assert!(matches!(outcome, Err(PublishError::Nacked)), "{outcome:?}");
            }
        },
        async {
            for n in 0..others {
                broker.publish(&command(&missing, &n.to_string())).await;
            }
        },
        async {
            for n in 0..others {
                broker
                    .publish(&command(&broker.second, &n.to_string()))
                    .await;
            }
        },
    );
    let ((), (), ()) = (full, gone, good);
    let queue = work_queue(&broker.second);
    let mut deliveries = broker.consume_queue(&queue, 10).await;
    for n in 0..others {
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.message.body, n.to_string());
        delivery.ack().await.unwrap();
    }
}
