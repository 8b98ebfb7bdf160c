//! Live jobs: their progress and their deadlines.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use vmctl_api_types::JobId;

use super::{
    StoreFixture,
    support::{OneJob, here, said, until},
};
use crate::{
    event::EventType::{Redriven, Started, Submitted, Succeeded},
    fact::JobFact,
    record::Record,
};

/// Nothing but a live record in the same epoch and attempt takes a tick.
pub async fn a_tick_touches_its_own_live_run<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let tick = |epoch, attempt| job.story.tick(job.id(), (epoch, attempt), 1, 50);
    job.store.ticks(&[tick(0, 1)]).await.unwrap();
    assert_eq!(job.lookup().await.record, None);
    job.fold(&[job.says(Submitted, 0, 1), job.says(Started, 1, 2)])
        .await;
    let fresh = job.record().await.unwrap();
    job.store.ticks(&[tick(1, 1), tick(0, 2)]).await.unwrap();
    assert_eq!(job.record().await.unwrap(), fresh);
    job.store.ticks(&[tick(0, 1)]).await.unwrap();
    let record = job.record().await.unwrap();
    assert_eq!(record.progress().unwrap().percent, 50);
    assert_ne!(record.etag(), fresh.etag());
    job.fold(&[job.says(Succeeded, 2, 3)]).await;
    let ended = job.record().await;
    let later = job.story.tick(job.id(), (0, 1), 2, 51);
    job.store.ticks(&[later]).await.unwrap();
    assert_eq!(job.record().await, ended);
}

/// Late progress does not go back, by command and by number.
pub async fn the_newest_tick_wins<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Started, 1, 2)]).await;
    let mut pure = job.record().await.unwrap();
    for (seq, number) in [(1, 9), (1, 10), (1, 2), (3, 1), (1, 400), (3, 1)] {
        let tick = job.story.tick(job.id(), (0, 1), seq, number);
        job.store.ticks(std::slice::from_ref(&tick)).await.unwrap();
        crate::merge::merge_tick(&mut pure, &tick);
        assert_eq!(job.record().await, Some(pure.clone()));
    }
    let order = pure.tick.map(|t| (t.seq, t.number));
    assert_eq!(order, Some((3, 1)));
    job.store.ticks(&[]).await.unwrap();
}

/// Starts a job in this partition with a deadline some minutes from now.
async fn start(job: &OneJob, name: &str, minutes: i64) -> JobId {
    let id = job.story.job_in(here(), name);
    let mut spec = job.story.spec(id, "demo", 0);
    spec.deadline = minutes_from(job.now, minutes);
    let fact = job.story.submission(&spec);
    job.store.prewrite(&fact, job.now).await.unwrap();
    id
}

fn minutes_from(now: Timestamp, minutes: i64) -> Timestamp {
    now.checked_add(SignedDuration::from_mins(minutes)).unwrap()
}

async fn overdue(job: &OneJob, minutes: i64, limit: usize) -> Vec<JobId> {
    let at = minutes_from(job.now, minutes);
    job.store.overdue(here(), at, limit).await.unwrap()
}

/// At or before the instant, earliest first, no more than asked.
pub async fn overdue_jobs_come_earliest_first<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let late = start(&job, "late", 30).await;
    let early = start(&job, "early", 10).await;
    let middle = start(&job, "middle", 20).await;
    assert_eq!(overdue(&job, 9, 10).await, []);
    assert_eq!(overdue(&job, 20, 10).await, [early, middle]);
    assert_eq!(overdue(&job, 60, 10).await, [early, middle, late]);
    assert_eq!(overdue(&job, 60, 1).await, [early]);
}

/// A job that must be started by an instant is overdue then, unless somebody has started it; in another
/// epoch that counts anew.
pub async fn a_job_that_nobody_has_started_in_time_is_overdue<F: StoreFixture>(fixture: &F) {
    let mut job = OneJob::new(fixture);
    job.spec.start_by = Some(minutes_from(job.now, 10));
    job.fold(&[job.says(Submitted, 0, 1)]).await;
    assert_eq!(overdue(&job, 9, 10).await, []);
    assert_eq!(overdue(&job, 10, 10).await, [job.id()]);
    job.fold(&[job.says(Started, 1, 2)]).await;
    assert_eq!(overdue(&job, 58, 10).await, []);
    assert_eq!(overdue(&job, 60, 10).await, [job.id()]);
    let again = job.story.fact(&job.spec, &said(Redriven, 1, 0, 3), Some(3));
    job.fold(&[again]).await;
    assert_eq!(overdue(&job, 10, 10).await, [job.id()]);
}

/// Whatever has ended is not looked at again.
pub async fn an_ended_job_is_not_overdue<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 1)]).await;
    assert_eq!(overdue(&job, 60, 10).await, [job.id()]);
    job.fold(&[job.says(Succeeded, 2, 3)]).await;
    assert_eq!(overdue(&job, 60, 10).await, []);
    job.fold(&[job.says(Started, 1, 2)]).await;
    assert_eq!(overdue(&job, 60, 10).await, []);
}

/// A record that is gone leaves nothing among the live ones.
pub async fn a_forgotten_job_is_not_overdue<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let start_fact = job.says(Started, 1, 2);
    let short = JobFact {
        expires: crate::clock::add(job.now, Duration::from_secs(2)),
        ..start_fact
    };
    job.fold(&[short]).await;
    assert_eq!(overdue(&job, 60, 10).await, [job.id()]);
    let other = start(&job, "other", 60).await;
    until(fixture, "end of the record", async || {
        overdue(&job, 60, 1).await == [other]
    })
    .await;
}

/// A second run has its own deadline.
pub async fn a_redriven_job_is_live_again<F: StoreFixture>(fixture: &F) {
    let mut job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 1), job.says(Succeeded, 2, 3)])
        .await;
    job.spec.deadline = minutes_from(job.now, 120);
    let again = said(Redriven, 1, 0, 9);
    let again = job.story.fact(&job.spec, &again, Some(9));
    job.fold(&[again]).await;
    assert_eq!(overdue(&job, 119, 10).await, []);
    assert_eq!(overdue(&job, 120, 10).await, [job.id()]);
    let record: Record = job.record().await.unwrap();
    assert_eq!(record.to_job().unwrap().deadline, job.spec.deadline);
}
