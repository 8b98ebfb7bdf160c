//! When a job may start, how long an attempt may take, and what is done about a handler that is silent.

use std::{sync::Arc, time::Duration};

use crate::support::{Script, World, error, kind, vm_input};
use serde_json::{Value, json};
use vmctl_core::{
    JobId, JobState, clock,
    event::{Control, Event, EventType},
    kinds::Registry,
    partition::Partition,
    store::{FoldStore as _, PartitionBatch, Position},
};
use vmctl_worker::{BuildError, CancelReason, Config, Ctx, Outcome, Worker};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn command(world: &World, change: impl FnOnce(&mut Event)) -> Event {
    let mut command = world.command(kind(), vm_input());
    change(&mut command);
    command
}

/// A command as the server schedules it.
fn scheduled(world: &World, ahead: Duration) -> Event {
    let run_at = clock::add(world.clock.now(), ahead);
    command(world, |c| {
        c.data.not_before = Some(run_at);
        c.data.job.run_at = Some(run_at);
        c.data.job.deadline = clock::add(run_at, seconds(3600));
    })
}

/// Publishes it where the server does.
async fn publish(world: &World, command: &Event) -> JobId {
    let message = command.to_due_message(world.clock.now());
    world.bus.publisher.publish(message).await.unwrap();
    command.subject
}

/// Moves the view to a mark of now, as a reader does.
async fn mark(world: &World, job: JobId) {
    // What the world folds itself comes before, or it would find another position.
    while world.state(job).await.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let partition = Partition::of(job);
    let states = vmctl_core::store::JobStore::partitions(&world.store)
        .await
        .unwrap();
    let expected = states[partition.index()].position.clone();
    let batch = PartitionBatch {
        partition,
        position: Position {
            offset: expected.as_ref().map_or(0, |p| p.offset + 1),
            id: vmctl_core::store::no_id(),
        },
        expected,
        facts: Vec::new(),
        steps: Vec::new(),
        marks: vec![("s1".to_owned(), world.clock.now())],
        bad: Vec::new(),
        first_time: None,
    };
    world
        .store
        .fold(vec![batch], world.clock.now())
        .await
        .unwrap();
}

fn error_type(event: &Event) -> String {
    event.data.error.as_ref().unwrap().error_type.clone()
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_job_runs_when_it_is_due_and_the_view_is_there() {
    let world = World::new().await;
    let handler = Script::busy(Duration::ZERO);
    let _worker = world.start("w1", handler.clone());
    let command = scheduled(&world, seconds(7200));
    let job = publish(&world, &command).await;
    // Without a mark from shortly before, nobody can say that it was not cancelled.
    tokio::time::sleep(seconds(7300)).await;
    assert_eq!(handler.runs(), 0);
    assert_eq!(world.state(job).await, Some(JobState::Queued));
    mark(&world, job).await;
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Succeeded);
    let late = command.data.job.run_at.unwrap().duration_until(end.time);
    assert!((100.0..120.0).contains(&late.as_secs_f64()), "{late}");
    let keys: Vec<_> = world.log().into_iter().map(|s| s.routing_key).collect();
    assert_eq!(keys[0], "delay.1h.job.vm.create");
    world.settled().await;
}

