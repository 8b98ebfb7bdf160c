//! Traps of the client library and faults of the broker, each seen once and not to be met again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "rabbitmq_support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use support::{MAIN, Node, VICTIM, Vhost, services, threads};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::{Mutex, MutexGuard},
};
use url::Url;
use vmctl_backends::rabbitmq::{Config, RabbitMq, SecretUrl};
use vmctl_core::{
    bus::{Bus, BusState, Deliveries, Delivery, Feed, LogStart, Message, PublishError, RoutingKey},
    clock::from_unix_ms,
    testing::bus::{eventually, patiently},
    topology::{EXCHANGE_JOBS, QueueSpec, Topology, work_queue},
};

/// A broker of its own with the topology of one kind.
struct Fixture {
    rabbitmq: RabbitMq,
    bus: Bus,
    vhost: Vhost,
    work: QueueSpec,
}

const KIND: &str = "trap.first";
const NOWHERE: &str = "job.trap.nowhere";

impl Fixture {
    async fn new(node: Node, case: &str) -> Option<Self> {
        Self::with(node, case, |_, _| {}).await
    }

    async fn with(
        node: Node,
        case: &str,
        change: impl FnOnce(&mut Config, &mut QueueSpec),
    ) -> Option<Self> {
        let vhost = Vhost::create(node, case).await?;
        let kind = KIND.parse().unwrap();
        let mut topology = Topology::new([&kind]);
        let name = work_queue(&kind);
        let work = topology.queues.iter_mut().find(|q| q.name == name).unwrap();
        let mut config = config([&vhost.url]);
        change(&mut config, work);
        let work = work.clone();
        let rabbitmq = RabbitMq::connect_lazy(config);
        let bus = rabbitmq.bus();
        eventually("declared topology", async || {
            bus.admin.declare(&topology).await.ok()
        })
        .await;
        eventually("connection to publish", async || {
            (bus.publisher.state() == BusState::Up).then_some(())
        })
        .await;
        Some(Self {
            rabbitmq,
            bus,
            vhost,
            work,
        })
    }

    async fn publish(&self, body: &str) -> Result<(), PublishError> {
        self.bus.publisher.publish(message(KIND, body)).await
    }

    async fn consume(&self) -> Box<dyn Deliveries> {
        let consumer = &self.bus.consumer;
        consumer.consume(&self.work.name, 10).await.unwrap()
    }

    async fn end(self) {
        self.rabbitmq.shutdown().await;
        self.vhost.delete().await;
    }
}

fn config<'a>(urls: impl IntoIterator<Item = &'a Url>) -> Config {
    Config::new(urls.into_iter().map(secret).collect())
}

fn secret(url: &Url) -> SecretUrl {
    url.as_str().parse().unwrap()
}

fn message(kind: &str, body: &str) -> Message {
    let routing_key: RoutingKey = format!("job.{}", kind.trim_start_matches("job."))
        .parse()
        .unwrap();
    Message {
        exchange: EXCHANGE_JOBS.to_owned(),
        routing_key,
        content_type: "text/plain".to_owned(),
        message_id: body.to_owned(),
        correlation_id: String::new(),
        message_type: "trap.v1".to_owned(),
        timestamp: from_unix_ms(1_795_000_000_000),
        persistent: true,
        headers: BTreeMap::new(),
        body: body.to_owned().into_bytes().into(),
    }
}

async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    patiently("delivery", deliveries.next()).await.unwrap()
}

/// The second node is one: tests that break it take turns.
async fn victim() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// Accepts connections and keeps what they say, without a word besides the greeting.
struct Listener {
    url: Url,
    said: Arc<Mutex<Vec<u8>>>,
    accepted: Arc<AtomicUsize>,
}

impl Listener {
    async fn start(scheme: &str) -> Self {
        Self::greeting(scheme, b"").await
    }

    async fn greeting(scheme: &str, greeting: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (said, accepted) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicUsize::new(0)),
        );
        let (heard, count) = (said.clone(), accepted.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let heard = heard.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    stream.write_all(greeting).await.unwrap();
                    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                        heard.lock().await.extend_from_slice(&buffer[..n]);
                    }
                });
            }
        });
        Self {
            url: format!("{scheme}://joe:canary@{address}/%2f")
                .parse()
                .unwrap(),
            said,
            accepted,
        }
    }
}

