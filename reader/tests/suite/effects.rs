//! What follows the end of a job, on memory backends.
use std::{collections::BTreeSet, time::Duration};

use crate::support::{
    World,
    killing::{Step, Trap},
    until,
};
use proptest::prelude::*;
use serde_json::json;
use vmctl_core::{
    JobId, JobState,
    bus::LogStart,
    callback::{self, DeliveryInput},
    event::{Event, EventType, JobSpec},
    memory::bus::ConfirmFailure,
    store::JobStore as _,
    topology::{EXCHANGE_JOBS, QUEUE_EFFECTS, QUEUE_REPORTS},
};

/// The ends that something may follow.
const ENDS: [(EventType, JobState); 4] = [
    (EventType::Succeeded, JobState::Succeeded),
    (EventType::Failed, JobState::Failed),
    (EventType::Cancelled, JobState::Cancelled),
    (EventType::Deadline, JobState::Failed),
];

fn with_callback(world: &World) -> JobSpec {
    let callback = json!({"url": "https://receiver.example/hook"});
    JobSpec {
        callback: serde_json::from_value(callback).unwrap(),
        ..world.job()
    }
}

/// Everything that was published to the log so far as a delivery, and how many copies of each.
async fn deliveries(world: &World) -> Vec<Event> {
    // A mark of its own time, to know where to stop.
    world.clock.advance(Duration::from_millis(1));
    let mark = world.mark().await;
    let mut reader = world.bus.log.read(LogStart::First).await.unwrap();
    let mut found = Vec::new();
    loop {
        for entry in reader.next_batch(100).await.unwrap() {
            let message = entry.message;
            if message.exchange != EXCHANGE_JOBS {
                continue;
            }
            if message.message_type.as_deref() == Some(vmctl_core::event::MARK_TYPE) {
                if vmctl_core::event::Mark::parse(&message.body).unwrap().time == mark {
                    return found;
                }
                continue;
            }
            let event = Event::parse(&message.body);
            found.extend(
                event
                    .ok()
                    .filter(|e| e.data.job.kind.as_str() == callback::KIND),
            );
        }
    }
}

/// Waits until every end was followed and acked.
async fn until_followed(world: &World) {
    until("no end waits", async || {
        let stats = world.bus.admin.inspect(QUEUE_EFFECTS).await.unwrap();
        stats.unwrap().ready == 0
    })
    .await;
}

fn ids(events: &[Event]) -> BTreeSet<JobId> {
    events.iter().map(|event| event.subject).collect()
}