/// What is put aside comes back as if it were new: it must not be taken for a copy of the run that was
/// lost, or nobody would ever do the job.
#[tokio::test(start_paused = true)]
async fn a_lost_run_that_was_put_aside_is_no_copy() {
    let world = World::new().await;
    let handler = Script::new(|_| async {
        tokio::time::sleep(seconds(60)).await;
        Outcome::Done(Value::Null)
    });
    let first = world.start("w1", handler.clone());
    let command = scheduled(&world, seconds(20));
    let job = publish(&world, &command).await;
    mark(&world, job).await;
    world.event(job, EventType::Started).await;
    world.store.set_down(true);
    first.kill().await;
    let _second = world.start("w2", handler.clone());
    // Without the view nobody can tell whether it may be entered.
    tokio::time::sleep(seconds(5)).await;
    assert_eq!(handler.runs(), 1);
    world.store.set_down(false);
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Succeeded);
    assert_eq!(handler.runs(), 2);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_ended_before_it_was_due_is_never_entered() {
    let world = World::new().await;
    let handler = Script::busy(Duration::ZERO);
    let command = scheduled(&world, seconds(2 * 86_400));
    let job = publish(&world, &command).await;
    let mut end = command.clone();
    end.id = clock::new_uuid(&*world.clock);
    end.event_type = EventType::Cancelled;
    end.data.state = JobState::Cancelled;
    end.time = world.clock.now();
    world.publish(&end).await;
    world.end(job).await;
    let _worker = world.start("w1", handler.clone());
    // Longer than an ended job is remembered otherwise.
    tokio::time::sleep(seconds(2 * 86_400 + 60)).await;
    assert_eq!(world.state(job).await, Some(JobState::Cancelled));
    assert_eq!(handler.runs(), 0);
    world.settled().await;
    for tier in ["1s", "15m", "1h", "6h"] {
        assert_eq!(world.ready(&format!("jobs.delay.{tier}")).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_cancel_ends_a_delayed_job_at_its_next_hop() {
    let world = World::new().await;
    let handler = Script::busy(Duration::ZERO);
    let _worker = world.start("w1", handler.clone());
    let job = publish(&world, &scheduled(&world, seconds(90))).await;
    world.event(job, EventType::Submitted).await;
    world.cancel(job, "not needed").await;
    let end = world.end(job).await;
    // A hop of a minute, and not the half minute that was left.
    assert_eq!(end.event_type, EventType::Cancelled);
    assert_eq!(end.data.reason.as_deref(), Some("not needed"));
    let waited = world.events(job)[0].time.duration_until(end.time);
    assert!(waited.as_secs_f64() < 62.0, "{waited}");
    assert_eq!(handler.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_a_job_that_waits_for_its_next_attempt() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        if ctx.cancel().is_cancelled() {
            return Outcome::Cancelled;
        }
        Outcome::Retry {
            after: Some(seconds(100)),
            error: error("unlucky"),
        }
    });
    let _worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    let retry = world.event(job, EventType::Retry).await;
    world.cancel(job, "enough").await;
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Cancelled);
    assert_eq!(handler.runs(), 2);
    let waited = retry.time.duration_until(end.time).as_secs_f64();
    assert!(waited < 62.0, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_nobody_has_logged_cancels_nothing() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        tokio::select! {
            () = ctx.cancel().cancelled() => Outcome::Cancelled,
            () = tokio::time::sleep(seconds(30)) => Outcome::Done(serde_json::Value::Null),
        }
    });
    let _worker = world.start("w1", handler.clone());
    let forged = async |job_id| {
        let control = Control::Cancel {
            job_id,
            epoch: 0,
            reason: Some("forged".to_owned()),
        };
        world.bus.publisher.broadcast(control).await.unwrap();
    };
    let running = world.submit().await;
    world.event(running, EventType::Started).await;
    forged(running).await;
    // Heard before the command comes.
    let later = clock::add(world.clock.now(), seconds(20));
    let later = command(&world, |c| c.data.not_before = Some(later));
    let delayed = publish(&world, &later).await;
    world.event(delayed, EventType::Submitted).await;
    forged(delayed).await;
    for job in [running, delayed] {
        assert_eq!(world.end(job).await.event_type, EventType::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn t12_cancel_with_all_workers_down_then_start_one() {
    let world = World::new().await;
    let handler = Script::busy(Duration::ZERO);
    let job = world.submit().await;
    world.event(job, EventType::Submitted).await;
    world.cancel(job, "not needed").await;
    assert_eq!(world.state(job).await, Some(JobState::Queued));
    // The broadcast found nobody; what counts is in the log and in the view.
    let _worker = world.start("w1", handler.clone());
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Cancelled);
    assert_eq!(end.data.reason.as_deref(), Some("not needed"));
    assert_eq!(handler.runs(), 0);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_could_start_in_time_is_not_started_later() {
    let world = World::new().await;
    let handler = Script::busy(Duration::ZERO);
    let start_by = clock::add(world.clock.now(), seconds(10));
    let late = command(&world, |c| c.data.job.start_by = Some(start_by));
    let job = world.publish(&late).await;
    tokio::time::sleep(seconds(11)).await;
    let _worker = world.start("w1", handler.clone());
    let end = world.end(job).await;
    assert_eq!(end.event_type, EventType::Deadline);
    assert_eq!(error_type(&end), "start-deadline");
    assert_eq!(handler.runs(), 0);
    assert_eq!(world.ready("jobs.dead").await, 0);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_started_job_does_not_say_that_it_was_not_started() {
    let world = World::new().await;
    let handler = Script::busy(seconds(100));
    let _worker = world.start("w1", handler.clone());
    let start_by = clock::add(world.clock.now(), seconds(10));
    let first = command(&world, |c| c.data.job.start_by = Some(start_by));
    let job = world.publish(&first).await;
    world.event(job, EventType::Started).await;
    tokio::time::sleep(seconds(20)).await;
    world.publish(&first).await;
    assert_eq!(world.end(job).await.event_type, EventType::Succeeded);
    assert_eq!(handler.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_over_its_slices_is_tried_again() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        if ctx.attempt() == 2 {
            return Outcome::Done(Value::Null);
        }
        tokio::time::sleep(seconds(8)).await;
        Outcome::Continue {
            after: seconds(5),
            checkpoint: json!("half"),
        }
    });
    let _worker = world.start("w1", handler.clone());
    let limited = command(&world, |c| c.data.job.attempt_timeout = Some(30));
    let job = world.publish(&limited).await;
    let end = world.end(job).await;
    assert_eq!(
        (end.event_type, end.data.attempt),
        (EventType::Succeeded, 2)
    );
    let retry = world.event(job, EventType::Retry).await;
    assert_eq!(error_type(&retry), "attempt-timeout");
    let continued = world.event(job, EventType::Continued).await;
    let started = world.event(job, EventType::Started).await;
    let until = continued.data.attempt_until.unwrap();
    let whole = started.time.duration_until(until).as_secs_f64();
    assert!((29.9..30.1).contains(&whole), "{whole}");
    let late = until.duration_until(retry.time).as_secs_f64();
    assert!((0.0..6.0).contains(&late), "{late}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_not_longer_because_its_next_slice_would_come_late() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        if ctx.attempt() == 2 {
            return Outcome::Done(Value::Null);
        }
        Outcome::Continue {
            after: seconds(3000),
            checkpoint: json!("half"),
        }
    });
    let _worker = world.start("w1", handler.clone());
    let limited = command(&world, |c| c.data.job.attempt_timeout = Some(30));
    let job = world.publish(&limited).await;
    let retry = world.event(job, EventType::Retry).await;
    assert_eq!(error_type(&retry), "attempt-timeout");
    let waited = world.events(job)[0].time.duration_until(retry.time);
    assert!((30.0..32.0).contains(&waited.as_secs_f64()), "{waited}");
    assert_eq!(world.end(job).await.event_type, EventType::Succeeded);
}

/// Runs one handler under a command, and returns the retry that it came to and why it was told to stop.
async fn stopped(
    change: impl FnOnce(&mut Event),
    silent: Duration,
    listens: bool,
) -> (Event, Option<CancelReason>, Duration) {
    let world = World::new().await;
    let heard = tokio::sync::watch::Sender::new(None);
    let tell = heard.clone();
    let handler = Script::new(move |ctx: Ctx| {
        let tell = tell.clone();
        async move {
            if ctx.attempt() > 1 {
                return Outcome::Done(Value::Null);
            }
            let stop = ctx.cancel().clone();
            if listens {
                let _ = tokio::time::timeout(silent, stop.cancelled()).await;
                tell.send_replace(ctx.cancel_reason().cloned());
                return Outcome::Cancelled;
            }
            tokio::time::sleep(silent).await;
            Outcome::Done(Value::Null)
        }
    });
    let _worker = world.start("w1", handler);
    let job = world.publish(&command(&world, change)).await;
    let retry = world.event(job, EventType::Retry).await;
    let started = world.event(job, EventType::Started).await;
    let waited = started.time.duration_until(retry.time);
    assert_eq!(world.end(job).await.data.attempt, 2);
    let heard = heard.borrow().clone();
    (retry, heard, Duration::try_from(waited).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_silent_handler_is_told_then_stopped_then_tried_again() {
    let stall = |c: &mut Event| c.data.job.stall_after = Some(20);
    let (retry, heard, waited) = stopped(stall, seconds(1000), true).await;
    assert_eq!(error_type(&retry), "stalled");
    assert_eq!(heard, Some(CancelReason::Stalled));
    assert_eq!(waited.as_secs(), 20);
    let (retry, _, waited) = stopped(stall, seconds(1000), false).await;
    assert_eq!(error_type(&retry), "stalled");
    assert_eq!(waited.as_secs(), 25);
    let limit = |c: &mut Event| c.data.job.attempt_timeout = Some(20);
    let (retry, heard, waited) = stopped(limit, seconds(1000), true).await;
    assert_eq!(error_type(&retry), "attempt-timeout");
    assert_eq!(heard, Some(CancelReason::AttemptTimeout));
    assert_eq!(waited.as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn whoever_reports_or_says_that_it_is_alive_has_not_stalled() {
    for reports in [true, false] {
        let world = World::new().await;
        let handler = Script::new(move |ctx: Ctx| async move {
            // The sink may be kept: a provisioner does.
            let sink = ctx.progress().clone();
            for n in 0..20 {
                tokio::time::sleep(seconds(15)).await;
                if reports {
                    sink.report(n, "slow");
                } else {
                    ctx.alive();
                }
            }
            Outcome::Done(Value::Null)
        });
        let _worker = world.start("w1", handler.clone());
        let watched = command(&world, |c| c.data.job.stall_after = Some(20));
        let job = world.publish(&watched).await;
        assert_eq!(world.end(job).await.event_type, EventType::Succeeded);
        assert_eq!(handler.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_of_errors_has_its_own_attempts() {
    let directory = tempfile::tempdir().unwrap();
    let policy = "[retry]\nmax_attempts = 5\nbackoff = [\"1s\"]\n\
        [[retry.on]]\nerror = \"provider-quota\"\nnever = true\n\
        [[retry.on]]\nerror = \"provider-*\"\nmax_attempts = 2\nbackoff = [\"30s\"]\n";
    let text = format!(
        "kind = \"vm.create\"\nsummary = \"x\"\nrequired_role = \"member\"\n{policy}[input_schema]\n"
    );
    std::fs::write(directory.path().join("vm.toml"), text).unwrap();
    let registry = Arc::new(Registry::with_directory(directory.path()).unwrap());
    for (word, attempts) in [("provider-quota", 1), ("provider-down", 2), ("other", 5)] {
        let mut world = World::new().await;
        world.registry = registry.clone();
        let fails = move |_| async move {
            Outcome::Retry {
                after: None,
                error: error(word),
            }
        };
        let handler = Script::new(fails);
        let _worker = world.start("w1", handler.clone());
        let job = world.submit().await;
        let end = world.end(job).await;
        assert_eq!(handler.runs(), attempts, "{word}");
        assert_eq!(
            (end.data.attempt, error_type(&end)),
            (attempts, word.to_owned())
        );
        assert_eq!(world.ready("jobs.dead").await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_slices_outlast_the_broker_is_not_built() {
    let world = World::new().await;
    let build = |slice_limit, ack_timeout| {
        let config = Config {
            slice_limit: seconds(slice_limit),
            ack_timeout: seconds(ack_timeout),
            ..Config::new("w1")
        };
        let handler = Arc::new(Script::busy(Duration::ZERO));
        let builder = Worker::builder(config, world.backends());
        builder.handler(kind(), handler).build().map(drop)
    };
    assert!(build(1500, 1800).is_ok());
    let refused = build(1501, 1800).unwrap_err();
    assert!(
        matches!(refused, BuildError::SliceTooLong { .. }),
        "{refused}"
    );
    assert!(build(600, 899).is_err());
}
