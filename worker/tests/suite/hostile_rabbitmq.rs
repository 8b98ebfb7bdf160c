//! What strangers publish on a real RabbitMQ, with any body, properties and headers, to every exchange and
//! straight into every queue: it changes nothing, ends where it should, and stops nobody. Says so and does
//! nothing when there is no RabbitMQ.
use std::{sync::Arc, time::Duration};

use crate::support::{Script, World};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vmctl_backends::rabbitmq::{self, RabbitMq};
use vmctl_core::{
    JobId, JobState,
    clock::{self, SystemClock, from_unix_ms},
    event::{Event, EventType},
    memory::store::InMemoryJobStore,
    partition::Partition,
    store::JobStore as _,
    testing::bus::eventually,
};
use vmctl_daemon::testing::{Vhost, services};
use vmctl_reader::Reader;
use vmctl_worker::Outcome;

/// In the year 2999.
const FAR: i64 = 32_472_144_000_000;

/// Exchange and key: every way into every queue.
const WAYS: [(&str, &str); 20] = [
    ("jobs", "job.vm.create"),
    ("jobs", "job.vm.create.lane"),
    ("jobs", "event.vm.create.succeeded"),
    ("jobs", "event.vm.create.cancel_requested"),
    ("jobs", "dead.vm.create"),
    ("jobs", "delay.1s.job.vm.create"),
    ("jobs", "mark.s1"),
    ("jobs", "reader"),
    ("jobs", "audit.jobs.create"),
    ("jobs", "#"),
    ("jobs.ready", "delay.1s.job.vm.create"),
    ("jobs.dlx", "job.vm.create"),
    ("jobs.tick", "tick.vm.create.progress"),
    ("jobs.tick", "tick.vm.create.log"),
    ("jobs.control", "control"),
    ("amq.default", "work.vm.create"),
    ("amq.default", "jobs.log"),
    ("amq.default", "jobs.effects"),
    ("amq.default", "jobs.reports"),
    ("amq.default", "jobs.dead"),
];

