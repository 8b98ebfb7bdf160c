//! Jobs that ask for jobs: what is published, when the parent goes on, and what stops it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::{Script, Started, World, error, kind, vm_input};
use serde_json::{Value, json};
use vmctl_core::{
    Compensation, JobId, JobState, Kind,
    children::{Child, Join, MAX_CHILDREN, OnFailure, child_id},
    event::{Event, EventType, MAX_BODY},
};
use vmctl_worker::{Config, Ctx, Handler, Outcome, Spawn};

fn below() -> Kind {
    "vm.delete".parse().unwrap()
}

fn child(name: &str) -> Child {
    let input = json!({"vm_hostname": format!("lx{name}")});
    Child::new(name, below(), input)
}

/// A parent that asks once for what `spawn` says, and tells how its children ended.
fn parent(spawn: impl Fn() -> Spawn + Send + Sync + 'static) -> Script {
    Script::new(move |ctx: Ctx| {
        let spawn = spawn();
        async move {
            if ctx.checkpoint::<Value>().is_none() {
                return Outcome::Spawn(spawn);
            }
            if ctx.cancel().is_cancelled() {
                return Outcome::Cancelled;
            }
            let children: Vec<_> = ctx
                .children()
                .iter()
                .map(|c| json!([c.name, c.state, c.output]))
                .collect();
            Outcome::Done(json!(children))
        }
    })
}

/// Does what the host name says: `lxbad…` fails, `lxslow…` runs until it is cancelled.
fn worker() -> Script {
    Script::new(|ctx: Ctx| async move {
        let name = ctx.job().input["vm_hostname"].as_str().unwrap().to_owned();
        if name.starts_with("lxbad") {
            return Outcome::Fail(error("bad"));
        }
        if name.starts_with("lxslow") {
            ctx.cancel().cancelled().await;
            return Outcome::Cancelled;
        }
        Outcome::Done(json!(name))
    })
}

fn start(world: &World, parent: Script, child: Script) -> Started {
    let handlers: Vec<(Kind, Arc<dyn Handler>)> =
        vec![(kind(), Arc::new(parent)), (below(), Arc::new(child))];
    world.start_handlers(Config::new("w1"), handlers)
}

