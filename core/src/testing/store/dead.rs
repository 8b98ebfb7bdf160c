//! Dead jobs: those whose last word is that they failed for good.

use std::time::Duration;

use super::{
    StoreFixture,
    sample::Story,
    support::{OneJob, batch, here, said, until},
};
use crate::{
    event::EventType::{Deadline, Failed, Redriven, Started, Submitted, Succeeded},
    fact::JobFact,
    partition::Partition,
    store::{DeadKey, MOST_DEAD},
};

async fn dead(job: &OneJob) -> Vec<DeadKey> {
    job.store.dead(None, 100).await.unwrap()
}

fn key(fact: &JobFact) -> DeadKey {
    DeadKey {
        died_at: crate::clock::from_unix_ms(fact.time.as_millisecond()),
        id: fact.job,
    }
}

/// Neither live jobs nor those that ended otherwise; a job that runs again is not dead any more, and
/// what its earlier epoch said does not bring it back.
pub async fn a_dead_job_is_listed_until_it_runs_again<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 1), job.says(Started, 1, 2)])
        .await;
    assert_eq!(dead(&job).await, []);
    let failed = job.says(Failed, 2, 3);
    job.fold(std::slice::from_ref(&failed)).await;
    assert_eq!(dead(&job).await, [key(&failed)]);
    job.fold(&[job.says(Succeeded, 3, 4)]).await;
    assert_eq!(dead(&job).await, [key(&failed)]);
    let again = job.story.fact(&job.spec, &said(Redriven, 1, 0, 9), None);
    job.store.prewrite(&again, job.now).await.unwrap();
    assert_eq!(dead(&job).await, []);
    job.fold(&[failed]).await;
    assert_eq!(dead(&job).await, []);
    let late = job
        .story
        .fact(&job.spec, &said(Deadline, 1, 2, 10), Some(10));
    job.fold(&[late]).await;
    assert_eq!(dead(&job).await, []);
}

/// Makes jobs of all partitions fail at these milliseconds; returns their lines, newest first.
async fn fail(job: &OneJob, times: &[i64]) -> Vec<DeadKey> {
    let mut lines = Vec::new();
    for (n, &ms) in times.iter().enumerate() {
        let id = job.story.job(&format!("dead-{n}"), ms);
        let spec = job.story.spec(id, &format!("project-{}", n % 2), 0);
        let mut fact = job.story.fact(&spec, &said(Failed, 0, 1, 1), None);
        fact.time = crate::clock::add(job.now, Duration::from_millis(ms.unsigned_abs()));
        job.store.prewrite(&fact, job.now).await.unwrap();
        lines.push(key(&fact));
    }
    lines.sort_unstable();
    lines.reverse();
    lines
}

/// Of all projects and partitions, each once, newest first, whatever the size of a page and however
/// many failed in one millisecond.
pub async fn dead_jobs_are_paged_newest_first<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let lines = fail(&job, &[5, 1, 4, 4, 4, 4, 900, 20, 4, 3, 7]).await;
    for limit in [1, 2, 3, 11, 100] {
        let mut all: Vec<DeadKey> = Vec::new();
        loop {
            let page = job.store.dead(all.last(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        assert_eq!(all, lines, "{limit}");
    }
    assert_eq!(job.store.dead(None, 0).await.unwrap(), []);
}

/// A record that is gone leaves nothing among the dead ones, and hides none behind it.
pub async fn a_forgotten_job_is_not_dead<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let other = fail(&job, &[0]).await;
    let short = JobFact {
        expires: crate::clock::add(job.now, Duration::from_secs(2)),
        time: crate::clock::add(job.now, Duration::from_millis(100)),
        ..job.says(Failed, 1, 2)
    };
    job.fold(&[short]).await;
    until(fixture, "end of the record", async || {
        job.store.dead(None, 1).await.unwrap() == other
    })
    .await;
}

/// The newest ones are known; the oldest make room.
pub async fn the_list_of_dead_jobs_is_bounded<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let story: &Story = &job.story;
    let facts = (0..MOST_DEAD + 2).map(|n| {
        let spec = story.spec(story.job_in(here(), &format!("dead-{n}")), "demo", 0);
        let mut fact = story.fact(&spec, &said(Failed, 0, 1, 1), None);
        fact.time = crate::clock::add(job.now, Duration::from_millis(n as u64));
        fact
    });
    let facts: Vec<_> = facts.collect();
    for some in facts.chunks(500) {
        let expected = job.position().await;
        let batch = batch(here(), expected, some);
        job.store.fold(vec![batch], job.now).await.unwrap();
    }
    let all = job.store.dead(None, MOST_DEAD + 10).await.unwrap();
    assert_eq!(all.len(), MOST_DEAD);
    assert_eq!(all.last(), Some(&key(&facts[2])));
    assert_eq!(Partition::of(all[0].id), here());
}