#[tokio::test(start_paused = true)]
async fn every_end_of_a_job_with_a_callback_is_followed_by_its_delivery() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut expected = BTreeSet::new();
    for (event_type, state) in ENDS {
        world.end(&world.job(), event_type, state).await;
        let job = with_callback(&world);
        world
            .say(&job, EventType::Submitted, JobState::Queued)
            .await;
        world.end(&job, event_type, state).await;
        let delivery = callback::delivery_id(job.id, 0);
        world.until(delivery, JobState::Queued).await;
        expected.insert(delivery);
    }
    until_followed(&world).await;
    let found = deliveries(&world).await;
    assert_eq!(ids(&found), expected);
    let words: Vec<_> = found
        .iter()
        .map(|event| {
            let input: DeliveryInput =
                serde_json::from_value(event.data.job.input.clone()).unwrap();
            assert_eq!(event.data.job.max_attempts, 10);
            input.event["type"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        words,
        [
            "jobs.succeeded.v1",
            "jobs.failed.v1",
            "jobs.cancelled.v1",
            "jobs.deadline.v1"
        ]
    );
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_an_end_that_is_not_believed() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = with_callback(&world);
    world
        .say(&job, EventType::Submitted, JobState::Queued)
        .await;
    world
        .say(&job, EventType::Succeeded, JobState::Succeeded)
        .await;
    let delivery = callback::delivery_id(job.id, 0);
    let in_hand = async || {
        let stats = world.bus.admin.inspect(QUEUE_EFFECTS).await.unwrap();
        stats.unwrap().ready
    };
    until("the forged end is taken", async || in_hand().await == 0).await;
    for _ in 0..30 {
        world.clock.advance(Duration::from_secs(1));
        world.mark().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.state(delivery).await, None);
    // The true end is told.
    world.end(&job, EventType::Failed, JobState::Failed).await;
    world.until(delivery, JobState::Queued).await;
    let told = &deliveries(&world).await[0].data.job.input["event"]["type"];
    assert_eq!(told, "jobs.failed.v1");
    reader.stop().await;
    assert_eq!(in_hand().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_the_broker_gave_up_is_followed_too() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = with_callback(&world);
    world
        .say(&job, EventType::Submitted, JobState::Queued)
        .await;
    let mut work = world
        .bus
        .consumer
        .consume("work.vm.create", 1)
        .await
        .unwrap();
    work.next().await.unwrap().reject().await.unwrap();
    let delivery = callback::delivery_id(job.id, 0);
    world.until(delivery, JobState::Queued).await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_nothing_can_follow_is_acked() {
    let world = World::new().await;
    let mut broken = world
        .event(&with_callback(&world), EventType::Failed, JobState::Failed)
        .to_message();
    broken.body = "not JSON".into();
    world.bus.publisher.publish(broken).await.unwrap();
    // A copy of a delivery's own end, and an epoch of its own for each run.
    let mut again = world.event(&with_callback(&world), EventType::Failed, JobState::Failed);
    again.data.epoch = 3;
    world.publish(&again).await;
    world.publish(&again).await;
    let reader = world.start("r1");
    let delivery = callback::delivery_id(again.subject, 3);
    world.until(delivery, JobState::Queued).await;
    until_followed(&world).await;
    assert_eq!(ids(&deliveries(&world).await), BTreeSet::from([delivery]));
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_waits_for_its_confirm() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = with_callback(&world);
    // Not before the reader consumes: its own publish is the next one to lose its confirm.
    until("the reader consumes", async || {
        let stats = world.bus.admin.inspect(QUEUE_EFFECTS).await.unwrap();
        stats.unwrap().consumers == 1
    })
    .await;
    let end = world.event(&job, EventType::Succeeded, JobState::Succeeded);
    world.broker.fail_next_confirms(2, ConfirmFailure::Nacked);
    let refused = world.bus.publisher.publish(end.to_message()).await;
    assert!(refused.is_err());
    let delivery = callback::delivery_id(job.id, 0);
    world.until(delivery, JobState::Queued).await;
    until("the delivery was published again", async || {
        let found = deliveries(&world).await;
        assert_eq!(ids(&found), BTreeSet::from([delivery]));
        found.len() == 2
    })
    .await;
    until_followed(&world).await;
    reader.stop().await;
}

/// Starts a reader and kills it at one step. Says whether it came that far.
async fn kill_at(world: &World, queue: &'static str, (step, after): (Step, usize)) -> bool {
    let trap = Trap::new(queue, step, after);
    let reader = world.start_on("killed", trap.around(&world.bus));
    // A trap that needs more ends than are left does not spring.
    let sprung = tokio::time::timeout(Duration::from_secs(30), trap.sprung.notified());
    let sprung = sprung.await.is_ok();
    reader.kill();
    // The partitions of the dead are free.
    world.clock.advance(Duration::from_secs(60));
    sprung
}

/// Runs readers that are killed, each at one step, then one that lives; checks that each delivery is one
/// job. Returns how many were killed at their step.
async fn killed_at(jobs: &[bool], traps: &[(Step, usize)]) -> usize {
    let world = World::new().await;
    let mut expected = BTreeSet::new();
    for (n, has_callback) in jobs.iter().enumerate() {
        let job = if *has_callback {
            with_callback(&world)
        } else {
            world.job()
        };
        let (event_type, state) = ENDS[n % ENDS.len()];
        world.say(&job, event_type, state).await;
        if *has_callback {
            expected.insert(callback::delivery_id(job.id, 0));
        }
    }
    let mut killed = 0;
    for trap in traps {
        killed += usize::from(kill_at(&world, QUEUE_EFFECTS, *trap).await);
    }
    let reader = world.start("survivor");
    // What came last is followed last.
    let last = with_callback(&world);
    world
        .say(&last, EventType::Succeeded, JobState::Succeeded)
        .await;
    expected.insert(callback::delivery_id(last.id, 0));
    for id in &expected {
        world.until(*id, JobState::Queued).await;
    }
    let found = deliveries(&world).await;
    assert_eq!(ids(&found), expected);
    // Copies are copies: the same message id, so that everybody absorbs them.
    let messages: BTreeSet<_> = found.iter().map(|event| event.id).collect();
    assert_eq!(messages.len(), expected.len());
    reader.stop().await;
    // And everything was acked: nothing has come back.
    until_followed(&world).await;
    killed
}

#[tokio::test(start_paused = true)]
async fn effects_killed_between_any_two_steps_happen_once() {
    for step in Step::ALL {
        assert_eq!(killed_at(&[true], &[(step, 0)]).await, 1, "{step:?}");
        let traps = [(step, 1), (step, 0)];
        let killed = killed_at(&[true, false, true], &traps).await;
        assert!(killed > 0, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_whose_reader_is_killed_between_any_two_steps_counts_once() {
    for step in Step::ALL {
        let world = World::new().await;
        let job = world.submit().await;
        let reader = world.start("first");
        world.until(job.id, JobState::Queued).await;
        reader.stop().await;
        let report = json!({"uuid": job.id, "state": "SUCCESSFULL", "output": {"ip": "192.0.2.1"}});
        world.publish_report(report.to_string().into_bytes()).await;
        assert!(kill_at(&world, QUEUE_REPORTS, (step, 0)).await, "{step:?}");
        let reader = world.start("survivor");
        world.until(job.id, JobState::Succeeded).await;
        until("the report is done with", async || {
            world.clock.advance(Duration::from_secs(1));
            world.mark().await;
            let stats = world.bus.admin.inspect(QUEUE_REPORTS).await.unwrap();
            stats.unwrap().ready == 0
        })
        .await;
        let story = world.store.story(job.id).await.unwrap();
        let words: Vec<_> = story
            .history
            .into_iter()
            .map(|e| e.event.event_type)
            .collect();
        assert_eq!(words, ["submitted", "started", "succeeded"], "{step:?}");
        reader.stop().await;
    }
}

/// What wakes may be lost, and then the job looks by itself; whatever comes is its own command.
#[tokio::test(start_paused = true)]
async fn a_parent_whose_reader_is_killed_between_any_two_steps_goes_on() {
    for step in Step::ALL {
        let world = World::new().await;
        let reader = world.start("first");
        let parent = crate::support::waiting(&world, Duration::from_secs(15), &["a"]).await;
        world.until(parent.subject, JobState::Waiting).await;
        reader.stop().await;
        let child = crate::support::child(&world, &parent, "a");
        world
            .say(&child, EventType::Succeeded, JobState::Succeeded)
            .await;
        assert!(kill_at(&world, QUEUE_EFFECTS, (step, 0)).await, "{step:?}");
        let reader = world.start("survivor");
        let consumer = &world.bus.consumer;
        let mut work = consumer.consume("work.vm.create", 9).await.unwrap();
        let mut commands = 0;
        while let Ok(delivery) = tokio::time::timeout(Duration::from_secs(30), work.next()).await {
            let delivery = delivery.unwrap();
            let command = Event::parse(&delivery.message.body).unwrap();
            assert_eq!(command.id, parent.id);
            delivery.ack().await.unwrap();
            commands += 1;
        }
        assert!(commands > 0, "{step:?}");
        until_followed(&world).await;
        reader.stop().await;
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop::sample::select(Step::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn effects_killed_at_any_steps_in_a_row_happen_once(
        jobs in prop::collection::vec(any::<bool>(), 1..12),
        traps in prop::collection::vec((step(), 0_usize..8), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async { killed_at(&jobs, &traps).await });
    }
}