/// An `amqps` address never gets the protocol header or a credential in clear.
#[tokio::test]
async fn l1_a_plain_listener_never_sees_amqp_from_an_amqps_url() {
    let listener = Listener::start("amqps").await;
    let mut config = config([&listener.url]);
    config.probe_timeout = Duration::from_millis(200);
    let rabbitmq = RabbitMq::connect_lazy(config);
    eventually("several attempts", async || {
        (listener.accepted.load(Ordering::SeqCst) >= 4).then_some(())
    })
    .await;
    let state = rabbitmq.bus().publisher.state();
    rabbitmq.shutdown().await;
    let said = listener.said.lock().await;
    // 22 is a TLS handshake record (RFC 8446, section 5.1).
    assert_eq!(said.first(), Some(&22));
    for secret in [&b"AMQP"[..], b"canary", b"joe"] {
        assert!(!said.windows(secret.len()).any(|window| window == secret));
    }
    assert!(!format!("{state:?}").contains("canary"), "{state:?}");
}

/// A command without work queue is confirmed, because the log takes it: only a look at the topology
/// tells.
#[tokio::test]
async fn l3_a_command_without_queue_is_confirmed_and_a_passive_check_tells() {
    let Some(fixture) = Fixture::new(MAIN, "l3").await else {
        return;
    };
    let publisher = &fixture.bus.publisher;
    publisher.publish(message(NOWHERE, "lost")).await.unwrap();
    let missing = fixture.bus.admin.inspect("work.trap.nowhere").await;
    assert_eq!(missing.unwrap(), None);
    // What cannot be accepted at all is not confirmed: there is no such exchange.
    let mut nowhere = message(KIND, "nowhere");
    nowhere.exchange = "no.such.exchange".to_owned();
    let outcome = publisher.publish(nowhere).await;
    assert!(
        matches!(outcome, Err(PublishError::Returned(_))),
        "{outcome:?}"
    );
    fixture.end().await;
}

/// Many tasks publish at once, half of them to a queue that is full: everybody gets the answer to
/// its own message.
#[tokio::test]
async fn l5_every_task_gets_its_own_result() {
    let full = |_: &mut Config, queue: &mut QueueSpec| queue.max_length = Some(1);
    let Some(fixture) = Fixture::with(MAIN, "l5", full).await else {
        return;
    };
    while fixture.publish("filler").await.is_ok() {}
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let publisher = fixture.bus.publisher.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    let (body, refused) = (format!("{task}-{n}"), (task + n) % 2 == 0);
                    let kind = if refused { KIND } else { NOWHERE };
                    let outcome = publisher.publish(message(kind, &body)).await;
                    match outcome {
                        Err(PublishError::Nacked) if refused => {}
                        Ok(()) if !refused => {}
                        other => panic!("{body}: {other:?}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        patiently("results", task).await.unwrap();
    }
    fixture.end().await;
}

/// More publishes than may wait are refused at once, and nothing of them is sent.
#[tokio::test]
async fn a_crowd_is_told_that_the_bus_is_busy() {
    let one = |config: &mut Config, _: &mut QueueSpec| config.channels = 1;
    let Some(fixture) = Fixture::with(MAIN, "busy", one).await else {
        return;
    };
    let outcomes = futures::future::join_all((0..20).map(|n| {
        let publisher = fixture.bus.publisher.clone();
        async move { publisher.publish(message(NOWHERE, &n.to_string())).await }
    }))
    .await;
    let busy = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(PublishError::Busy)))
        .count();
    // One has the channel and four wait.
    assert_eq!(busy, 15);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
    fixture.end().await;
}

/// A caller that leaves half-way leaves no half-used channel, and its message is published.
#[tokio::test]
async fn a_dropped_publish_runs_to_its_end() {
    let one = |config: &mut Config, _: &mut QueueSpec| config.channels = 1;
    let Some(fixture) = Fixture::with(MAIN, "dropped", one).await else {
        return;
    };
    for n in 0..20 {
        let body = format!("dropped {n}");
        let mut publish = Box::pin(fixture.publish(&body));
        assert!(futures::poll!(&mut publish).is_pending());
        drop(publish);
        // The one channel is free again for this.
        eventually("room", async || fixture.publish("kept").await.ok()).await;
    }
    eventually("all messages", async || {
        let stats = fixture.bus.admin.inspect(&fixture.work.name).await;
        (stats.unwrap().unwrap().ready == 40).then_some(())
    })
    .await;
    fixture.end().await;
}

