//! Tests that need a broker and a look inside.

#[path = "../../tests/rabbitmq_support/mod.rs"]
mod support;

use std::{sync::Arc, time::Duration};

use lapin::options::BasicAckOptions;
use support::{MAIN, Vhost};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vmctl_core::{
    bus::{Consumer as _, Message, PublishError, Publisher as _, TopologyAdmin as _},
    clock::{Clock as _, SystemClock},
    event::Mark,
    testing::bus::{eventually, patiently},
    topology::Topology,
};

use super::{
    admin::AmqpAdmin,
    config::Config,
    consumer::AmqpConsumer,
    link::{Link, Role},
    publisher::{AmqpPublisher, Outgoing, send, verdict},
};

struct Parts {
    config: Arc<Config>,
    tasks: TaskTracker,
    stop: CancellationToken,
    vhost: Vhost,
}

impl Parts {
    async fn new(case: &str) -> Option<Self> {
        let vhost = Vhost::create(MAIN, case).await?;
        let url = vhost.url.as_str().parse().unwrap();
        Some(Self {
            config: Arc::new(Config::new(vec![url])),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            vhost,
        })
    }

    fn link(&self, role: Role) -> Link {
        Link::start(role, self.config.clone(), self.stop.clone(), &self.tasks)
    }

    async fn end(self) {
        self.stop.cancel();
        self.vhost.delete().await;
    }
}

fn mark() -> Message {
    let id = vmctl_core::clock::new_uuid(&SystemClock);
    let (server, time) = ("test".to_owned(), SystemClock.now());
    Mark { id, server, time }.to_message()
}

/// On a channel that was never asked to confirm, the library's answer is no confirm.
#[tokio::test]
async fn l2_a_channel_without_confirms_confirms_nothing() {
    let Some(parts) = Parts::new("l2").await else {
        return;
    };
    let link = parts.link(Role::Publish);
    let live = patiently("connection", link.live()).await.unwrap();
    let channel = live.channel(Duration::from_secs(5)).await.unwrap();
    let mut message = mark();
    message.exchange = "amq.topic".to_owned();
    let answer = send(&channel, Outgoing::try_from(message).unwrap()).await;
    let (outcome, reusable) = verdict(answer);
    assert!(
        matches!(outcome, Err(PublishError::Returned(_))),
        "{outcome:?}"
    );
    assert!(!reusable);
    parts.end().await;
}

/// The broker closes a channel, here for the ack of a delivery that it never made: the consumer is
/// rebuilt, what it had is lost and comes again.
#[tokio::test]
async fn l11_a_consumer_whose_channel_was_closed_is_rebuilt() {
    let Some(parts) = Parts::new("l11").await else {
        return;
    };
    let kind = "trap.first".parse().unwrap();
    let topology = Topology::new([&kind]);
    let link = parts.link(Role::Consume);
    let admin = AmqpAdmin::new(link.clone(), &parts.config);
    let consumer = AmqpConsumer::new(link, &parts.config, &parts.tasks);
    let publisher = AmqpPublisher::new(
        parts.link(Role::Publish),
        &parts.config,
        Arc::new(SystemClock),
        &parts.tasks,
    );
    eventually("declared topology", async || {
        admin.declare(&topology).await.ok()
    })
    .await;
    let mut message = mark();
    message.routing_key = vmctl_core::bus::RoutingKey::job(&kind);
    eventually("publish", async || {
        publisher.publish(message.clone()).await.ok()
    })
    .await;
    let mut deliveries = consumer.consume("work.trap.first", 10).await.unwrap();
    let in_hand = patiently("delivery", deliveries.next()).await.unwrap();

    let source = consumer.sources.lock().unwrap()[0].upgrade().unwrap();
    let unknown = source.channel().basic_ack(4711, BasicAckOptions::default());
    unknown.await.unwrap();
    drop(source);

    patiently("loss", in_hand.lost.cancelled()).await;
    assert!(in_hand.ack().await.is_err());
    let again = patiently("redelivery", deliveries.next()).await.unwrap();
    assert!(again.message.redelivered);
    again.ack().await.unwrap();
    parts.end().await;
}
