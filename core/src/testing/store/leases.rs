//! How readers share the partitions.

use std::time::Duration;

use super::{StoreFixture, support::until};
use crate::partition::Partition;

const LONG: Duration = Duration::from_secs(60);

async fn hold<F: StoreFixture>(fixture: &F, reader: &str, ttl: Duration) -> Vec<Partition> {
    let store = fixture.store();
    let mut held = store.hold_partitions(reader, ttl).await.unwrap();
    held.sort_unstable();
    held
}

/// Holds for all of them in turns, twice, and returns who has what.
async fn settle<F: StoreFixture>(fixture: &F, readers: &[&str]) -> Vec<usize> {
    let mut held = Vec::new();
    for _ in 0..2 {
        held.clear();
        for reader in readers {
            held.push(hold(fixture, reader, LONG).await);
        }
    }
    let mut all: Vec<_> = held.iter().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, Partition::all().collect::<Vec<_>>(), "each held once");
    held.iter().map(Vec::len).collect()
}

/// One reader takes all partitions at once and keeps them.
pub async fn one_reader_holds_all<F: StoreFixture>(fixture: &F) {
    for _ in 0..3 {
        assert_eq!(hold(fixture, "r1", LONG).await.len(), 64);
    }
}

/// A second reader has its half after two calls of each.
pub async fn two_readers_share_evenly<F: StoreFixture>(fixture: &F) {
    assert_eq!(hold(fixture, "r1", LONG).await.len(), 64);
    assert_eq!(hold(fixture, "r2", LONG).await.len(), 0);
    let first = hold(fixture, "r1", LONG).await;
    let second = hold(fixture, "r2", LONG).await;
    assert_eq!((first.len(), second.len()), (32, 32));
    assert!(first.iter().all(|p| !second.contains(p)));
    assert_eq!(settle(fixture, &["r1", "r2"]).await, [32, 32]);
    assert_eq!(hold(fixture, "r1", LONG).await, first, "they stay");
}

/// Shares differ by one at most.
pub async fn three_readers_share_evenly<F: StoreFixture>(fixture: &F) {
    hold(fixture, "r1", LONG).await;
    let mut counts = settle(fixture, &["r1", "r2", "r3"]).await;
    counts.sort_unstable();
    assert_eq!(counts, [21, 21, 22]);
}

/// What a reader held that has stopped calling goes to the others after its time.
pub async fn a_dead_readers_partitions_are_taken_over<F: StoreFixture>(fixture: &F) {
    let short = Duration::from_secs(2);
    assert_eq!(hold(fixture, "dead", short).await.len(), 64);
    assert!(hold(fixture, "r1", LONG).await.is_empty());
    until(fixture, "take-over", async || {
        hold(fixture, "r1", LONG).await.len() == 64
    })
    .await;
    assert_eq!(hold(fixture, "r1", LONG).await.len(), 64);
}

/// A reader that ends leaves nothing behind, and takes nothing from others.
pub async fn released_partitions_are_free<F: StoreFixture>(fixture: &F) {
    let store = fixture.store();
    settle(fixture, &["r1", "r2"]).await;
    store.release_partitions("r1").await.unwrap();
    store.release_partitions("nobody").await.unwrap();
    assert_eq!(hold(fixture, "r2", LONG).await.len(), 64);
}
