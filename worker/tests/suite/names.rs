//! Names of jobs that jobs ask for: who holds them, what a taken one does, and when they are free.

use std::{sync::Arc, time::Duration};

use crate::support::{Script, Started, World, kind, vm_input};
use serde_json::{Value, json};
use vmctl_core::{
    JobId, JobState, Kind,
    children::{Child, child_id},
    clock,
    event::{Event, EventType, Mark},
    fact::{JobFact, Retention},
    store::{
        JobStore as _,
        project::{HoldState, Run},
    },
};
use vmctl_worker::{Config, Ctx, Handler, Outcome, Spawn, kinds::flows};

const KEY: &str = "vm:lxtest";

fn named(name: &str) -> Kind {
    name.parse().unwrap()
}

/// Makes what it is told and takes it back; a playbook called `bad.yml` fails.
fn start(world: &World) -> Started {
    let make = Script::new(|ctx: Ctx| async move {
        Outcome::Done(json!({"vm_hostname": ctx.job().input["vm_hostname"], "ip": "192.0.2.7"}))
    });
    let delete = Script::new(|_| async { Outcome::Done(json!({"deleted": true})) });
    let play = Script::new(|ctx: Ctx| async move {
        if ctx.job().input["playbook"] == "bad.yml" {
            return Outcome::Fail(crate::support::error("bad"));
        }
        Outcome::Done(json!({"hosts": {}}))
    });
    let handlers: Vec<(Kind, Arc<dyn Handler>)> = vec![
        (kind(), Arc::new(make)),
        (named("vm.delete"), Arc::new(delete)),
        (named("ansible.run"), Arc::new(play)),
    ];
    world.start_handlers(
        Config::new("w1"),
        [handlers, flows(&world.registry)].concat(),
    )
}

fn provision(world: &World, playbook: &str) -> Event {
    let input = json!({"vm": vm_input(), "playbook": playbook});
    world.command(named("vm.provision"), input)
}

fn create(world: &World) -> Event {
    let mut command = world.command(kind(), vm_input());
    let kind = world.registry.get(&command.data.job.kind).unwrap();
    command.data.job.unique = kind.unique(&vm_input()).into_iter().collect();
    command
}

fn run(job: JobId) -> Run {
    Run { job, epoch: 0 }
}

/// Lets somebody hold the name, with a live job behind it that nobody runs.
async fn taken(world: &World) -> JobId {
    let other = create(world);
    assert_eq!(world.enter("p1", run(other.subject), KEY).await, None);
    let fact = JobFact::from_event(other.clone(), None, Retention::default());
    world
        .store
        .prewrite(&fact, world.clock.now())
        .await
        .unwrap();
    other.subject
}

