//! Flows: steps, references, undoing, and what happens when any of it fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{Script, Started, World, error, kind, vm_input};
use serde_json::{Value, json};
use tempfile::TempDir;
use vmctl_core::{
    Compensation, JobId, JobState, Kind,
    children::{Child, Join, OnFailure, child_id},
    event::{Event, EventType},
};
use vmctl_worker::{
    Config, Ctx, Handler, Outcome, Spawn,
    harness::{Harness, Run},
    kinds::{VmCreate, VmDelete, flows},
    provisioner::{
        Observed, Provisioner,
        simulated::{Simulated, SimulatedConfig},
    },
};

fn named(name: &str) -> Kind {
    name.parse().unwrap()
}

/// What the jobs of synthetic flows have done and undone.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<(BTreeSet<JobId>, BTreeSet<JobId>)>>);

impl Ledger {
    /// Does something under the job's id, unless it was undone before.
    fn action(&self) -> Script {
        let ledger = self.clone();
        Script::new(move |ctx: Ctx| {
            let ledger = ledger.clone();
            async move {
                if ctx.job().input["vm_desc"] == "bad" {
                    return Outcome::Fail(error("bad"));
                }
                if ctx.job().input["vm_desc"] == "slow" && !ctx.cancel().is_cancelled() {
                    ctx.cancel().cancelled().await;
                    return Outcome::Cancelled;
                }
                let mut ledger = ledger.0.lock().unwrap();
                if !ledger.1.contains(&ctx.job().id) {
                    ledger.0.insert(ctx.job().id);
                }
                let name = ctx.job().input["vm_hostname"].as_str().unwrap();
                let next = format!("{name}-next");
                Outcome::Done(json!({"ip": "192.0.2.7", "name": name, "next": next, "no": "a b"}))
            }
        })
    }

