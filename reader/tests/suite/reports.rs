//! Flat reports of simple workers, on memory backends.
use std::time::Duration;

use crate::support::{World, until};
use serde_json::{Value, json};
use vmctl_core::{
    JobId, JobState,
    clock::{self, Clock as _, new_job_id},
    event::EventType,
    store::JobStore as _,
    topology::QUEUE_REPORTS,
};

/// Says it as a simple worker does: no id, no time, no type.
async fn report(world: &World, body: &Value) {
    world.publish_report(body.to_string().into_bytes()).await;
}

/// Publishes marks, as servers do, until the queue is empty; then stops the reader, which gives back
/// whatever it has not acked.
async fn all_read(world: &World, reader: crate::support::Running) {
    let ready = async || {
        let stats = world.bus.admin.inspect(QUEUE_REPORTS).await.unwrap();
        stats.unwrap().ready
    };
    let mut rounds = 0;
    until(
        "every report is taken, and a few marks passed",
        async || {
            world.clock.advance(Duration::from_secs(1));
            world.mark().await;
            rounds = if ready().await == 0 { rounds + 1 } else { 0 };
            rounds > 300
        },
    )
    .await;
    reader.stop().await;
    assert_eq!(ready().await, 0, "reports in hand");
}

async fn words(world: &World, id: JobId) -> Vec<String> {
    let story = world.store.story(id).await.unwrap();
    let entries = story.history.into_iter();
    entries.map(|entry| entry.event.event_type).collect()
}

#[tokio::test(start_paused = true)]
async fn a_flat_report_moves_its_job() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    // As the first workers did, with the whole machine.
    let inprogress = json!({"uuid": job.id, "state": "INPROGRESS", "vm_hostname": "lx1"});
    report(&world, &inprogress).await;
    world.until(job.id, JobState::Running).await;
    report(&world, &inprogress).await;
    let done = json!({"uuid": job.id, "state": "SUCCESSFULL", "output": {"ip": "192.0.2.1"},
        "worker": "seed"});
    report(&world, &done).await;
    world.until(job.id, JobState::Succeeded).await;
    // What ended does not begin again.
    report(&world, &inprogress).await;
    report(&world, &json!({"uuid": job.id, "state": "FAILED"})).await;
    all_read(&world, reader).await;
    assert_eq!(
        words(&world, job.id).await,
        ["submitted", "started", "succeeded"]
    );
    let shown = world.record(job.id).await.unwrap().to_job().unwrap();
    assert_eq!(shown.output.unwrap()["ip"], "192.0.2.1");
    assert!(shown.started_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_failure_says_why_and_goes_where_failures_go() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.until(job.id, JobState::Queued).await;
    report(
        &world,
        &json!({"uuid": job.id, "state": "FAILED", "error": "no room"}),
    )
    .await;
    world.until(job.id, JobState::Failed).await;
    let error = world
        .record(job.id)
        .await
        .unwrap()
        .to_job()
        .unwrap()
        .error
        .unwrap();
    assert_eq!(
        (error.error_type.as_str(), error.detail.as_deref()),
        ("worker-failed", Some("no room"))
    );
    let dead = world.bus.admin.inspect("jobs.dead").await.unwrap().unwrap();
    assert_eq!(dead.ready, 1);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_about_another_run_changes_nothing() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.end(&job, EventType::Failed, JobState::Failed).await;
    let mut again = world.event(&job, EventType::Redriven, JobState::Queued);
    again.data.epoch = 1;
    world
        .bus
        .publisher
        .publish(again.to_message())
        .await
        .unwrap();
    world.until(job.id, JobState::Queued).await;
    let late = json!({"uuid": job.id, "state": "SUCCESSFULL", "epoch": 0});
    report(&world, &late).await;
    all_read(&world, reader).await;
    assert_eq!(world.state(job.id).await, Some(JobState::Queued));
    let reader = world.start("r2");
    report(
        &world,
        &json!({"uuid": job.id, "state": "succeeded", "epoch": 1}),
    )
    .await;
    world.until(job.id, JobState::Succeeded).await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_report_is_dropped_and_stops_nobody() {
    let world = World::new().await;
    let reader = world.start("r1");
    let stranger = new_job_id(&*world.clock);
    world.publish_report(b"not JSON".to_vec()).await;
    world.publish_report(vec![b'['; 300 * 1024]).await;
    for body in [
        json!({"uuid": "no id", "state": "SUCCESSFULL"}),
        json!({"uuid": stranger, "state": "WHATEVER"}),
        json!({"uuid": stranger, "state": "SUCCESSFULL"}),
        json!([]),
    ] {
        report(&world, &body).await;
    }
    let job = world.submit().await;
    report(&world, &json!({"uuid": job.id, "state": "CANCELLED"})).await;
    world.until(job.id, JobState::Cancelled).await;
    all_read(&world, reader).await;
    assert_eq!(world.state(stranger).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_report_waits_for_a_view_that_comes_back() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.until(job.id, JobState::Queued).await;
    world.mark().await;
    reader.stop().await;
    world.store.flush();
    report(&world, &json!({"uuid": job.id, "state": "SUCCESSFULL"})).await;
    let reader = world.start("r2");
    world.mark().await;
    world.until(job.id, JobState::Succeeded).await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_about_a_run_that_the_view_has_not_seen_yet_waits_for_it() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    world.end(&job, EventType::Failed, JobState::Failed).await;
    world.until(job.id, JobState::Failed).await;
    // The job runs again, and its worker is faster than the view.
    report(
        &world,
        &json!({"uuid": job.id, "state": "SUCCESSFULL", "epoch": 1}),
    )
    .await;
    let mut again = world.event(&job, EventType::Redriven, JobState::Queued);
    again.data.epoch = 1;
    world.publish(&again).await;
    world.until(job.id, JobState::Succeeded).await;
    all_read(&world, reader).await;
}

#[tokio::test(start_paused = true)]
async fn an_output_that_no_message_can_carry_fails_the_job() {
    let world = World::new().await;
    let reader = world.start("r1");
    let job = world.submit().await;
    // It just fits into the report, and not with the job around it.
    let output = "x".repeat(256 * 1024 - 200);
    report(
        &world,
        &json!({"uuid": job.id, "state": "SUCCESSFULL", "output": output}),
    )
    .await;
    world.until(job.id, JobState::Failed).await;
    let error = world.record(job.id).await.unwrap().to_job().unwrap().error;
    assert_eq!(error.unwrap().error_type, "outcome-too-large");
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_about_a_job_that_is_not_to_run_yet_changes_nothing() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut job = world.job();
    job.run_at = Some(clock::add(world.clock.now(), Duration::from_secs(600)));
    world
        .say(&job, EventType::Submitted, JobState::Queued)
        .await;
    world.until(job.id, JobState::Queued).await;
    for state in ["INPROGRESS", "SUCCESSFULL", "FAILED", "CANCELLED"] {
        report(&world, &json!({"uuid": job.id, "state": state})).await;
    }
    all_read(&world, reader).await;
    assert_eq!(words(&world, job.id).await, ["submitted"]);
    let reader = world.start("r2");
    world.clock.advance(Duration::from_secs(600));
    report(&world, &json!({"uuid": job.id, "state": "SUCCESSFULL"})).await;
    world.until(job.id, JobState::Succeeded).await;
    // What it left out is said for it.
    assert_eq!(
        words(&world, job.id).await,
        ["submitted", "started", "succeeded"]
    );
    reader.stop().await;
}