/// A peer that accepts and says nothing costs a bounded wait, and no thread.
#[tokio::test]
async fn l7_l8_a_silent_peer_costs_a_bounded_wait_and_no_thread() {
    let listener = Listener::start("amqp").await;
    let mut config = config([&listener.url]);
    config.probe_timeout = Duration::from_millis(50);
    config.backoff_max = Duration::from_millis(50);
    config.backoff_min = Duration::from_millis(10);
    let before = threads();
    let rabbitmq = RabbitMq::connect_lazy(config);
    let publisher = rabbitmq.bus().publisher;
    eventually("state down", async || {
        matches!(publisher.state(), BusState::Down(_)).then_some(())
    })
    .await;
    eventually("twenty attempts", async || {
        (listener.accepted.load(Ordering::SeqCst) >= 20).then_some(())
    })
    .await;
    let start = Instant::now();
    let outcome = publisher.publish(message(KIND, "unheard")).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(
        matches!(outcome, Err(PublishError::Unavailable(_))),
        "{outcome:?}"
    );
    let after = threads();
    // Other tests of this process have a connection, too: a thread each.
    assert!(after < before + 12, "{before} threads, then {after}");
    rabbitmq.shutdown().await;
    // Not even the protocol's beginning was followed by a credential.
    let said = listener.said.lock().await;
    assert!(said.starts_with(b"AMQP\x00\x00\x09\x01"));
    assert!(!said.windows(6).any(|window| window == b"canary"));
}

/// A peer that begins the handshake and then hangs: the library waits for it on a thread of its own,
/// which ends with the attempt.
#[tokio::test]
async fn l8_twenty_abandoned_handshakes_leave_no_thread() {
    // connection.start (AMQP 0-9-1, section 1.4.2.1): version 0-9, no properties, PLAIN, en_US.
    const START: &[u8] = b"\x01\x00\x00\x00\x00\x00\x1c\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x00\
        \x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US\xce";
    let listener = Listener::greeting("amqp", START).await;
    let mut config = config([&listener.url]);
    config.connect_timeout = Duration::from_millis(50);
    config.backoff_max = Duration::from_millis(50);
    config.backoff_min = Duration::from_millis(10);
    let before = threads();
    let rabbitmq = RabbitMq::connect_lazy(config);
    // Two connections, each with a probe before each attempt.
    eventually("twenty attempts of each connection", async || {
        (listener.accepted.load(Ordering::SeqCst) >= 80).then_some(())
    })
    .await;
    let state = rabbitmq.bus().publisher.state();
    assert!(
        matches!(&state, BusState::Down(reason) if reason.contains("did not end")),
        "{state:?}"
    );
    let during = threads();
    // Two attempts are under way, and other tests of this process have a connection or two.
    assert!(during < before + 12, "{before} threads, then {during}");
    rabbitmq.shutdown().await;
}

/// Shutting down takes no longer than it must, though the ports are still held.
#[tokio::test]
async fn a_shutdown_ends_streams_and_calls_and_is_quick() {
    let Some(fixture) = Fixture::new(MAIN, "shutdown").await else {
        return;
    };
    let mut deliveries = fixture.consume().await;
    let consumer = &fixture.bus.consumer;
    let mut feed = consumer.subscribe(Feed::Ticks, "shutdown").await.unwrap();
    fixture.publish("last").await.unwrap();
    let in_hand = next(&mut deliveries).await;
    let start = Instant::now();
    fixture.rabbitmq.shutdown().await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    patiently("loss", in_hand.lost.cancelled()).await;
    assert!(patiently("end", deliveries.next()).await.is_none());
    assert!(patiently("end", feed.next()).await.is_none());
    let publisher = &fixture.bus.publisher;
    let outcome = publisher.publish(message(KIND, "late")).await;
    assert!(
        matches!(outcome, Err(PublishError::Unavailable(_))),
        "{outcome:?}"
    );
    assert!(fixture.bus.admin.inspect("none").await.is_err());
    fixture.vhost.delete().await;
}