    fn undo(&self) -> Script {
        let ledger = self.clone();
        Script::new(move |ctx: Ctx| {
            let ledger = ledger.clone();
            async move {
                let job: JobId = ctx.job().input["machine"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                let mut ledger = ledger.0.lock().unwrap();
                ledger.1.insert(job);
                let deleted = ledger.0.remove(&job);
                Outcome::Done(json!({"deleted": deleted}))
            }
        })
    }

    fn left(&self) -> BTreeSet<JobId> {
        self.0.lock().unwrap().0.clone()
    }
}

fn step(name: &str, desc: &str) -> Value {
    let mut input = vm_input();
    input["vm_desc"] = desc.into();
    input["vm_hostname"] = format!("lx{name}").into();
    json!({"name": name, "kind": "vm.create", "input": input, "undo": {"kind": "vm.delete", "input": {
        "vm_hostname": {"$ref": format!("/done/{name}/input/vm_hostname")},
        "machine": {"$ref": format!("/done/{name}/job_id")},
    }}})
}

fn handlers(ledger: &Ledger) -> Vec<(Kind, Arc<dyn Handler>)> {
    vec![
        (kind(), Arc::new(ledger.action())),
        (named("vm.delete"), Arc::new(ledger.undo())),
    ]
}

fn start(world: &World, handlers: Vec<(Kind, Arc<dyn Handler>)>) -> Started {
    let flows = flows(&world.registry);
    world.start_handlers(Config::new("w1"), [handlers, flows].concat())
}

fn flow(world: &World, steps: &[Value]) -> Event {
    world.command(named("flow.run"), json!({ "steps": steps }))
}

#[tokio::test(start_paused = true)]
async fn steps_follow_each_other_and_use_what_came_before() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let _worker = start(&world, handlers(&ledger));
    let mut second = step("b", "");
    second["input"]["vm_hostname"] = json!({"$ref": "/done/a/output/next"});
    second["when"] = json!({"$ref": "/done/a/output/ip"});
    let mut left_out = step("c", "");
    left_out["when"] = json!({"$ref": "/done/a/output/nothing"});
    let job = world
        .publish(&flow(&world, &[step("a", ""), second, left_out]))
        .await;
    let end = world.end(job).await;
    let output = end.data.output.unwrap();
    assert_eq!(output["b"]["name"], "lxa-next");
    assert_eq!(output.as_object().unwrap().len(), 2);
    assert_eq!(end.data.children, ["a", "b"]);
    assert_eq!((end.data.compensation, ledger.left().len()), (None, 2));
    let (a, b) = (
        world.end(child_id(job, 0, "a")).await,
        &world.events(child_id(job, 0, "b"))[0],
    );
    assert!(a.time <= b.time);
    assert_eq!(b.data.job.depth, 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_undoes_itself_and_all_before_it_backwards() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let _worker = start(&world, handlers(&ledger));
    let steps = [
        step("a", ""),
        step("b", ""),
        step("c", "bad"),
        step("d", ""),
    ];
    let job = world.publish(&flow(&world, &steps)).await;
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Failed);
    let error = end.data.error.unwrap();
    assert_eq!(error.error_type, "step-failed");
    assert_eq!(error.title, "step c failed: it was bad");
    assert_eq!(
        end.data.children,
        ["a", "b", "c", "undo/c/1", "undo/b/1", "undo/a/1"]
    );
    assert_eq!(end.data.compensation, Some(Compensation::Done));
    assert_eq!(ledger.left(), BTreeSet::new());
    let seen: BTreeSet<_> = world
        .events(job)
        .iter()
        .filter_map(|e| e.data.compensation)
        .map(Compensation::as_str)
        .collect();
    assert_eq!(seen, BTreeSet::from(["running", "done"]));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_flow_cancels_its_step_and_undoes_the_others() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let _worker = start(&world, handlers(&ledger));
    let job = world
        .publish(&flow(&world, &[step("a", ""), step("b", "slow")]))
        .await;
    let slow = child_id(job, 0, "b");
    world.event(slow, EventType::Started).await;
    world.cancel(job, "changed my mind").await;
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Cancelled);
    assert_eq!(world.end(slow).await.event_type, EventType::Cancelled);
    assert_eq!(end.data.compensation, Some(Compensation::Done));
    assert_eq!(ledger.left(), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn past_the_pivot_a_flow_only_goes_forward() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let tries = Script::new(|ctx: Ctx| async move {
        let name = ctx.job().step.clone().unwrap();
        if name == "d/3" {
            return Outcome::Done(json!({"deleted": true}));
        }
        Outcome::Fail(error("not yet"))
    });
    let handlers: Vec<(Kind, Arc<dyn Handler>)> = vec![
        (kind(), Arc::new(ledger.action())),
        (named("vm.delete"), Arc::new(tries)),
    ];
    let _worker = start(&world, handlers);
    let mut pivot = step("b", "");
    pivot["pivot"] = json!(true);
    let last = json!({"name": "d", "kind": "vm.delete", "input": {"vm_hostname": "lx1"}});
    let job = world
        .publish(&flow(&world, &[step("a", ""), pivot, last]))
        .await;
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Succeeded);
    assert_eq!(end.data.children, ["a", "b", "d", "d/2", "d/3"]);
    assert_eq!(ledger.left().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reference_to_nothing_fails_the_flow_and_says_which() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let _worker = start(&world, handlers(&ledger));
    let mut second = step("b", "");
    second["input"]["vm_hostname"] = json!({"$ref": "/done/a/output/dns"});
    let job = world.publish(&flow(&world, &[step("a", ""), second])).await;
    let end = world.end(job).await;
    let error = end.data.error.unwrap();
    assert_eq!(error.error_type, "bad-reference");
    assert_eq!(
        error.detail.unwrap(),
        "/done/a/output/dns refers to nothing"
    );
    assert_eq!(ledger.left(), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn a_step_that_turns_out_wrong_undoes_those_before_it() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let _worker = start(&world, handlers(&ledger));
    let mut second = step("b", "");
    second["input"]["vm_hostname"] = json!({"$ref": "/done/a/output/no"});
    let job = world.publish(&flow(&world, &[step("a", ""), second])).await;
    let end = world.end(job).await;
    assert_eq!(end.data.error.unwrap().error_type, "invalid-child");
    // The step itself was never asked for, so there is nothing of it to undo.
    assert_eq!(end.data.children, ["a", "undo/a/1"]);
    assert_eq!(end.data.compensation, Some(Compensation::Done));
    assert_eq!(ledger.left(), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_is_refused_is_shown_as_stuck() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let _worker = start(&world, handlers(&ledger));
    let mut bad = step("a", "bad");
    bad["undo"]["input"]["vm_hostname"] = json!({"$ref": "/input/vars/host", "default": "a b"});
    let job = world.publish(&flow(&world, &[bad])).await;
    let end = world.end(job).await;
    assert_eq!(end.data.error.unwrap().error_type, "compensation-stuck");
    assert_eq!(end.data.compensation, Some(Compensation::Stuck));
    assert_eq!(end.data.children, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_never_works_is_shown_and_parked_before_the_deadline() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let never = Script::new(|_| async { Outcome::Fail(error("locked")) });
    let handlers: Vec<(Kind, Arc<dyn Handler>)> = vec![
        (kind(), Arc::new(ledger.action())),
        (named("vm.delete"), Arc::new(never.clone())),
    ];
    let _worker = start(&world, handlers);
    let command = flow(&world, &[step("a", "bad")]);
    let job = world.publish(&command).await;
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Failed);
    assert_eq!(end.data.compensation, Some(Compensation::Stuck));
    let error = end.data.error.unwrap();
    assert_eq!(error.error_type, "compensation-stuck");
    assert!(error.detail.unwrap().starts_with("not undone: a;"));
    assert!(end.time < command.data.job.deadline);
    assert_eq!(world.ready("jobs.dead").await, u64::from(never.runs()) + 2);
    // It went on trying while it was stuck: 1 s, 2 s, 4 s, … 15 min for an hour.
    assert!((12..20).contains(&never.runs()), "{}", never.runs());
}

#[tokio::test(start_paused = true)]
async fn what_runs_over_its_time_is_undone_in_the_time_that_is_kept() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let _worker = start(&world, handlers(&ledger));
    let command = flow(&world, &[step("a", ""), step("b", "slow")]);
    let job = world.publish(&command).await;
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Failed);
    assert_eq!(end.data.compensation, Some(Compensation::Done));
    assert_eq!(ledger.left(), BTreeSet::new());
    assert!(end.time < command.data.job.deadline);
}

