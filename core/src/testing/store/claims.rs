//! What is taken once.

use std::time::Duration;

use super::{
    StoreFixture,
    support::{OneJob, until},
};
use crate::store::RunKey;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(2);

fn run(job: &OneJob, seq: u32) -> RunKey {
    RunKey {
        job: job.id(),
        epoch: 0,
        attempt: 1,
        seq,
    }
}

/// One worker gets a run, and no second one, not even the same again.
pub async fn a_run_is_taken_once<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let take = async |seq, worker| {
        let run = run(&job, seq);
        job.store.claim_run(&run, worker, LONG).await.unwrap()
    };
    assert!(take(1, "w1").await);
    assert!(!take(1, "w2").await);
    assert!(!take(1, "w1").await);
    assert!(take(2, "w2").await);
    assert_eq!(job.record().await, None);
}

/// After its time a run can be taken again.
pub async fn a_run_is_forgotten<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let run = run(&job, 1);
    assert!(job.store.claim_run(&run, "w1", SHORT).await.unwrap());
    until(fixture, "free run", async || {
        job.store.claim_run(&run, "w2", LONG).await.unwrap()
    })
    .await;
    assert!(!job.store.claim_run(&run, "w1", LONG).await.unwrap());
}

/// Everybody gets the value of the first, until it is forgotten.
pub async fn a_claim_returns_the_first_value<F: StoreFixture>(fixture: &F) {
    let store = fixture.store();
    let claim = async |value, ttl| store.claim("demo", "key 1", value, ttl).await.unwrap();
    assert_eq!(claim("a", SHORT).await, "a");
    assert_eq!(claim("b", LONG).await, "a");
    assert_eq!(claim("a", LONG).await, "a");
    until(fixture, "end of the claim", async || {
        claim("c", LONG).await == "c"
    })
    .await;
    assert_eq!(claim("d", LONG).await, "c");
}

/// The same name in two projects is two names, however they are spelled.
pub async fn claims_of_projects_are_apart<F: StoreFixture>(fixture: &F) {
    let store = fixture.store();
    let pairs = [
        ("a", "b:c"),
        ("a:b", "c"),
        ("a", "b"),
        ("", "a:b"),
        ("a}", "{b"),
    ];
    for (n, (project, name)) in pairs.into_iter().enumerate() {
        let value = n.to_string();
        let first = store.claim(project, name, &value, LONG).await.unwrap();
        assert_eq!(first, value, "{project} {name}");
    }
}

/// It answers.
pub async fn the_store_answers<F: StoreFixture>(fixture: &F) {
    fixture.store().ping().await.unwrap();
}
