//! Bad messages, copies, cancels, and what happens when the bus or the store fails half-way.

use std::{sync::Arc, time::Duration};

use crate::support::{Script, World, error, kind, until, vm_input};
use serde_json::{Value, json};
use tokio::sync::Notify;
use vmctl_core::{
    JobState,
    bus::{FeedStream, Received},
    event::{EventType, JobSpec},
    memory::bus::ConfirmFailure,
    store::JobStore,
};
use vmctl_worker::{CancelReason, Config, Ctx, Outcome};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn done() -> Outcome {
    Outcome::Done(Value::Null)
}

#[tokio::test(start_paused = true)]
async fn what_is_no_command_for_this_queue_is_rejected_and_the_worker_goes_on() {
    let world = World::new().await;
    let handler = Script::busy(Duration::ZERO);
    let _worker = world.start("w1", handler.clone());
    let command = world.command(kind(), vm_input());

    let mut no_json = command.to_message();
    no_json.body = "{".into();
    let mut unknown_major = command.to_message();
    let text = String::from_utf8(unknown_major.body.to_vec()).unwrap();
    unknown_major.body = text
        .replace("submitted.v1", "submitted.v2")
        .into_bytes()
        .into();
    let mut no_command = command.clone();
    no_command.event_type = EventType::Started;
    let mut no_command_message = no_command.to_message();
    no_command_message.routing_key = command.routing_key();
    let mut other_kind = world.command("vm.delete".parse().unwrap(), json!({}));
    other_kind.data.job = JobSpec {
        kind: "vm.delete".parse().unwrap(),
        ..other_kind.data.job
    };
    let mut other_kind_message = other_kind.to_message();
    other_kind_message.routing_key = command.routing_key();
    let bad = [
        no_json,
        unknown_major,
        no_command_message,
        other_kind_message,
    ];
    for message in bad {
        world.bus.publisher.publish(message).await.unwrap();
    }
    let job = world.submit().await;
    world.end(job).await;
    assert_eq!(handler.runs(), 1);
    assert_eq!(world.ready("jobs.dead").await, 4);
    let reasons: Vec<_> = world.log().into_iter().filter_map(|s| s.reason).collect();
    assert_eq!(reasons, ["rejected"; 4]);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn copies_of_a_command_run_once() {
    let world = World::new().await;
    let handler = Script::busy(seconds(10));
    let (_one, _two) = (
        world.start("w1", handler.clone()),
        world.start("w2", handler.clone()),
    );
    let command = world.command(kind(), vm_input());
    for _ in 0..5 {
        world.publish(&command).await;
    }
    let job = command.subject;
    world.end(job).await;
    // One more after the end.
    until("the view has the end", || {
        world.words(job).contains(&"succeeded")
    })
    .await;
    world.publish(&command).await;
    world.settled().await;
    assert_eq!(handler.runs(), 1);
    assert_eq!(
        world
            .words(job)
            .iter()
            .filter(|w| **w == "succeeded")
            .count(),
        1
    );
    assert_eq!(
        world.words(job).iter().filter(|w| **w == "started").count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_store_jobs_run_and_copies_follow_one_another() {
    let world = World::new().await;
    world.store.set_down(true);
    let handler = Script::busy(seconds(10));
    let _worker = world.start("w1", handler.clone());
    let command = world.command(kind(), vm_input());
    world.publish(&command).await;
    world.publish(&command).await;
    let job = command.subject;
    until("both ran", || {
        world
            .words(job)
            .iter()
            .filter(|w| **w == "succeeded")
            .count()
            == 2
    })
    .await;
    assert_eq!((handler.runs(), handler.most()), (2, 1));
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_queued_job_is_cancelled_without_entering_its_handler() {
    let world = World::new().await;
    let job = world.submit().await;
    until("submitted", || !world.words(job).is_empty()).await;
    world.cancel(job, "not needed").await;
    let handler = Script::busy(Duration::ZERO);
    let _worker = world.start("w1", handler.clone());
    let end = world.end(job).await;
    assert_eq!(
        (end.event_type, end.data.state),
        (EventType::Cancelled, JobState::Cancelled)
    );
    assert_eq!(end.data.reason.as_deref(), Some("not needed"));
    assert_eq!(handler.runs(), 0);
    assert_eq!(world.ready("jobs.dead").await, 0);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_running_job_hears_its_cancel_and_cleans_up() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        ctx.cancel().cancelled().await;
        let asked = matches!(ctx.cancel_reason(), Some(CancelReason::Requested(Some(_))));
        assert!(asked && ctx.stop().is_cancelled() && !ctx.lost().is_cancelled());
        tokio::time::sleep(seconds(20)).await;
        Outcome::Cancelled
    });
    let _worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    world.event(job, EventType::Started).await;
    world.cancel(job, "enough").await;
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Cancelled);
    assert_eq!(end.data.reason.as_deref(), Some("enough"));
    assert_eq!(handler.runs(), 1);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_between_slices_is_entered_to_clean_up() {
    for store_is_down in [false, true] {
        let world = World::new().await;
        let handler = Script::new(|ctx: Ctx| async move {
            match ctx.cancel_reason() {
                Some(_) => Outcome::Cancelled,
                None => Outcome::Continue {
                    after: seconds(15),
                    checkpoint: json!(1),
                },
            }
        });
        let _worker = world.start("w1", handler.clone());
        let job = world.submit().await;
        world.event(job, EventType::Continued).await;
        world.cancel(job, "enough").await;
        // With the view away nobody knows whether the wish is in the log, and the job goes on.
        world.store.set_down(store_is_down);
        tokio::time::sleep(seconds(60)).await;
        world.store.set_down(false);
        assert_eq!(world.end(job).await.event_type, EventType::Cancelled);
        assert!(store_is_down || handler.runs() == 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_delivery_publishes_nothing_and_its_redelivery_does() {
    let world = World::new().await;
    let stopped = Arc::new(Notify::new());
    let left = stopped.clone();
    let handler = Script::new(move |ctx: Ctx| {
        let left = left.clone();
        async move {
            tokio::select! {
                () = ctx.lost().cancelled() => {
                    left.notify_one();
                    Outcome::Fail(error("zombie"))
                }
                () = tokio::time::sleep(seconds(30)) => done(),
            }
        }
    });
    let _worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    world.event(job, EventType::Started).await;
    world.memory().break_connections();
    stopped.notified().await;
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Succeeded);
    assert_eq!(
        (end.data.attempt, handler.runs(), handler.most()),
        (1, 2, 1)
    );
    // Its attempt was announced before; the redelivery says so no second time.
    assert_eq!(world.words(job), ["submitted", "started", "succeeded"]);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ignores_a_loss_is_stopped_before_the_job_runs_here_again() {
    let world = World::new().await;
    let handler = Script::busy(seconds(60));
    let _worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    world.event(job, EventType::Started).await;
    world.memory().break_connections();
    world.end(job).await;
    assert_eq!((handler.runs(), handler.most()), (2, 1));
    assert_eq!(world.words(job), ["submitted", "started", "succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_without_confirm_is_published_again_and_its_job_runs_once() {
    for how in [
        ConfirmFailure::Nacked,
        ConfirmFailure::Timeout,
        ConfirmFailure::Lost,
    ] {
        let world = World::new().await;
        let go = Arc::new(Notify::new());
        let wait = go.clone();
        let handler = Script::new(move |_| {
            let wait = wait.clone();
            async move {
                wait.notified().await;
                done()
            }
        });
        let _worker = world.start("w1", handler.clone());
        let job = world.submit().await;
        world.event(job, EventType::Started).await;
        world.memory().fail_next_confirms(3, how);
        go.notify_one();
        until("published again", || world.words(job).len() == 6).await;
        world.settled().await;
        let ends: Vec<_> = world.events(job).drain(2..).collect();
        assert!(ends.iter().all(|e| e == &ends[0]), "{how:?}");
        assert_eq!(handler.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_waits_until_the_broker_takes_publishes_again() {
    let world = World::new().await;
    let handler = Script::busy(seconds(5));
    let _worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    world.event(job, EventType::Started).await;
    world.memory().set_blocked(Some("low on disk"));
    tokio::time::sleep(seconds(120)).await;
    assert_eq!(world.words(job), ["submitted", "started"]);
    world.memory().set_blocked(None);
    world.end(job).await;
    assert_eq!(handler.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_leaves_its_slice_to_another_at_its_checkpoint() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        let n: u64 = ctx.checkpoint().unwrap_or(0);
        if ctx.worker() == "w1" && n == 2 {
            std::future::pending::<()>().await;
        }
        if n == 4 {
            return Outcome::Done(json!(ctx.worker()));
        }
        Outcome::Continue {
            after: Duration::ZERO,
            checkpoint: json!(n + 1),
        }
    });
    let first = world.start("w1", handler.clone());
    let job = world.submit().await;
    until("slice 2 runs", || handler.runs() == 3).await;
    first.kill().await;
    let _second = world.start("w2", handler.clone());
    let end = world.end(job).await;
    assert_eq!(end.data.output, Some(json!("w2")));
    assert_eq!((end.data.attempt, end.data.seq), (1, 4));
    assert_eq!(handler.runs(), 3 + 3);
    let seqs: Vec<_> = world.events(job)[2..].iter().map(|e| e.data.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 4]);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_slices_run_than_there_are_slots() {
    let world = World::new().await;
    let handler = Script::busy(seconds(1));
    let config = Config {
        slots: 3,
        ..Config::new("w1")
    };
    let _worker = world.start_with(config, handler.clone());
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(world.submit().await);
    }
    for job in jobs {
        world.end(job).await;
    }
    assert_eq!((handler.runs(), handler.most()), (20, 3));
    world.settled().await;
}

/// Waits for the next tick about a job: workers say on the same feed that they live.
async fn next_tick(ticks: &mut Box<dyn FeedStream>) -> Received {
    loop {
        let tick = ticks.next().await.unwrap();
        if tick.routing_key != "tick.worker.alive" {
            return tick;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_thinned_and_numbered_and_its_end_is_in_the_event() {
    let world = World::new().await;
    let mut ticks = world
        .bus
        .consumer
        .subscribe(vmctl_core::bus::Feed::Ticks, "test")
        .await
        .unwrap();
    let handler = Script::new(|ctx: Ctx| async move {
        for percent in 0..100 {
            ctx.progress().report(percent, "work");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ctx.progress().report(100, "last");
        done()
    });
    let _worker = world.start("w1", handler);
    let job = world.submit().await;
    let end = world.end(job).await;
    let last = end.data.progress.unwrap();
    assert_eq!((last.percent, last.step.as_str()), (100, "last"));
    let mut seen = Vec::new();
    loop {
        let tick = next_tick(&mut ticks).await;
        let event = vmctl_core::event::Event::parse(&tick.body).unwrap();
        assert_eq!(event.event_type, EventType::Progress);
        assert_eq!(
            (event.subject, event.data.attempt, event.data.seq),
            (job, 1, 0)
        );
        let progress = event.data.progress.unwrap();
        seen.push((event.data.tick.unwrap(), progress.percent));
        if progress.percent >= 85 {
            break;
        }
    }
    // Two seconds at four a second.
    assert!((7..=9).contains(&seen.len()), "{seen:?}");
    assert!(
        seen.iter().zip(1..).all(|((number, _), n)| *number == n),
        "{seen:?}"
    );
    // Progress is no part of the log.
    assert_eq!(world.words(job), ["submitted", "started", "succeeded"]);
    assert_eq!(
        world.store.get(job).await.unwrap().record.unwrap().state(),
        Some(JobState::Succeeded)
    );
}

#[tokio::test(start_paused = true)]
async fn lines_travel_together_and_the_last_ones_come_before_the_end() {
    let world = World::new().await;
    let mut ticks = world
        .bus
        .consumer
        .subscribe(vmctl_core::bus::Feed::Ticks, "test")
        .await
        .unwrap();
    let handler = Script::new(|ctx: Ctx| async move {
        ctx.log("one\ntwo");
        tokio::time::sleep(Duration::from_secs(1)).await;
        ctx.log("three");
        ctx.log_sink().write(vmctl_core::LogStream::Stderr, "last");
        done()
    });
    let _worker = world.start("w1", handler);
    let job = world.submit().await;
    world.end(job).await;
    let mut batches = Vec::new();
    for _ in 0..2 {
        let tick = next_tick(&mut ticks).await;
        assert_eq!(tick.routing_key, "tick.vm.create.log");
        let event = vmctl_core::event::Event::parse(&tick.body).unwrap();
        assert_eq!(event.event_type, EventType::Log);
        assert!(event.data.job.input.is_null(), "lines come without input");
        let data = event.data;
        assert_eq!((event.subject, data.attempt, data.seq), (job, 1, 0));
        let said: Vec<_> = data.lines.into_iter().map(|l| (l.n, l.text)).collect();
        batches.push(said);
    }
    let said = |n: u32, text: &str| (n, text.to_owned());
    assert_eq!(
        batches,
        [
            [said(1, "one"), said(2, "two")],
            [said(3, "three"), said(4, "last")]
        ]
    );
    assert_eq!(world.words(job), ["submitted", "started", "succeeded"]);
}
