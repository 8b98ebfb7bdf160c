//! Making room on a Redis that is full, single and in a cluster: live jobs stay, old ends go early.
#![cfg(feature = "redis")]
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod redis_support;

use std::time::Duration;

use redis_support::{Redis, servers::Server};
use serde_json::json;
use vmctl_core::{
    JobId,
    clock::{self, Clock as _, SystemClock},
    event::EventType,
    fact::JobFact,
    partition::Partition,
    store::{FoldOutcome, FoldStore as _, JobStore as _, PartitionBatch, Position, StoreError},
    testing::{
        bus::eventually,
        store::sample::{Saying, Story, TYPES, entry_id},
    },
};

const HOUR: Duration = Duration::from_hours(1);

fn here() -> Partition {
    Partition::new(17).unwrap()
}

/// What somebody says of a job with a large input.
fn fact(story: &Story, name: &str, what: EventType, offset: u64) -> JobFact {
    let mut spec = story.spec(story.job_in(here(), name), "demo", 0);
    spec.input = json!({"text": "x".repeat(20_000)});
    let said = Saying {
        what: TYPES.iter().position(|t| *t == what).unwrap(),
        epoch: 0,
        attempt: 1,
        seq: u32::from(what != EventType::Submitted),
        at: i64::try_from(offset).unwrap(),
    };
    story.fact(&spec, &said, Some(offset))
}

/// Folds one fact behind what the partition stands at.
async fn fold(redis: &Redis, fact: &JobFact) -> Result<(), StoreError> {
    let states = redis.store.partitions().await?;
    let offset = fact.offset.unwrap();
    let batch = PartitionBatch {
        partition: here(),
        expected: states[here().index()].position.clone(),
        position: Position {
            offset,
            id: entry_id(offset),
        },
        facts: vec![fact.clone()],
        steps: Vec::new(),
        marks: Vec::new(),
        bad: Vec::new(),
        first_time: None,
    };
    let outcomes = redis.store.fold(vec![batch], SystemClock.now()).await?;
    assert!(matches!(outcomes[..], [FoldOutcome::Written { .. }]));
    Ok(())
}

async fn is_known(redis: &Redis, job: JobId) -> bool {
    redis.store.get(job).await.unwrap().record.is_some()
}

#[tokio::test]
async fn a_full_redis_takes_writes_again_when_the_oldest_ends_go() {
    let config = "maxmemory 12mb\nmaxmemory-policy noeviction\nsave \"\"";
    let Some(server) = Server::start(&[], config).await else {
        return;
    };
    let redis = Redis::at(format!("redis://127.0.0.1:{}", server.port));
    let start = SystemClock
        .now()
        .checked_sub(jiff::SignedDuration::from_mins(10));
    let story = Story {
        start: start.unwrap(),
    };
    let live = fact(&story, "live", EventType::Submitted, 0);
    fold(&redis, &live).await.unwrap();
    let (mut ended, mut offset) = (Vec::new(), 1);
    let next = loop {
        let end = fact(&story, &format!("{offset}"), EventType::Succeeded, offset);
        match fold(&redis, &end).await {
            Ok(()) => ended.push(end.job),
            Err(error) => {
                assert!(matches!(error, StoreError::Full(_)), "{error:?}");
                break end;
            }
        }
        offset += 1;
        assert!(offset < 2_000, "it is never full");
    };
    assert!(ended.len() > 50, "{}", ended.len());
    let full = redis.store.fullness(&[here()]).await.unwrap()[0];
    assert!(full.unwrap() > 0.95, "{full:?}");

    // Readers share their partitions all the same, or nobody could make room.
    let lease = Duration::from_secs(10);
    let held = redis.store.hold_partitions("r1", lease).await.unwrap();
    assert_eq!(held.len(), 64);

    let now = SystemClock.now();
    let at = clock::add(now, Duration::from_secs(30));
    let latest = clock::add(now, HOUR * 24);
    let taken = redis.store.shorten(here(), latest, at).await.unwrap();
    assert_eq!(taken, ended.len().div_ceil(8));
    let first = redis.store.get(ended[0]).await.unwrap();
    let shown = first.record.unwrap().to_job().unwrap().expires_at;
    assert_eq!(shown.as_millisecond(), at.as_millisecond());
    let drawn = first.partition.shortened.unwrap();
    assert!(drawn.as_millisecond() >= ended[0].unix_ms().unwrap());

    // Sooner, as in a store that stays full: what has gone makes room, and the fold goes on.
    let soon = clock::add(SystemClock.now(), Duration::from_millis(200));
    redis.store.shorten(here(), latest, soon).await.unwrap();
    eventually("room", async || fold(&redis, &next).await.ok()).await;
    assert!(!is_known(&redis, ended[0]).await);
    assert!(is_known(&redis, *ended.last().unwrap()).await);
    assert!(is_known(&redis, live.job).await);
    let far = clock::add(now, HOUR * 48);
    let silent = redis.store.silent(here(), None, far, 10).await.unwrap();
    assert_eq!(silent.len(), 1);
    assert_eq!(silent[0].id, live.job);
    // Nothing is left of those that went.
    let of_first = |key: &String| key.contains(&ended[0].to_string());
    assert!(!redis.keys().await.iter().any(of_first));
}

#[tokio::test]
async fn a_redis_without_a_limit_is_never_full() {
    let Some(server) = Server::start(&[], "save \"\"").await else {
        return;
    };
    let redis = Redis::at(format!("redis://127.0.0.1:{}", server.port));
    let all: Vec<_> = Partition::all().collect();
    let fullness = redis.store.fullness(&all).await.unwrap();
    assert_eq!(fullness, vec![None; 64]);
}
