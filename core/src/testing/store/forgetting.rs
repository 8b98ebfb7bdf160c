//! What is forgotten, and when.

use jiff::SignedDuration;

use super::{
    StoreFixture,
    support::{OneJob, until},
};
use crate::{
    event::EventType::{CancelRequested, Started, Submitted, Succeeded},
    fact::JobFact,
};

/// The fact, with a record that is forgotten some milliseconds from now.
fn expiring(job: &OneJob, fact: JobFact, ms: i64) -> JobFact {
    let after = SignedDuration::from_millis(ms);
    JobFact {
        expires: job.now.checked_add(after).unwrap(),
        ..fact
    }
}

/// The instant is absolute and comes from the winner, not from whatever was written last.
pub async fn a_record_is_forgotten_when_its_winner_says<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let end = expiring(&job, job.says(Succeeded, 2, 3), 2_000);
    job.fold(&[job.says(Submitted, 0, 1), end]).await;
    assert!(job.record().await.is_some());
    // Late news of a job that has ended: its record lives no longer for it.
    job.fold(&[job.says(Started, 1, 2)]).await;
    until(fixture, "end of the record", async || {
        job.record().await.is_none()
    })
    .await;
    assert_eq!(job.store.story(job.id()).await.unwrap().history, []);
    assert!(job.position().await.is_some(), "positions do not expire");
}

/// Reading an old log makes no record that is over.
pub async fn what_has_expired_is_skipped<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let old = expiring(&job, job.says(Succeeded, 2, 3), 0);
    assert_eq!(job.fold(std::slice::from_ref(&old)).await, 0);
    job.store.prewrite(&old, job.now).await.unwrap();
    assert_eq!(job.record().await, None);
    assert_eq!(job.store.story(job.id()).await.unwrap().history, []);
    assert_eq!(job.store.list("demo", None, 10).await.unwrap(), []);
}

/// Reading an old log does not bring an ended job back to life.
pub async fn an_expired_end_forgets_the_record<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let end = expiring(&job, job.says(Succeeded, 2, 3), 0);
    assert_eq!(job.fold(&[job.says(Submitted, 0, 1), end]).await, 2);
    assert_eq!(job.record().await, None);
    assert_eq!(job.store.story(job.id()).await.unwrap().history, []);
    let partition = crate::partition::Partition::of(job.id());
    let far = job.spec.deadline;
    assert_eq!(job.store.overdue(partition, far, 10).await.unwrap(), []);
}

/// A wish to cancel a job that nobody knows does not stay for ever.
pub async fn an_undecided_record_is_forgotten_too<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let wish = expiring(&job, job.says(CancelRequested, 0, 1), 2_000);
    job.fold(&[wish]).await;
    assert_eq!(job.store.story(job.id()).await.unwrap().history.len(), 1);
    until(fixture, "end of the history", async || {
        job.store.story(job.id()).await.unwrap().history.is_empty()
    })
    .await;
}
