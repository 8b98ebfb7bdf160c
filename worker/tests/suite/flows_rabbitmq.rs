//! A flow that fails at each position, on a real RabbitMQ with a reader. Says so and does nothing when
//! there is none.

use std::{sync::Arc, time::Duration};

use crate::support::{Script, World, kind, vm_input};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use vmctl_backends::{
    rabbitmq::{self, RabbitMq},
    redis::{self, RedisStore},
};
use vmctl_core::{Compensation, JobState, Kind, clock::SystemClock};
use vmctl_daemon::testing::{Vhost, services};
use vmctl_reader::Reader;
use vmctl_worker::{
    Backends, Ctx, Handler, Outcome,
    harness::{Fault, Faults, Harness},
    kinds::{VmCreate, VmDelete},
    provisioner::{
        Observed, Provisioner,
        simulated::{Simulated, SimulatedConfig},
    },
};

fn machines(world: &World, directory: &TempDir) -> Arc<dyn Provisioner> {
    let config = SimulatedConfig {
        directory: directory.path().to_owned(),
        duration: Duration::ZERO,
        fail: None,
    };
    Arc::new(Simulated::open(config, world.clock.clone()).unwrap())
}

/// The harness of `vm.provision` on these backends. `host` names the machine of the n-th run.
fn provision(
    backends: Backends,
    machines: &Arc<dyn Provisioner>,
    host: fn(u32) -> String,
) -> Harness {
    let playbooks = Script::new(|_: Ctx| async { Outcome::Done(json!({"hosts": {}})) });
    let create = VmCreate::new(machines.clone(), backends.registry.clone());
    let handlers: Vec<(Kind, Arc<dyn Handler>)> = vec![
        (kind(), Arc::new(create)),
        (
            "vm.delete".parse().unwrap(),
            Arc::new(VmDelete::new(machines.clone())),
        ),
        ("ansible.run".parse().unwrap(), Arc::new(playbooks)),
    ];
    let flow = "vm.provision".parse().unwrap();
    Harness::new(backends, flow, handlers, move |n| -> Value {
        let mut vm = vm_input();
        vm["vm_hostname"] = json!(host(n));
        json!({"vm": vm, "playbook": "site.yml"})
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn t15_on_rabbitmq_every_step_fails_once_and_everything_runs_twice() {
    let names = ["VMCTL_TEST_AMQP_URL", "VMCTL_TEST_RABBITMQ_API"];
    let Some([amqp, api]) = services(names) else {
        return;
    };
    let vhost = Vhost::new(&api, "worker-flows");
    let url = vhost.url(&amqp).parse().unwrap();
    let bus = RabbitMq::connect_lazy(rabbitmq::Config::new(vec![url])).bus();
    let world = World::on(bus, Arc::new(SystemClock)).await;
    let reader = Reader::new(
        vmctl_reader::Config::new("r1"),
        world.bus.clone(),
        Arc::new(world.store.clone()),
        world.clock.clone(),
        &world.registry,
    );
    let stop = CancellationToken::new();
    let reading = tokio::spawn(reader.run(stop.clone()));

    let directory = tempfile::tempdir().unwrap();
    let machines = machines(&world, &directory);
    let harness = provision(world.backends(), &machines, |n| format!("lx{n}"));
    for faults in [
        vec![],
        vec![("vm", Fault::Before, 1)],
        vec![("vm", Fault::After, 1)],
        vec![("ansible", Fault::Before, 1)],
        vec![("ansible", Fault::After, 1), ("undo/vm", Fault::Before, 1)],
        vec![("ansible", Fault::After, 1), ("undo/vm", Fault::After, 2)],
    ] {
        let is_good = faults.is_empty();
        let list = faults.iter().map(|(n, f, t)| ((*n).to_owned(), (*f, *t)));
        let run = harness.run(list.collect::<Faults>()).await.unwrap();
        let left = machines.observe(run.jobs["vm"]).await.unwrap();
        if is_good {
            assert_eq!(run.state, JobState::Succeeded, "{run:?}");
            assert!(matches!(left, Observed::Ready(_)), "{left:?}");
            continue;
        }
        assert_eq!(run.state, JobState::Failed, "{faults:?} {run:?}");
        assert_eq!(run.compensation, Some(Compensation::Done), "{faults:?}");
        assert!(matches!(left, Observed::Deleted(_)), "{faults:?} {left:?}");
    }
    stop.cancel();
    reading.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_rabbitmq_and_redis_a_flows_machine_has_its_name_until_the_flow_is_undone() {
    let names = [
        "VMCTL_TEST_AMQP_URL",
        "VMCTL_TEST_RABBITMQ_API",
        "VMCTL_TEST_REDIS_URL",
    ];
    let Some([amqp, api, redis]) = services(names) else {
        return;
    };
    let vhost = Vhost::new(&api, "worker-names");
    let url = vhost.url(&amqp).parse().unwrap();
    let bus = RabbitMq::connect_lazy(rabbitmq::Config::new(vec![url])).bus();
    let world = World::on(bus, Arc::new(SystemClock)).await;
    let config = redis::Config {
        prefix: format!("worker-names-{}:", std::process::id()),
        ..redis::Config::new(redis)
    };
    let store = Arc::new(RedisStore::connect_lazy(config).unwrap());
    let reader = Reader::new(
        vmctl_reader::Config::new("r1"),
        world.bus.clone(),
        store.clone(),
        world.clock.clone(),
        &world.registry,
    );
    let stop = CancellationToken::new();
    let reading = tokio::spawn(reader.run(stop.clone()));
    let backends = Backends {
        store,
        ..world.backends()
    };

    let directory = tempfile::tempdir().unwrap();
    let machines = machines(&world, &directory);
    let same = provision(backends.clone(), &machines, |_| "lxsame".to_owned());
    let first = same.run(Faults::new()).await.unwrap();
    assert_eq!(first.state, JobState::Succeeded, "{first:?}");
    let second = same.run(Faults::new()).await.unwrap();
    assert_eq!(second.state, JobState::Failed, "{second:?}");
    assert_eq!(second.error.unwrap().error_type, "conflict");
    assert_eq!((second.compensation, second.jobs.len()), (None, 0));
    let left = machines.observe(first.jobs["vm"]).await.unwrap();
    assert!(matches!(left, Observed::Ready(_)), "{left:?}");

    let undone = provision(backends, &machines, |_| "lxundone".to_owned());
    let faults = Faults::from([("ansible".to_owned(), (Fault::Before, 1))]);
    let failed = undone.run(faults).await.unwrap();
    assert_eq!(failed.compensation, Some(Compensation::Done), "{failed:?}");
    let again = undone.run(Faults::new()).await.unwrap();
    assert_eq!(again.state, JobState::Succeeded, "{again:?}");
    stop.cancel();
    reading.await.unwrap().unwrap();
}