#[tokio::test(start_paused = true)]
async fn t15_every_step_of_a_flow_fails_at_each_position_and_everything_runs_twice() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let steps = |n| {
        let hosts = ["a", "b", "c"].map(|name| (name, format!("lx{n}{name}")));
        let steps = hosts.map(|(name, host)| {
            let mut step = step(name, "");
            step["input"]["vm_hostname"] = host.into();
            step
        });
        json!({ "steps": steps })
    };
    let harness = Harness::new(
        world.backends(),
        named("flow.run"),
        handlers(&ledger),
        steps,
    );
    let runs = harness
        .check(async |run: &Run| {
            let left = ledger.left();
            let of_run = run.jobs.iter().filter(|(_, id)| left.contains(*id));
            of_run.map(|(name, _)| name.clone()).collect()
        })
        .await;
    assert_eq!(runs, Ok(1 + 3 * 3 + 3 * 3));
}

#[tokio::test(start_paused = true)]
async fn t15_vm_provision_leaves_no_machine_wherever_it_fails() {
    let world = World::new().await;
    let directory = TempDir::new().unwrap();
    let config = SimulatedConfig {
        directory: directory.path().to_owned(),
        duration: Duration::from_secs(9),
        fail: None,
    };
    let machines: Arc<dyn Provisioner> =
        Arc::new(Simulated::open(config, world.clock.clone()).unwrap());
    let playbooks = Script::new(|ctx: Ctx| async move {
        assert!(ctx.job().input["hosts"][0].is_string());
        Outcome::Done(json!({"hosts": {}}))
    });
    let handlers: Vec<(Kind, Arc<dyn Handler>)> = vec![
        (
            kind(),
            Arc::new(VmCreate::new(machines.clone(), world.registry.clone())),
        ),
        (
            named("vm.delete"),
            Arc::new(VmDelete::new(machines.clone())),
        ),
        (named("ansible.run"), Arc::new(playbooks)),
    ];
    let harness = Harness::new(world.backends(), named("vm.provision"), handlers, |n| {
        let mut vm = vm_input();
        vm["vm_hostname"] = json!(format!("lx{n}"));
        json!({"vm": vm, "playbook": "site.yml"})
    });
    let runs = harness
        .check(async |run: &Run| {
            let vm = run.jobs["vm"];
            let mut left = Vec::new();
            match machines.observe(vm).await.unwrap() {
                Observed::Absent | Observed::Deleted(_) => {}
                other => left.push(format!("{other:?}")),
            }
            let host = &world.events(vm)[0].data.job.unique[0].key;
            if let Some(holder) = world.holder("harness", host).await {
                left.push(format!("{holder:?}"));
            }
            left
        })
        .await;
    assert_eq!(runs, Ok(1 + 3 + 3 + 3));
    let living = machines.list().await.unwrap();
    let mut by_host = BTreeMap::new();
    for vm in living.into_iter().filter(|vm| vm.deleted.is_none()) {
        *by_host.entry(vm.spec.hostname).or_insert(0) += 1;
    }
    // Only the runs that succeeded have theirs, one each.
    assert_eq!(by_host.into_values().collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn t15_every_join_is_held_to_whichever_of_its_children_fail() {
    for (join, needed) in [(Join::All, 3), (Join::Any, 1), (Join::Quorum(2), 2)] {
        for on_failure in [OnFailure::FailFast, OnFailure::WaitAll] {
            let world = World::new().await;
            let ask = Script::new(move |ctx: Ctx| async move {
                if ctx.checkpoint::<Value>().is_none() {
                    let host = ctx.job().input["vm_hostname"].as_str().unwrap();
                    let children = ["a", "b", "c"].map(|name| {
                        let mut input = vm_input();
                        input["vm_hostname"] = format!("{host}{name}").into();
                        Child::new(name, kind(), input)
                    });
                    return Outcome::Spawn(Spawn {
                        join,
                        on_failure,
                        ..Spawn::all(children.into(), json!("asked"))
                    });
                }
                let succeeded = ctx.children().iter().filter(|child| child.succeeded());
                if succeeded.count() >= needed {
                    return Outcome::Done(json!(null));
                }
                Outcome::Fail(error("too few"))
            });
            let handlers: Vec<(Kind, Arc<dyn Handler>)> = vec![
                (kind(), Arc::new(Ledger::default().action())),
                (named("vm.delete"), Arc::new(ask)),
            ];
            let harness = Harness::new(
                world.backends(),
                named("vm.delete"),
                handlers,
                |n| json!({"vm_hostname": format!("lx{n}")}),
            );
            let runs = harness.check_join(&["a", "b", "c"], needed).await;
            assert_eq!(runs, Ok(3 * 8), "{join:?} {on_failure:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flow_inside_a_flow_is_its_step() {
    let world = World::new().await;
    let ledger = Ledger::default();
    let _worker = start(&world, handlers(&ledger));
    let inner = json!({"name": "in", "kind": "flow.run", "input": {"steps": [step("x", "")]}});
    let job = world
        .publish(&flow(&world, &[inner, step("b", "bad")]))
        .await;
    let end = world.end(job).await;
    assert_eq!(end.data.state, JobState::Failed);
    let nested = child_id(job, 0, "in");
    let x = world.end(child_id(nested, 0, "x")).await;
    assert_eq!((x.data.job.depth, x.data.job.root_id), (2, Some(job)));
    // Nothing says how to take the inner flow back.
    assert_eq!(ledger.left().len(), 1);
}
