//! What each outcome of a handler becomes on the bus, and how it is numbered.

use std::time::Duration;

use crate::support::{Script, World, error, kind, vm_input};
use serde_json::{Value, json};
use vmctl_core::{
    JobState, clock,
    event::EventType,
    retry::{Failed, Verdict},
};
use vmctl_worker::{Ctx, Outcome};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn done_is_started_once_and_succeeds() {
    let world = World::new().await;
    let _worker = world.start(
        "w1",
        Script::new(|_| async { Outcome::Done(json!({"n": 1})) }),
    );
    let mut command = world.command(kind(), vm_input());
    command.traceparent =
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    command.extra.insert("newer".to_owned(), json!(1));
    command.data.extra.insert("newer".to_owned(), json!([2]));
    command
        .data
        .job
        .extra
        .insert("newer".to_owned(), json!({"a": 3}));
    let job = world.publish(&command).await;

    let end = world.end(job).await;
    assert_eq!(world.words(job), ["submitted", "started", "succeeded"]);
    assert_eq!(end.data.output, Some(json!({"n": 1})));
    assert_eq!(end.data.worker.as_deref(), Some("w1"));
    assert_eq!(end.source, "/worker/w1");
    let started = &world.events(job)[1];
    assert_eq!(started.data.state, JobState::Running);
    assert_eq!((started.data.seq, started.data.command_seq), (0, Some(0)));
    for event in world.events(job) {
        assert_eq!(event.traceparent, command.traceparent);
        assert_eq!(event.extra, command.extra);
        assert_eq!(event.data.extra, command.data.extra);
        assert_eq!(event.data.job, command.data.job);
    }
    world.settled().await;
}

