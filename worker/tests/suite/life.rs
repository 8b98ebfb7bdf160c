//! Building, starting, draining and stopping a worker.

use std::{sync::Arc, time::Duration};

use crate::support::{Script, World, kind, until, vm_input};
use serde_json::{Value, json};
use vmctl_core::{
    event::EventType,
    topology::{Topology, work_queue},
};
use vmctl_worker::{BuildError, Config, Ctx, Outcome, RunError, Worker};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn every_kind_needs_a_name_and_one_handler() {
    let world = World::new().await;
    let handler = || Arc::new(Script::busy(Duration::ZERO));
    let builder = || Worker::builder(Config::new("w1"), world.backends());
    assert!(matches!(builder().build(), Err(BuildError::NoKinds)));
    let unknown = builder().handler("vm.unknown".parse().unwrap(), handler());
    assert!(matches!(unknown.build(), Err(BuildError::UnknownKind(_))));
    let twice = builder()
        .handler(kind(), handler())
        .handler(kind(), handler());
    assert!(matches!(twice.build(), Err(BuildError::TwoHandlers(_))));
    let config = Config {
        kinds: vec!["vm.delete".parse().unwrap()],
        ..Config::new("w1")
    };
    let other = Worker::builder(config.clone(), world.backends()).handler(kind(), handler());
    assert!(matches!(other.build(), Err(BuildError::NoHandler(_))));
    let subset = Worker::builder(config, world.backends())
        .handler(kind(), handler())
        .handler("vm.delete".parse().unwrap(), handler())
        .build()
        .unwrap();
    assert_eq!(
        subset.kinds().map(ToString::to_string).collect::<Vec<_>>(),
        ["vm.delete"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_not_there_yet_is_waited_for() {
    let world = World::new().await;
    world.memory().set_down(true);
    let worker = Worker::builder(Config::new("w1"), world.backends())
        .handler(kind(), Arc::new(Script::busy(Duration::ZERO)))
        .build()
        .unwrap();
    let readiness = worker.readiness();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(worker.run(shutdown.clone()));
    tokio::time::sleep(seconds(60)).await;
    assert!(readiness.check().unwrap_err().contains("no connection"));
    world.memory().set_down(false);
    until("ready", || readiness.check().is_ok()).await;
    let job = world.submit().await;
    world.end(job).await;
    world.memory().set_blocked(Some("low on disk"));
    assert!(readiness.check().unwrap_err().contains("low on disk"));
    shutdown.cancel();
    task.await.unwrap().unwrap();
    assert!(readiness.check().unwrap_err().contains("stopping"));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_comes_back_without_its_queues_gets_them_again() {
    let world = World::new().await;
    let _worker = world.start("w1", Script::busy(Duration::ZERO));
    let job = world.submit().await;
    world.end(job).await;
    world.memory().set_down(true);
    tokio::time::sleep(seconds(10)).await;
    world.memory().set_down(false);
    let queue = work_queue(&kind());
    world.bus.admin.delete_queue(&queue).await.unwrap();
    // Nothing else tells the worker; it sees that the broker was away.
    tokio::time::sleep(seconds(5)).await;
    let job = world.submit().await;
    world.end(job).await;
}

#[tokio::test(start_paused = true)]
async fn another_form_of_a_queue_stops_the_worker_and_is_named() {
    let world = World::new().await;
    let queue = work_queue(&kind());
    world.bus.admin.delete_queue(&queue).await.unwrap();
    let mut other = Topology::new(&[kind()]).queue(&queue).unwrap().clone();
    other.delivery_limit = Some(99);
    world.bus.admin.declare_queue(&other).await.unwrap();
    let error = world
        .start("w1", Script::busy(Duration::ZERO))
        .ended()
        .await;
    let RunError::Declare(drift) = error else {
        panic!("{error:?}");
    };
    assert!(drift.to_string().contains(&queue), "{drift}");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_shut_down_ends_the_worker_with_an_error() {
    let world = World::new().await;
    let worker = world.start("w1", Script::busy(Duration::ZERO));
    let job = world.submit().await;
    world.end(job).await;
    world.memory().shutdown();
    assert!(matches!(worker.ended().await, RunError::ConsumerEnded(_)));
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_slices_end_and_takes_nothing_new() {
    let world = World::new().await;
    let handler = Script::busy(seconds(20));
    let config = Config {
        slots: 1,
        ..Config::new("w1")
    };
    let worker = world.start_with(config, handler.clone());
    let job = world.submit().await;
    world.event(job, EventType::Started).await;
    let waiting = world.submit().await;
    worker.drain().await;
    until("ended", || world.words(job).contains(&"succeeded")).await;
    assert_eq!(world.words(waiting), ["submitted"]);
    assert_eq!(handler.runs(), 1);
    assert_eq!(world.ready(&work_queue(&kind())).await, 1);
}

#[tokio::test(start_paused = true)]
async fn t13_what_does_not_end_in_time_is_given_back_and_no_attempt_is_lost() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        if ctx.worker() == "w1" {
            std::future::pending::<()>().await;
        }
        Outcome::Done(Value::Null)
    });
    let worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    world.event(job, EventType::Started).await;
    let before = tokio::time::Instant::now();
    worker.drain().await;
    let took = before.elapsed().as_secs();
    assert!((25..27).contains(&took), "{took}");
    let _next = world.start("w2", handler);
    let end = world.end(job).await;
    assert_eq!(
        (end.event_type, end.data.attempt),
        (EventType::Succeeded, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hands_over_ends_the_drain_at_once() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        if ctx.worker() == "w1" {
            ctx.drain().cancelled().await;
            return Outcome::Continue {
                after: Duration::ZERO,
                checkpoint: json!("handed over"),
            };
        }
        Outcome::Done(ctx.checkpoint().unwrap())
    });
    let worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    world.event(job, EventType::Started).await;
    let before = tokio::time::Instant::now();
    worker.drain().await;
    assert!(before.elapsed() < seconds(1));
    let _next = world.start("w2", handler);
    assert_eq!(world.end(job).await.data.output, Some(json!("handed over")));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_command_is_given_back_by_a_drain() {
    let world = World::new().await;
    let worker = world.start("w1", Script::busy(seconds(1)));
    let mut command = world.command(kind(), vm_input());
    let soon = vmctl_core::clock::add(world.clock.now(), Duration::from_millis(900));
    command.data.not_before = Some(soon);
    let job = world.publish(&command).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    worker.drain().await;
    let _next = world.start("w2", Script::busy(seconds(1)));
    assert_eq!(world.end(job).await.data.worker.as_deref(), Some("w2"));
}
