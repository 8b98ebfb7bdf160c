//! Making room: ended records that are forgotten before their time.

use std::time::Duration;

use super::{
    StoreFixture,
    support::{OneJob, batch, here, said, until},
};
use crate::{
    clock::{add, from_unix_ms},
    event::EventType::{Redriven, Started, Submitted, Succeeded},
    fact::JobFact,
    store::Lookup,
};

const HOUR: Duration = Duration::from_hours(1);

/// Ends jobs here, each forgotten so many hours from now.
async fn ended(job: &OneJob, hours: &[u32]) -> Vec<JobFact> {
    let mut facts = Vec::new();
    for (n, hours) in hours.iter().enumerate() {
        let id = job.story.job_in(here(), &format!("ended-{n}"));
        let spec = job.story.spec(id, "demo", 0);
        facts.push(JobFact {
            expires: add(job.now, HOUR * *hours),
            ..job.story.fact(&spec, &said(Succeeded, 0, 1, 5), Some(5))
        });
    }
    let batch = batch(here(), job.position().await, &facts);
    job.store.fold(vec![batch], job.now).await.unwrap();
    facts
}

async fn lookup(job: &OneJob, fact: &JobFact) -> Lookup {
    job.store.get(fact.job).await.unwrap()
}

/// Those go first that would be forgotten first; an eighth at once; never a live one, nor one that is to
/// be kept for longer.
pub async fn the_oldest_ends_make_room<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 1), job.says(Started, 1, 2)])
        .await;
    let hours: Vec<u32> = (1..=16).rev().collect();
    let facts = ended(&job, &hours).await;
    let live = job.record().await;
    assert_eq!(lookup(&job, &facts[15]).await.partition.shortened, None);

    let at = from_unix_ms(add(job.now, Duration::from_secs(60)).as_millisecond());
    let latest = add(job.now, HOUR * 3);
    assert_eq!(job.store.shorten(here(), latest, at).await.unwrap(), 2);
    let first = lookup(&job, &facts[15]).await;
    let record = first.record.unwrap();
    assert_eq!(record.to_job().unwrap().expires_at, at);
    let unchanged = lookup(&job, &facts[0]).await.record.unwrap();
    assert_eq!(unchanged.shortened, None);
    assert_ne!(record.etag(), unchanged.etag());
    let drawn = facts[14..].iter().filter_map(|f| f.job.unix_ms()).max();
    assert_eq!(first.partition.shortened, drawn.map(from_unix_ms));
    // One is left that may go, and then none.
    assert_eq!(job.store.shorten(here(), latest, at).await.unwrap(), 1);
    assert_eq!(job.store.shorten(here(), latest, at).await.unwrap(), 0);
    assert_eq!(
        lookup(&job, &facts[12]).await.record.unwrap().shortened,
        None
    );

    // Sooner still: these are taken again.
    let soon = add(job.now, Duration::from_secs(2));
    while job.store.shorten(here(), latest, soon).await.unwrap() > 0 {}
    until(fixture, "end of the records", async || {
        let mut left = 0;
        for fact in &facts {
            left += usize::from(lookup(&job, fact).await.record.is_some());
        }
        left == 13
    })
    .await;
    assert_eq!(job.record().await, live);
    assert_eq!(job.store.story(facts[15].job).await.unwrap().history, []);
}

/// News of a shortened record does not lengthen it; a next run does.
pub async fn a_shortened_job_that_runs_again_is_kept<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 1), job.says(Succeeded, 2, 3)])
        .await;
    let soon = add(job.now, Duration::from_secs(30));
    let far = add(job.now, HOUR * 100);
    assert_eq!(job.store.shorten(here(), far, soon).await.unwrap(), 1);
    let soon = Some(from_unix_ms(soon.as_millisecond()));
    job.fold(&[job.says(Started, 1, 2)]).await;
    assert_eq!(job.record().await.unwrap().shortened, soon);
    let again = job.story.fact(&job.spec, &said(Redriven, 1, 0, 9), Some(9));
    job.fold(&[again]).await;
    assert_eq!(job.record().await.unwrap().shortened, None);
    assert_eq!(job.store.shorten(here(), far, job.now).await.unwrap(), 0);
}

/// A store says how full it is where each partition is, or that it has no limit.
pub async fn fullness_is_told_for_each_partition<F: StoreFixture>(fixture: &F) {
    let store = fixture.store();
    let asked = [here(), here()];
    let fullness = store.fullness(&asked).await.unwrap();
    assert_eq!(fullness.len(), 2);
    assert!(
        fullness
            .iter()
            .flatten()
            .all(|share| (0.0..1.0).contains(share))
    );
    assert!(store.fullness(&[]).await.unwrap().is_empty());
}