/// A disk alarm: publishes are refused at once with the reason, consumers go on, and all heals by
/// itself.
#[tokio::test]
async fn l9_a_disk_alarm_is_told_at_once_and_heals() {
    let _turn = victim().await;
    let Some(fixture) = Fixture::new(VICTIM, "l9").await else {
        return;
    };
    fixture.publish("before").await.unwrap();
    let limit = async |limit: &str| {
        let command = ["rabbitmqctl", "--on", VICTIM.service, "set_disk_free_limit"];
        services(&[&command[..], &[limit]].concat()).await
    };
    if limit("900000GB").await.is_none() {
        return;
    }
    // The broker tells a connection when that publishes; the messenger's own fate is unknown.
    eventually("blocked state", async || {
        let _ = fixture.publish("messenger").await;
        matches!(fixture.bus.publisher.state(), BusState::Blocked(_)).then_some(())
    })
    .await;
    let start = Instant::now();
    let outcome = fixture.publish("blocked").await;
    let took = start.elapsed();
    assert!(
        matches!(&outcome, Err(PublishError::Blocked(reason)) if reason.contains("disk")),
        "{outcome:?}"
    );
    assert!(took < Duration::from_secs(1), "{took:?}");
    let mut deliveries = fixture.consume().await;
    next(&mut deliveries).await.ack().await.unwrap();
    limit("50MB").await.unwrap();
    eventually("publish after the alarm", async || {
        fixture.publish("after").await.ok()
    })
    .await;
    fixture.end().await;
}

/// The broker cancels a consumer whose queue is deleted: it comes back with the queue.
#[tokio::test]
async fn l10_a_consumer_comes_back_with_its_queue() {
    let Some(fixture) = Fixture::new(MAIN, "l10").await else {
        return;
    };
    fixture.publish("first").await.unwrap();
    let mut deliveries = fixture.consume().await;
    let in_hand = next(&mut deliveries).await;
    let admin = &fixture.bus.admin;
    admin.delete_queue(&fixture.work.name).await.unwrap();
    patiently("loss", in_hand.lost.cancelled()).await;
    assert!(in_hand.ack().await.is_err());
    admin.declare_queue(&fixture.work).await.unwrap();
    fixture.publish("second").await.unwrap();
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.message.body, "second");
    delivery.ack().await.unwrap();
    fixture.end().await;
}

/// Connections closed by an operator: what is in hand is told that it is lost, and settling it is
/// an error, though a new connection uses the same delivery tags.
#[tokio::test]
async fn l12_a_closed_connection_loses_what_is_in_hand() {
    let Some(fixture) = Fixture::new(MAIN, "l12").await else {
        return;
    };
    fixture.publish("kept").await.unwrap();
    let mut deliveries = fixture.consume().await;
    let in_hand = next(&mut deliveries).await;
    let close = ["rabbitmqctl", "close_all_connections", "--vhost"];
    let vhost = [fixture.vhost.name.as_str(), "a test"];
    if services(&[&close[..], &vhost].concat()).await.is_none() {
        return;
    }
    patiently("loss", in_hand.lost.cancelled()).await;
    let again = next(&mut deliveries).await;
    assert!(again.message.redelivered && !again.lost.is_cancelled());
    assert!(in_hand.ack().await.is_err());
    // The old ack did not reach the new channel.
    again.requeue().await.unwrap();
    let again = next(&mut deliveries).await;
    assert_eq!(again.message.body, "kept");
    again.ack().await.unwrap();
    eventually("publish again", async || {
        fixture.publish("after").await.ok()
    })
    .await;
    fixture.end().await;
}

/// A node that is restarted: the same, and the stream goes on where the broker kept its messages.
#[tokio::test]
async fn l12_a_restarted_broker_redelivers() {
    let _turn = victim().await;
    let Some(fixture) = Fixture::new(VICTIM, "l12-restart").await else {
        return;
    };
    fixture.publish("kept").await.unwrap();
    let mut deliveries = fixture.consume().await;
    let in_hand = next(&mut deliveries).await;
    if services(&["stop", VICTIM.service]).await.is_none() {
        return;
    }
    patiently("loss", in_hand.lost.cancelled()).await;
    assert!(in_hand.reject().await.is_err());
    eventually("state down", async || {
        matches!(fixture.bus.publisher.state(), BusState::Down(_)).then_some(())
    })
    .await;
    services(&["start", VICTIM.service]).await.unwrap();
    let again = tokio::time::timeout(Duration::from_secs(60), deliveries.next()).await;
    let again = again.unwrap().unwrap();
    assert_eq!(again.message.body, "kept");
    assert!(again.message.redelivered);
    again.ack().await.unwrap();
    fixture.end().await;
}