/// Goes on `times` times, `after` this long, and is done.
fn slices(times: u64, after: Duration) -> Script {
    Script::new(move |ctx: Ctx| async move {
        let n = ctx.checkpoint::<u64>().unwrap_or(0);
        ctx.progress()
            .report(u8::try_from(n * 10).unwrap(), "slice");
        if n == times {
            return Outcome::Done(json!(n));
        }
        Outcome::Continue {
            after,
            checkpoint: json!(n + 1),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn continue_keeps_the_attempt_and_counts_the_slices() {
    let world = World::new().await;
    let handler = slices(3, Duration::ZERO);
    let _worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    let end = world.end(job).await;
    assert_eq!(
        world.words(job),
        [
            "submitted",
            "started",
            "continued",
            "continued",
            "continued",
            "succeeded"
        ]
    );
    let continued: Vec<_> = world.events(job)[2..5].to_vec();
    for (n, event) in continued.iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        assert_eq!((event.data.attempt, event.data.seq), (1, n + 1));
        assert_eq!(event.data.state, JobState::Running);
        assert_eq!(event.data.checkpoint, Some(json!(n + 1)));
        assert_eq!(event.data.not_before, None);
        assert_eq!(
            event.data.progress.as_ref().map(|p| u32::from(p.percent)),
            Some(n * 10)
        );
    }
    assert_eq!((end.data.attempt, end.data.seq), (1, 3));
    assert_eq!(handler.runs(), 4);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_slice_that_is_to_come_later_passes_the_delay_tiers() {
    let world = World::new().await;
    let _worker = world.start("w1", slices(1, seconds(23)));
    let job = world.submit().await;
    let end = world.end(job).await;
    let waited = clock_seconds(&world.events(job)[0], &end);
    assert!((23.0..23.5).contains(&waited), "{waited}");
    let keys: Vec<_> = world.log().into_iter().map(|s| s.routing_key).collect();
    assert_eq!(
        keys[2..6],
        [
            "delay.15s.job.vm.create",
            "delay.5s.job.vm.create",
            "delay.1s.job.vm.create",
            "delay.1s.job.vm.create",
        ]
    );
    // One and the same command on every hop, so that no view takes it for several.
    assert_eq!(world.log()[2].message_id, world.log()[5].message_id);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn less_than_a_second_is_waited_for_in_place() {
    let world = World::new().await;
    let _worker = world.start("w1", slices(1, Duration::from_millis(700)));
    let job = world.submit().await;
    let end = world.end(job).await;
    let waited = clock_seconds(&world.events(job)[0], &end);
    assert!((0.7..0.8).contains(&waited), "{waited}");
    assert_eq!(world.words(job).len(), 4);
}

fn clock_seconds(from: &vmctl_core::event::Event, to: &vmctl_core::event::Event) -> f64 {
    from.time.duration_until(to.time).as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn attempts_back_off_and_end_in_the_dead_queue() {
    let world = World::new().await;
    let handler = Script::new(|_| async {
        Outcome::Retry {
            after: None,
            error: error("unlucky"),
        }
    });
    let _worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    let end = world.end(job).await;

    assert_eq!(handler.runs(), 5);
    let retries: Vec<_> = world
        .events(job)
        .into_iter()
        .filter(|e| e.event_type == EventType::Retry)
        .collect();
    // A command that passes a tier is in the log once for each hop.
    let mut ids: Vec<_> = retries.iter().map(|e| e.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    for retry in &retries {
        assert_eq!((retry.data.state, retry.data.seq), (JobState::Retrying, 0));
        let error = retry.data.error.as_ref().unwrap();
        assert_eq!(error.attempt, Some(retry.data.attempt - 1));
        assert_eq!(error.worker.as_deref(), Some("w1"));
    }
    let starts = world.words(job).iter().filter(|w| **w == "started").count();
    assert_eq!(starts, 5);
    let waited = clock_seconds(&world.events(job)[0], &end);
    // 1 s, 5 s, 15 s and 1 min, as the kind says, and up to a fifth more.
    let spec = world.registry.get(&kind()).unwrap();
    let after = |attempt| {
        let failed = Failed {
            job,
            epoch: 0,
            attempt,
            max_attempts: 5,
            error_type: "unlucky",
        };
        match spec.retry.after(failed) {
            Verdict::Again(wait) => wait,
            Verdict::GiveUp => panic!("given up after {attempt}"),
        }
    };
    let planned: Duration = (1..=4).map(after).sum();
    assert!((81.0..97.2).contains(&planned.as_secs_f64()), "{planned:?}");
    let late = waited - planned.as_secs_f64();
    // Each is cut to the millisecond.
    assert!((-0.004..1.0).contains(&late), "{waited} for {planned:?}");

    assert_eq!((end.event_type, end.data.attempt), (EventType::Failed, 5));
    assert_eq!(end.data.error.as_ref().unwrap().error_type, "unlucky");
    assert_eq!(end.data.job.input, vm_input());
    assert_eq!(world.log().last().unwrap().routing_key, "dead.vm.create");
    assert_eq!(world.ready("jobs.dead").await, 1);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_the_checkpoint_that_the_attempt_started_from() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        match (ctx.checkpoint::<String>(), ctx.attempt()) {
            (None, _) => Outcome::Continue {
                after: Duration::ZERO,
                checkpoint: json!("half"),
            },
            (Some(_), 1) => Outcome::Retry {
                after: Some(seconds(1)),
                error: error("unlucky"),
            },
            (Some(at), n) => Outcome::Done(json!([at, n])),
        }
    });
    let _worker = world.start("w1", handler);
    let job = world.submit().await;
    assert_eq!(world.end(job).await.data.output, Some(json!(["half", 2])));
}

#[tokio::test(start_paused = true)]
async fn fail_ends_the_job_at_once_with_its_whole_command() {
    let world = World::new().await;
    let handler = Script::new(|_| async { Outcome::Fail(error("hopeless")) });
    let _worker = world.start("w1", handler.clone());
    let mut command = world.command(kind(), vm_input());
    command.data.checkpoint = Some(json!({"at": 1}));
    let job = world.publish(&command).await;
    let end = world.end(job).await;
    assert_eq!(handler.runs(), 1);
    assert_eq!(end.event_type, EventType::Failed);
    assert_eq!(end.data.checkpoint, command.data.checkpoint);
    assert_eq!(end.data.job, command.data.job);
    assert_eq!(world.ready("jobs.dead").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_attempt_and_its_text_stays_inside() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        assert!(ctx.attempt() > 1, "secret-canary");
        Outcome::Done(Value::Null)
    });
    let _worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    let end = world.end(job).await;
    assert_eq!(
        (end.event_type, end.data.attempt),
        (EventType::Succeeded, 2)
    );
    let retry = world.event(job, EventType::Retry).await;
    assert_eq!(retry.data.error.as_ref().unwrap().error_type, "panic");
    let told = format!("{:?}", world.events(job));
    assert!(!told.contains("canary"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_does_not_fit_a_message_fails_the_job() {
    let world = World::new().await;
    let big = |_| async { Outcome::Done(json!("x".repeat(300 * 1024))) };
    let _worker = world.start("w1", Script::new(big));
    let job = world.submit().await;
    let end = world.end(job).await;
    assert_eq!(end.data.error.unwrap().error_type, "outcome-too-large");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_ends_is_stopped() {
    let world = World::new().await;
    let handler = Script::new(|ctx: Ctx| async move {
        if ctx.attempt() == 1 {
            std::future::pending::<()>().await;
        }
        Outcome::Done(Value::Null)
    });
    let _worker = world.start("w1", handler.clone());
    let job = world.submit().await;
    let end = world.end(job).await;
    assert_eq!(
        (end.event_type, end.data.attempt),
        (EventType::Succeeded, 2)
    );
    let retry = world.event(job, EventType::Retry).await;
    assert_eq!(retry.data.error.unwrap().error_type, "stalled");
    assert_eq!(handler.most(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_deadline_has_passed_never_starts() {
    let world = World::new().await;
    let handler = Script::busy(Duration::ZERO);
    let mut command = world.command(kind(), vm_input());
    command.data.job.deadline = clock::add(world.clock.now(), seconds(2));
    command.data.not_before = Some(clock::add(world.clock.now(), seconds(600)));
    let job = world.publish(&command).await;
    let _worker = world.start("w1", handler.clone());
    let end = world.end(job).await;
    assert_eq!(handler.runs(), 0);
    assert_eq!(
        (end.event_type, end.data.state),
        (EventType::Deadline, JobState::Failed)
    );
    assert_eq!(end.data.error.unwrap().error_type, "deadline");
    // It ends at its deadline, not when it would have been due.
    let late = command
        .data
        .job
        .deadline
        .duration_until(end.time)
        .as_secs_f64();
    assert!((0.0..1.0).contains(&late), "{late}");
    assert_eq!(world.ready("jobs.dead").await, 0);
    world.settled().await;
}

async fn at_its_deadline(handler: Script) -> vmctl_core::event::Event {
    let world = World::new().await;
    let _worker = world.start("w1", handler);
    let mut command = world.command(kind(), vm_input());
    command.data.job.deadline = clock::add(world.clock.now(), seconds(30));
    let job = world.publish(&command).await;
    let end = world.end(job).await;
    world.settled().await;
    end
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_running_job_whether_it_listens_or_not() {
    let listens = Script::new(|ctx: Ctx| async move {
        ctx.cancel().cancelled().await;
        Outcome::Cancelled
    });
    for handler in [listens, Script::busy(seconds(3000))] {
        let end = at_its_deadline(handler).await;
        assert_eq!(end.event_type, EventType::Deadline);
        let detail = end.data.error.unwrap().detail.unwrap();
        assert!(detail.contains("machine, may remain"), "{detail}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_done_just_after_the_deadline_is_done() {
    let end = at_its_deadline(Script::busy(seconds(31))).await;
    assert_eq!(end.event_type, EventType::Succeeded);
}