/// Bodies that are no message of ours, with what only bytes can say in base64.
fn bodies() -> Vec<Value> {
    let text = |text: &str| json!({"payload": text, "payload_encoding": "string"});
    let bytes = |bytes: &[u8]| json!({"payload": BASE64_STANDARD.encode(bytes), "payload_encoding": "base64"});
    vec![
        text(""),
        text("not JSON"),
        text("[[[["),
        text(r#"{"specversion":"1.0","type":"jobs.submitted.v2"}"#),
        text(r#"{"type":"cancel","job_id":1}"#),
        bytes(&[0xff, 0xfe, 0, 0x80]),
        bytes(&vec![b'['; 1 << 20]),
    ]
}

/// Properties and headers as nobody of ours sets them.
fn properties() -> Vec<Value> {
    vec![
        json!({}),
        json!({
            "message_id": "no id", "correlation_id": "no job", "type": "jobs.mark.v1",
            "timestamp": 32_472_144_000_u64, "content_type": "", "priority": 9, "expiration": "86400000",
        }),
        json!({"headers": {
            "epoch": true, "attempt": 1.5, "seq": [1, "two"], "deadline": {"a": {"b": 1}}, "kind": false,
            "schema": i64::MIN, "project": "x".repeat(60_000), "traceparent": "\u{0}\n",
            "x-death": "none", "x-delivery-count": "many", "x-stream-offset": -1,
        }}),
    ]
}

fn publish(vhost: &Vhost, (exchange, key): (&str, &str), properties: &Value, body: &Value) {
    let mut message = body.clone();
    message["properties"] = properties.clone();
    message["routing_key"] = json!(key);
    vhost.publish(exchange, &message);
}

/// Well-formed messages about an honest job that no honest process says.
fn lies(world: &World, job: JobId) -> Vec<Event> {
    use EventType::{Cancelled, Deadline, Redriven, Submitted, Succeeded};
    let told = |event_type, state, change: &dyn Fn(&mut Event)| {
        let mut event = world.events(job).remove(0);
        event.id = clock::new_uuid(&*world.clock);
        event.event_type = event_type;
        event.data.state = state;
        change(&mut event);
        event
    };
    vec![
        told(Succeeded, JobState::Succeeded, &|e| {
            "evil".clone_into(&mut e.data.job.auth.project_id);
        }),
        told(Cancelled, JobState::Cancelled, &|e| {
            e.data.job.kind = "vm.delete".parse().unwrap();
        }),
        told(Deadline, JobState::Failed, &|e| e.time = from_unix_ms(FAR)),
        told(Succeeded, JobState::Succeeded, &|e| {
            e.time = from_unix_ms(0);
        }),
        told(Redriven, JobState::Queued, &|e| {
            e.data.epoch = 1;
            e.data.job.deadline = from_unix_ms(FAR);
        }),
        told(Submitted, JobState::Queued, &|e| {
            "evil".clone_into(&mut e.data.job.auth.project_id);
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_publish_changes_nothing_and_stops_nobody() {
    let case = tokio::time::timeout(Duration::from_secs(120), strangers()).await;
    assert!(case.is_ok(), "not within two minutes");
}

async fn strangers() {
    let names = ["VMCTL_TEST_AMQP_URL", "VMCTL_TEST_RABBITMQ_API"];
    let Some([amqp, api]) = services(names) else {
        return;
    };
    let vhost = Vhost::new(&api, "worker-hostile");
    let url = vhost.url(&amqp).parse().unwrap();
    let rabbitmq = RabbitMq::connect_lazy(rabbitmq::Config::new(vec![url]));
    let world = World::on(rabbitmq.bus(), Arc::new(SystemClock)).await;
    let view = InMemoryJobStore::new(world.clock.clone());
    let reader = Reader::new(
        vmctl_reader::Config::new("r1"),
        world.bus.clone(),
        Arc::new(view.clone()),
        world.clock.clone(),
        &world.registry,
    );
    let stop = CancellationToken::new();
    let reading = tokio::spawn(reader.run(stop.clone()));
    // Each job waits for its permit.
    let permits = Arc::new(Semaphore::new(1));
    let wanted = permits.clone();
    let handler = Script::new(move |_| {
        let wanted = wanted.clone();
        async move {
            wanted.acquire().await.unwrap().forget();
            Outcome::Done(json!("honest"))
        }
    });
    let _worker = world.start("w1", handler.clone());
    let record = async |job: JobId| view.get(job).await.unwrap().record;
    let is = async |job: JobId, state: JobState| {
        eventually("state of an honest job", async || {
            (record(job).await?.state()? == state).then_some(())
        })
        .await;
    };

    let ended = world.submit().await;
    is(ended, JobState::Succeeded).await;
    let as_it_was = record(ended).await;
    let runs = world.submit().await;
    is(runs, JobState::Running).await;

    // Every way takes every body, and every set of properties with some of them.
    let properties = properties();
    for (n, way) in WAYS.into_iter().enumerate() {
        for (body, properties) in bodies().iter().zip(properties.iter().cycle().skip(n % 3)) {
            publish(&vhost, way, properties, body);
        }
    }
    for job in [ended, runs] {
        for lie in lies(&world, job) {
            let body = json!({
                "payload": String::from_utf8(lie.to_body()).unwrap(), "payload_encoding": "string",
            });
            for key in ["event.vm.create.succeeded", "dead.vm.create"] {
                publish(&vhost, ("jobs", key), &json!({}), &body);
            }
        }
    }
    // What has passed a delay is in the work queue by now, and was refused there.
    let poison = u64::try_from(bodies().len()).unwrap();
    let ways = WAYS
        .iter()
        .filter(|(_, key)| key.contains("job.vm.create") || *key == "work.vm.create");
    let rejected = poison * u64::try_from(ways.count()).unwrap();
    let dead = || {
        let log = world.log();
        log.iter()
            .filter(|seen| seen.exchange == "jobs.dlx")
            .count()
    };
    let all = async || (u64::try_from(dead()).unwrap() >= rejected).then_some(());
    eventually("dead letters of all of it in the log", all).await;

    let after = world.submit().await;
    permits.add_permits(2);
    is(after, JobState::Succeeded).await;
    is(runs, JobState::Succeeded).await;
    assert_eq!(record(ended).await, as_it_was);
    assert_eq!(handler.runs(), 3, "a stranger's message was run");
    for job in [ended, runs, after] {
        let output = record(job).await.unwrap().winner.unwrap().body.output;
        assert_eq!(output, Some(json!("honest")));
    }
    let bad = view.bad(Partition::of(runs));
    let far = bad.iter().filter(|(_, reason)| reason.contains("future"));
    assert!(far.count() > 0, "{bad:?}");
    world.settled().await;
    for queue in [
        "work.vm.create",
        "jobs.effects",
        "jobs.reports",
        "jobs.delay.1s",
    ] {
        let empty = async || (world.ready(queue).await == 0).then_some(());
        eventually(queue, empty).await;
    }
    assert!(world.ready("jobs.dead").await >= rejected);
    assert!(!reading.is_finished(), "the reader has ended");
    stop.cancel();
    reading.await.unwrap().unwrap();
}