/// A reader takes a long log in order and misses nothing, with one ack for a hundred entries.
#[tokio::test]
async fn a_long_log_is_read_in_order() {
    const ENTRIES: usize = 20_000;
    let Some(fixture) = Fixture::new(MAIN, "long").await else {
        return;
    };
    let publishers = (0..100).map(|publisher| {
        let bus = &fixture.bus;
        async move {
            for n in 0..ENTRIES / 100 {
                let body = format!("{publisher}-{n}");
                bus.publisher
                    .publish(message(NOWHERE, &body))
                    .await
                    .unwrap();
            }
        }
    });
    let start = Instant::now();
    futures::future::join_all(publishers).await;
    let took = start.elapsed();
    eprintln!("published {ENTRIES} with confirms in {took:?}");
    let start = Instant::now();
    let mut reader = fixture.bus.log.read(LogStart::First).await.unwrap();
    let mut last = None;
    let mut count = 0;
    let mut next = vec![0; 100];
    while count < ENTRIES {
        let batch = patiently("entries", reader.next_batch(500)).await.unwrap();
        assert!(batch.len() <= 500);
        for entry in batch {
            assert!(last < Some(entry.offset), "{last:?}, then {}", entry.offset);
            last = Some(entry.offset);
            count += 1;
            // Each publisher waits for its confirm, so its messages are in its order.
            let body = String::from_utf8(entry.message.body.to_vec()).unwrap();
            let (publisher, n) = body.split_once('-').unwrap();
            let publisher: usize = publisher.parse().unwrap();
            assert_eq!(n.parse(), Ok(next[publisher]));
            next[publisher] += 1;
        }
    }
    let took = start.elapsed();
    eprintln!("read {ENTRIES} in {took:?}");
    fixture.end().await;
}

/// A node that hangs: a publish answers within its deadline, and the next address is used.
#[tokio::test]
async fn l13_a_frozen_node_is_left_for_the_next_address() {
    let _turn = victim().await;
    let Some(other) = Fixture::new(MAIN, "l13-other").await else {
        return;
    };
    let other_url = secret(&other.vhost.url);
    let two = |config: &mut Config, _: &mut QueueSpec| {
        config.urls.push(other_url);
        config.confirm_timeout = Duration::from_secs(2);
        config.probe_timeout = Duration::from_secs(1);
    };
    let Some(fixture) = Fixture::with(VICTIM, "l13", two).await else {
        return;
    };
    fixture.publish("before").await.unwrap();
    let mut deliveries = fixture.consume().await;
    let in_hand = next(&mut deliveries).await;
    let before = threads();
    if services(&["freeze", VICTIM.service]).await.is_none() {
        return;
    }
    let thaw = Thaw;
    let start = Instant::now();
    let outcome = fixture.publish("unknown").await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(outcome.unwrap_err().outcome_unknown());
    eventually("publish at the other node", async || {
        fixture.publish("after").await.ok()
    })
    .await;
    let stats = other.bus.admin.inspect(&other.work.name).await;
    assert_eq!(stats.unwrap().unwrap().ready, 1);
    // The consumer's side learns it from the heartbeats that do not come.
    let lost = tokio::time::timeout(Duration::from_secs(40), in_hand.lost.cancelled()).await;
    lost.unwrap();
    let moved = next(&mut deliveries).await;
    assert_eq!(moved.message.body, "after");
    moved.ack().await.unwrap();
    eventually("end of the old connection's threads", async || {
        (threads() <= before + 2).then_some(())
    })
    .await;
    fixture.rabbitmq.shutdown().await;
    drop(thaw);
    eventually("thawed node", async || {
        let url = std::env::var("VMCTL_TEST_VICTIM_AMQP_URL").ok()?;
        let rabbitmq = RabbitMq::connect_lazy(Config::new(vec![url.parse().ok()?]));
        let answer = rabbitmq.bus().admin.inspect("none").await.ok();
        rabbitmq.shutdown().await;
        answer.map(drop)
    })
    .await;
    fixture.vhost.delete().await;
    other.end().await;
}

/// Thaws the second node, also when a test fails.
struct Thaw;

impl Drop for Thaw {
    fn drop(&mut self) {
        if let Some(script) = support::required("VMCTL_TEST_SERVICES") {
            let _ = std::process::Command::new(script)
                .args(["thaw", VICTIM.service])
                .status();
        }
    }
}