fn spawn(names: &[&str], join: Join) -> Spawn {
    Spawn {
        join,
        ..Spawn::all(names.iter().map(|n| child(n)).collect(), json!("asked"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_waits_for_its_children_and_is_told_how_they_ended() {
    let world = World::new().await;
    let handler = parent(|| spawn(&["a", "b"], Join::All));
    let _worker = start(&world, handler.clone(), worker());
    let mut command = world.command(kind(), vm_input());
    command.data.job.auth.request_id = Some("req-1".to_owned());
    command.traceparent =
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let job = world.publish(&command).await;
    let end = world.end(job).await;
    assert_eq!(
        end.data.output,
        Some(json!([
            ["a", "succeeded", "lxa"],
            ["b", "succeeded", "lxb"]
        ]))
    );
    assert_eq!(
        world.words(job),
        ["submitted", "started", "continued", "started", "succeeded"]
    );
    let waiting = &world.events(job)[2];
    assert_eq!(waiting.data.state, JobState::Waiting);
    assert_eq!(waiting.data.children, ["a", "b"]);
    assert_eq!(end.data.children, ["a", "b"]);
    assert_eq!(handler.runs(), 2);
    let below = world.events(child_id(job, 0, "a")).remove(0);
    let spec = &below.data.job;
    assert_eq!((spec.parent_id, spec.root_id), (Some(job), Some(job)));
    assert_eq!((spec.depth, spec.step.as_deref()), (1, Some("a")));
    assert_eq!(spec.auth, command.data.job.auth);
    assert_eq!(below.traceparent, command.traceparent);
    assert!(spec.deadline <= command.data.job.deadline);
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_decided_cancels_who_lives() {
    for (names, join, states) in [
        (
            &["bad", "slow"][..],
            Join::All,
            json!(["failed", "cancelled"]),
        ),
        (
            &["good", "slow"],
            Join::Any,
            json!(["succeeded", "cancelled"]),
        ),
        (
            &["bad", "g1", "g2", "slow"],
            Join::Quorum(2),
            json!(["failed", "succeeded", "succeeded", "cancelled"]),
        ),
    ] {
        let world = World::new().await;
        let _worker = start(&world, parent(move || spawn(names, join)), worker());
        let job = world.submit().await;
        let output = world.end(job).await.data.output.unwrap();
        let found: Vec<_> = output
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c[1].clone())
            .collect();
        assert_eq!(json!(found), states, "{join:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_may_let_all_children_end() {
    let world = World::new().await;
    let slow = Script::new(|ctx: Ctx| async move {
        if ctx.job().input["vm_hostname"] == "lxbad" {
            return Outcome::Fail(error("bad"));
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        Outcome::Done(json!(1))
    });
    let handler = parent(|| Spawn {
        on_failure: OnFailure::WaitAll,
        ..spawn(&["bad", "good"], Join::All)
    });
    let _worker = start(&world, handler, slow);
    let job = world.submit().await;
    let output = world.end(job).await.data.output.unwrap();
    assert_eq!(
        output,
        json!([["bad", "failed", null], ["good", "succeeded", 1]])
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_the_parent_cancels_the_children_first() {
    let world = World::new().await;
    let _worker = start(
        &world,
        parent(|| spawn(&["slow1", "slow2"], Join::All)),
        worker(),
    );
    let job = world.submit().await;
    world.event(job, EventType::Continued).await;
    for name in ["slow1", "slow2"] {
        world
            .event(child_id(job, 0, name), EventType::Started)
            .await;
    }
    world.cancel(job, "not needed").await;
    assert_eq!(world.end(job).await.event_type, EventType::Cancelled);
    for name in ["slow1", "slow2"] {
        let end = world.end(child_id(job, 0, name)).await;
        assert_eq!(end.event_type, EventType::Cancelled);
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_nobody_runs_is_waited_for_and_no_longer_than_the_parent_says() {
    let world = World::new().await;
    let clock = world.clock.clone();
    let until = vmctl_core::clock::add(clock.now(), Duration::from_secs(90));
    let handler = parent(move || Spawn {
        until: Some(until),
        ..spawn(&["a"], Join::All)
    });
    let _worker = world.start("w1", handler);
    let job = world.submit().await;
    let end = world.end(job).await;
    assert_eq!(end.data.output, Some(json!([["a", "queued", null]])));
    assert!(end.time >= until && end.time <= vmctl_core::clock::add(until, Duration::from_secs(5)));
    // It was asked to cancel.
    world
        .event(child_id(job, 0, "a"), EventType::CancelRequested)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_is_killed_at_any_time_asks_for_the_same_children() {
    let world = World::new().await;
    for seconds in [0, 1, 6, 21] {
        let sleepy = Script::new(|_| async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Outcome::Done(json!(1))
        });
        let names = &["a", "b"][..];
        let killed = start(
            &world,
            parent(move || spawn(names, Join::All)),
            sleepy.clone(),
        );
        let job = world.submit().await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        killed.kill().await;
        let _worker = start(&world, parent(move || spawn(names, Join::All)), sleepy);
        let end = world.end(job).await;
        assert_eq!(end.event_type, EventType::Succeeded);
        for name in names {
            let child = child_id(job, 0, name);
            let words = world.words(child);
            let ends = words.iter().filter(|w| **w == "succeeded").count();
            assert!(ends >= 1, "{words:?}");
        }
        let jobs: std::collections::BTreeSet<JobId> = world
            .log()
            .iter()
            .filter_map(|seen| seen.event.as_ref())
            .filter(|e| e.data.job.parent_id == Some(job))
            .map(|e| e.subject)
            .collect();
        assert_eq!(jobs.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_is_told_of_the_children_too() {
    let world = World::new().await;
    let failed = Arc::new(AtomicBool::new(false));
    let handler = Script::new(move |ctx: Ctx| {
        let failed = failed.clone();
        async move {
            if ctx.checkpoint::<Value>().is_none() {
                return Outcome::Spawn(spawn(&["a"], Join::All));
            }
            assert!(failed.swap(true, Ordering::SeqCst), "once");
            Outcome::Done(json!(ctx.children().len()))
        }
    });
    let _worker = start(&world, handler, worker());
    let job = world.submit().await;
    assert_eq!(world.end(job).await.data.output, Some(json!(1)));
}

async fn refusal(change: impl FnOnce(&mut Event), children: Vec<Child>) -> String {
    let world = World::new().await;
    let asked = Spawn::all(children, json!("asked"));
    let _worker = start(&world, parent(move || asked.clone()), worker());
    let mut command = world.command(kind(), vm_input());
    change(&mut command);
    let job = world.publish(&command).await;
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Failed);
    let log = world.log();
    let below = log.iter().filter_map(|seen| seen.event.as_ref());
    assert_eq!(
        below.filter(|e| e.data.job.parent_id == Some(job)).count(),
        0
    );
    end.data.error.unwrap().error_type
}

#[tokio::test(start_paused = true)]
async fn limits_fail_the_parent_before_anything_is_asked_for() {
    let many = |n: usize| (0..n).map(|i| child(&format!("c{i}"))).collect::<Vec<_>>();
    assert_eq!(
        refusal(|_| (), many(MAX_CHILDREN + 1)).await,
        "too-many-children"
    );
    let names = |event: &mut Event| {
        event.data.children = (0..MAX_CHILDREN).map(|n| format!("x{n}")).collect();
    };
    assert_eq!(refusal(names, many(1)).await, "too-many-children");
    assert_eq!(refusal(|e| e.data.job.depth = 5, many(1)).await, "too-deep");
    assert_eq!(refusal(|_| (), vec![child("a b")]).await, "invalid-child");
    assert_eq!(
        refusal(|_| (), vec![child("a"), child("a")]).await,
        "invalid-child"
    );
    let unknown = Child::new("a", "vm.explode".parse().unwrap(), json!({}));
    assert_eq!(refusal(|_| (), vec![unknown]).await, "invalid-child");
    let bad = Child::new("a", below(), json!({"vm_hostname": "web"}));
    assert_eq!(refusal(|_| (), vec![bad]).await, "invalid-child");
    let large = Spawn::all(many(1), json!("x".repeat(300_000)));
    let world = World::new().await;
    let _worker = start(&world, parent(move || large.clone()), worker());
    let job = world.submit().await;
    let error = world.end(job).await.data.error.unwrap();
    assert_eq!(error.error_type, "outcome-too-large");
    assert!(world.events(child_id(job, 0, "c0")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_children_are_one_job() {
    let world = World::new().await;
    let names: Vec<String> = (0..MAX_CHILDREN).map(|n| format!("c{n}")).collect();
    let children: Vec<Child> = names.iter().map(|n| child(n)).collect();
    let asked = Spawn::all(children, json!("asked"));
    let _worker = start(&world, parent(move || asked.clone()), worker());
    let job = world.submit().await;
    let output = world.end(job).await.data.output.unwrap();
    let ended = output.as_array().unwrap();
    assert_eq!(ended.len(), MAX_CHILDREN);
    assert!(ended.iter().all(|child| child[1] == "succeeded"));
}

/// A parent whose attempts may take half a minute, twice.
fn limited(world: &World) -> Event {
    let mut command = world.command(kind(), vm_input());
    command.data.job.attempt_timeout = Some(30);
    command.data.job.max_attempts = 2;
    command
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_time_is_over_cancels_its_children_and_waits_for_their_end() {
    let world = World::new().await;
    let handler = parent(|| spawn(&["slow"], Join::All));
    let _worker = start(&world, handler, worker());
    let job = world.publish(&limited(&world)).await;
    let child = world.end(child_id(job, 0, "slow")).await;
    assert_eq!(child.event_type, EventType::Cancelled);
    let retry = world.event(job, EventType::Retry).await;
    assert_eq!(retry.data.error.unwrap().error_type, "attempt-timeout");
    assert!(child.time <= retry.time);
    // The next attempt is told, and asks for nothing that runs already.
    let end = world.end(job).await;
    assert_eq!(end.data.output, Some(json!([["slow", "cancelled", null]])));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_end_is_waited_for_no_longer_than_a_moment() {
    let world = World::new().await;
    let command = limited(&world);
    let _worker = world.start("w1", parent(|| spawn(&["a"], Join::All)));
    let job = world.publish(&command).await;
    let asked = world.event(child_id(job, 0, "a"), EventType::CancelRequested);
    let over = vmctl_core::clock::add(command.time, Duration::from_secs(30));
    assert!(asked.await.time >= over);
    let retry = world.event(job, EventType::Retry).await;
    let most = vmctl_core::clock::add(over, Duration::from_secs(62));
    assert!(retry.time <= most, "{} {most}", retry.time);
    // The second attempt waits for that child, too, and its time ends as well.
    let end = world.end(job).await;
    assert_eq!(end.data.error.unwrap().error_type, "attempt-timeout");
    let limit = vmctl_core::clock::add(retry.time, Duration::from_secs(93));
    assert!(end.time <= limit, "{} {limit}", end.time);
}

#[tokio::test(start_paused = true)]
async fn children_that_clean_up_are_not_cut_off_by_the_end_of_an_attempt() {
    let world = World::new().await;
    let cleaner = Script::new(|ctx: Ctx| async move {
        tokio::time::sleep(Duration::from_secs(90)).await;
        Outcome::Done(json!(ctx.cancel().is_cancelled()))
    });
    let handler = parent(|| Spawn {
        shielded: true,
        ..spawn(&["a"], Join::All)
    });
    let _worker = start(&world, handler, cleaner);
    let job = world.publish(&limited(&world)).await;
    let end = world.end(job).await;
    assert_eq!(end.data.output, Some(json!([["a", "succeeded", false]])));
}

/// Asks for a child with so large a checkpoint, after it has said that it undoes something.
async fn large(size: usize) -> (World, JobId) {
    let world = World::new().await;
    let handler = Script::new(move |ctx: Ctx| async move {
        ctx.set_compensation(Compensation::Running);
        ctx.progress().report_step(50, "half", Some((1, 2)), None);
        if ctx.checkpoint::<Value>().is_none() {
            let checkpoint = json!("x".repeat(size));
            return Outcome::Spawn(Spawn::all(vec![child("a")], checkpoint));
        }
        Outcome::Done(json!(1))
    });
    let _worker = start(&world, handler, worker());
    let job = world.publish(&limited(&world)).await;
    world.end(job).await;
    (world, job)
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_with_all_that_is_said_beside_it_is_not_begun() {
    let (world, job) = large(0).await;
    let waiting = world.event(job, EventType::Continued).await;
    assert!(waiting.data.attempt_until.is_some() && waiting.data.compensation.is_some());
    let room = MAX_BODY - waiting.to_body().len();
    // Without what is said beside it, it would fit.
    let (world, job) = large(room).await;
    let error = world.end(job).await.data.error.unwrap();
    assert_eq!(error.error_type, "outcome-too-large");
    assert!(world.events(child_id(job, 0, "a")).is_empty());
    let (world, job) = large(room - 2048).await;
    assert_eq!(world.end(job).await.event_type, EventType::Succeeded);
}
