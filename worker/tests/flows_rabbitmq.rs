//! A flow that fails at each position, on a real RabbitMQ with a reader. Says so and does nothing when
//! there is none.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod support;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use support::{Script, World, kind, vm_input};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use vmctl_backends::rabbitmq::{self, RabbitMq};
use vmctl_core::{Compensation, JobState, Kind, clock::SystemClock};
use vmctl_daemon::testing::{Vhost, services};
use vmctl_reader::Reader;
use vmctl_worker::{
    Ctx, Handler, Outcome,
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

fn provision(world: &World, machines: &Arc<dyn Provisioner>) -> Harness {
    let playbooks = Script::new(|_: Ctx| async { Outcome::Done(json!({"hosts": {}})) });
    let create = VmCreate::new(machines.clone(), world.registry.clone());
    let handlers: Vec<(Kind, Arc<dyn Handler>)> = vec![
        (kind(), Arc::new(create)),
        (
            "vm.delete".parse().unwrap(),
            Arc::new(VmDelete::new(machines.clone())),
        ),
        ("ansible.run".parse().unwrap(), Arc::new(playbooks)),
    ];
    let flow = "vm.provision".parse().unwrap();
    Harness::new(world.backends(), flow, handlers, |n| -> Value {
        let mut vm = vm_input();
        vm["vm_hostname"] = json!(format!("lx{n}"));
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
    let harness = provision(&world, &machines);
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
