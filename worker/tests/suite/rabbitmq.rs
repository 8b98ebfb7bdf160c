//! The main path on a real RabbitMQ. Says so and does nothing when there is none.
use std::{sync::Arc, time::Duration};

use crate::support::{World, kind, until, vm_input};
use serde_json::json;
use tempfile::TempDir;
use vmctl_backends::rabbitmq::{self, RabbitMq};
use vmctl_core::{Kind, clock::SystemClock, event::EventType};
use vmctl_daemon::testing::{Vhost, services};
use vmctl_worker::{
    Config, Handler,
    kinds::built_in,
    provisioner::{
        Provisioner,
        simulated::{Simulated, SimulatedConfig},
    },
};

/// A virtual host, a connection for the test itself, and a directory of machines.
struct Site {
    world: World,
    url: String,
    directory: TempDir,
    // After everything that is connected to it.
    _vhost: Vhost,
}

impl Site {
    async fn new(case: &str) -> Option<Self> {
        let names = ["VMCTL_TEST_AMQP_URL", "VMCTL_TEST_RABBITMQ_API"];
        let [amqp, api] = services(names)?;
        let vhost = Vhost::new(&api, case);
        let url = vhost.url(&amqp);
        let world = World::on(connect(&url).bus(), Arc::new(SystemClock)).await;
        Some(Self {
            world,
            url,
            directory: tempfile::tempdir().unwrap(),
            _vhost: vhost,
        })
    }

    fn handlers(&self, seconds: u64, fail: Option<&str>) -> Vec<(Kind, Arc<dyn Handler>)> {
        let config = SimulatedConfig {
            directory: self.directory.path().to_owned(),
            duration: Duration::from_secs(seconds),
            fail: fail.map(|rule| rule.parse().unwrap()),
        };
        let simulated = Simulated::open(config, self.world.clock.clone()).unwrap();
        let provisioner: Arc<dyn Provisioner> = Arc::new(simulated);
        built_in(&provisioner, &self.world.registry)
    }

    fn effects(&self) -> usize {
        let log = std::fs::read_to_string(self.directory.path().join("effects.jsonl")).unwrap();
        log.matches(r#""what":"effect""#).count()
    }
}

/// Bounds a test: the waits of the support suit a paused clock.
async fn in_time(case: impl Future<Output = ()>) {
    let ended = tokio::time::timeout(Duration::from_secs(60), case).await;
    assert!(ended.is_ok(), "not within a minute");
}

fn connect(url: &str) -> RabbitMq {
    RabbitMq::connect_lazy(rabbitmq::Config::new(vec![url.parse().unwrap()]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_made_in_two_attempts_and_deleted() {
    in_time(two_attempts_and_a_delete()).await;
}

async fn two_attempts_and_a_delete() {
    let Some(site) = Site::new("worker-main-path").await else {
        return;
    };
    let world = &site.world;
    let _worker = world.start_handlers(Config::new("w1"), site.handlers(0, Some("boot:1")));
    let job = world.submit().await;
    let end = world.end(job).await;
    assert_eq!(
        (end.event_type, end.data.attempt),
        (EventType::Succeeded, 2)
    );
    assert_eq!(
        world.words(job),
        ["submitted", "started", "retry", "started", "succeeded"]
    );
    let keys: Vec<_> = world.log().into_iter().map(|s| s.routing_key).collect();
    assert_eq!(keys[2], "delay.1s.job.vm.create");
    assert_eq!(site.effects(), 1);

    let delete: Kind = "vm.delete".parse().unwrap();
    let delete = world.command(delete, json!({"vm_hostname": "lxtest"}));
    let end = world.end(world.publish(&delete).await).await;
    assert_eq!(end.data.output.unwrap()["deleted"], json!(true));
    world.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_a_killed_worker_is_followed_by_another_at_the_same_machine() {
    in_time(a_worker_after_another()).await;
}

async fn a_worker_after_another() {
    let Some(site) = Site::new("worker-killed").await else {
        return;
    };
    let world = &site.world;
    let first = connect(&site.url);
    let worker = world.start_on(first.bus(), Config::new("w1"), site.handlers(4, None));
    let mut other = vm_input();
    other["vm_hostname"] = json!("lxother");
    let other = world.command(kind(), other);
    let jobs = [world.submit().await, world.publish(&other).await];
    until("both boot", || {
        jobs.iter().all(|job| world.words(*job).len() >= 6)
    })
    .await;
    worker.kill().await;
    first.shutdown().await;
    let _worker = world.start_handlers(Config::new("w2"), site.handlers(4, None));
    for job in jobs {
        let end = world.end(job).await;
        assert_eq!(
            (end.event_type, end.data.attempt),
            (EventType::Succeeded, 1)
        );
        assert_eq!(end.data.worker.as_deref(), Some("w2"));
    }
    assert_eq!(site.effects(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_deadline_and_poison_end_as_they_should() {
    in_time(three_ends()).await;
}

async fn three_ends() {
    let Some(site) = Site::new("worker-ends").await else {
        return;
    };
    let world = &site.world;
    let _worker = world.start_handlers(Config::new("w1"), site.handlers(60, None));
    let mut late = world.command(kind(), vm_input());
    late.data.job.deadline = vmctl_core::clock::add(world.clock.now(), Duration::from_secs(2));
    let late = world.publish(&late).await;
    let mut poison = world.command(kind(), vm_input()).to_message();
    poison.body = "{".into();
    world.bus.publisher.publish(poison).await.unwrap();
    let job = world.submit().await;
    world.event(job, EventType::Started).await;
    world.cancel(job, "enough").await;
    assert_eq!(world.end(job).await.event_type, EventType::Cancelled);
    assert_eq!(world.end(late).await.event_type, EventType::Deadline);
    let rejected = || {
        world
            .log()
            .iter()
            .any(|s| s.reason.as_deref() == Some("rejected"))
    };
    until("the poison is in the log", rejected).await;
    world.settled().await;
}