/// Asserts that a flow has ended because of a name, and has asked for nothing.
async fn is_refused(world: &World, job: JobId, holder: JobId) {
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Failed);
    let error = end.data.error.unwrap();
    assert_eq!(error.error_type, "conflict");
    assert_eq!(error.title, format!("another job has the name {KEY}"));
    assert!(error.detail.unwrap().contains(&holder.to_string()));
    assert_eq!((end.data.compensation, end.data.children.len()), (None, 0));
    assert!(world.events(child_id(job, 0, "vm")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_machine_of_a_flow_has_its_host_name_until_the_undo_has_deleted_it() {
    let world = World::new().await;
    let _worker = start(&world);
    let good = world.publish(&provision(&world, "site.yml")).await;
    assert_eq!(world.end(good).await.event_type, EventType::Succeeded);
    let holder = world.holder("p1", KEY).await.unwrap();
    assert_eq!(holder.run, run(child_id(good, 0, "vm")));
    assert_eq!(holder.hold.state, HoldState::Made);
    // Somebody else's flow does not get it, and takes nothing away.
    let second = world.publish(&provision(&world, "site.yml")).await;
    is_refused(&world, second, child_id(good, 0, "vm")).await;
    assert!(world.holder("p1", KEY).await.is_some());

    let world = World::new().await;
    let _worker = start(&world);
    let bad = world.publish(&provision(&world, "bad.yml")).await;
    let end = world.end(bad).await;
    assert_eq!(end.data.children, ["vm", "ansible", "undo/vm/1"]);
    assert_eq!(world.holder("p1", KEY).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_a_live_job_has_ends_the_flow_and_nothing_is_asked_for() {
    let world = World::new().await;
    let _worker = start(&world);
    let other = taken(&world).await;
    let job = world.publish(&provision(&world, "site.yml")).await;
    is_refused(&world, job, other).await;
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_undoes_the_steps_before_and_not_the_machine_of_the_other_job() {
    let world = World::new().await;
    let _worker = start(&world);
    let other = taken(&world).await;
    let step = |name: &str, host: &str| {
        let mut input = vm_input();
        input["vm_hostname"] = host.into();
        json!({"name": name, "kind": "vm.create", "input": input,
            "undo": {"kind": "vm.delete", "input": {"vm_hostname": host}}})
    };
    let steps = json!({"steps": [step("a", "lxfirst"), step("b", "lxTEST")]});
    let job = world
        .publish(&world.command(named("flow.run"), steps))
        .await;
    let end = world.end(job).await;
    assert_eq!(end.data.error.unwrap().error_type, "conflict");
    assert_eq!(end.data.children, ["a", "undo/a/1"]);
    let holder = world.holder("p1", KEY).await.unwrap();
    assert_eq!(holder.run.job, other);
    assert_eq!(world.holder("p1", "vm:lxfirst").await, None);
}

fn machine(name: &str) -> Child {
    let mut input = vm_input();
    input["vm_hostname"] = format!("lx{name}").into();
    Child::new(name, kind(), input)
}

/// A job of kind `vm.delete` that asks for machines, and says how many were made.
fn asking(names: &'static [&'static str]) -> Vec<(Kind, Arc<dyn Handler>)> {
    let ask = Script::new(move |ctx: Ctx| async move {
        if ctx.checkpoint::<Value>().is_none() {
            let children = names.iter().map(|name| machine(name)).collect();
            return Outcome::Spawn(Spawn::all(children, json!("asked")));
        }
        Outcome::Done(json!(ctx.children().len()))
    });
    let make = Script::new(|_| async { Outcome::Done(json!({})) });
    vec![
        (named("vm.delete"), Arc::new(ask)),
        (kind(), Arc::new(make)),
    ]
}

fn ask(world: &World) -> Event {
    world.command(named("vm.delete"), json!({"vm_hostname": "lxx"}))
}

#[tokio::test(start_paused = true)]
async fn of_many_children_all_get_their_names_or_none() {
    let world = World::new().await;
    taken(&world).await;
    let _worker = world.start_handlers(Config::new("w1"), asking(&["a", "b", "test", "c"]));
    let job = world.publish(&ask(&world)).await;
    let end = world.end(job).await;
    assert_eq!(end.data.error.unwrap().error_type, "conflict");
    for name in ["a", "b", "c"] {
        assert_eq!(world.holder("p1", &format!("vm:lx{name}")).await, None);
        assert!(world.events(child_id(job, 0, name)).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn two_children_of_one_name_are_refused() {
    let world = World::new().await;
    let _worker = world.start_handlers(Config::new("w1"), asking(&["a", "A"]));
    let job = world.publish(&ask(&world)).await;
    let end = world.end(job).await;
    assert_eq!(end.data.error.unwrap().error_type, "conflict");
    assert_eq!(world.holder("p1", "vm:lxa").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_ended_or_never_was_has_lost_its_name() {
    let world = World::new().await;
    // It is said to have failed, and the word is not in the index yet.
    let mut failed = create(&world);
    failed.event_type = EventType::Failed;
    failed.data.state = JobState::Failed;
    let fact = JobFact::from_event(failed.clone(), None, Retention::default());
    world
        .store
        .prewrite(&fact, world.clock.now())
        .await
        .unwrap();
    assert_eq!(world.enter("p1", run(failed.subject), KEY).await, None);
    // Whoever was about to publish this died.
    let never = run(clock::new_job_id(&*world.clock));
    assert_eq!(world.enter("p1", never, "vm:lxb").await, None);
    tokio::time::advance(Duration::from_secs(41)).await;
    let mark = Mark {
        id: clock::new_uuid(&*world.clock),
        server: "s1".to_owned(),
        time: world.clock.now(),
    };
    let published = world.bus.publisher.publish(mark.to_message()).await;
    published.unwrap();
    let _worker = world.start_handlers(Config::new("w1"), asking(&["test", "b"]));
    let job = world.publish(&ask(&world)).await;
    assert_eq!(world.end(job).await.data.output, Some(json!(2)));
    let holder = world.holder("p1", "vm:lxb").await.unwrap();
    assert_eq!(holder.run, run(child_id(job, 0, "b")));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_entered_before_a_crash_has_its_name() {
    let world = World::new().await;
    let command = ask(&world);
    let child = run(child_id(command.subject, 0, "test"));
    assert_eq!(world.enter("p1", child, KEY).await, None);
    let _worker = world.start_handlers(Config::new("w1"), asking(&["test"]));
    world.publish(&command).await;
    assert_eq!(world.end(command.subject).await.data.output, Some(json!(1)));
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_before_a_crash_is_finished_whoever_has_a_name_since() {
    let world = World::new().await;
    let other = taken(&world).await;
    let command = ask(&world);
    let registry = world.registry.clone();
    let spec = registry.get(&kind()).unwrap();
    let now = world.clock.now();
    let child = vmctl_core::children::command(&command, &machine("a"), spec, "/worker/w0", now);
    let fact = JobFact::from_event(child.clone(), None, Retention::default());
    world.store.prewrite(&fact, now).await.unwrap();
    let _worker = world.start_handlers(Config::new("w1"), asking(&["a", "test"]));
    world.publish(&command).await;
    assert_eq!(world.end(command.subject).await.data.output, Some(json!(2)));
    assert!(world.store.get(other).await.unwrap().record.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_job_lends_its_name_to_the_jobs_below_it() {
    let world = World::new().await;
    let mut command = ask(&world);
    command.data.job.unique = create(&world).data.job.unique;
    assert_eq!(world.enter("p1", run(command.subject), KEY).await, None);
    let _worker = world.start_handlers(Config::new("w1"), asking(&["test"]));
    world.publish(&command).await;
    assert_eq!(world.end(command.subject).await.data.output, Some(json!(1)));
}

#[tokio::test(start_paused = true)]
async fn without_the_store_names_are_left_to_whoever_makes_what_has_them() {
    let world = World::new().await;
    taken(&world).await;
    world.store.set_down(true);
    let _worker = world.start_handlers(Config::new("w1"), asking(&["test"]));
    let job = world.publish(&ask(&world)).await;
    let child = child_id(job, 0, "test");
    assert_eq!(world.end(child).await.event_type, EventType::Succeeded);
}
