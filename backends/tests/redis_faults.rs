//! The store on a Redis that is absent, stopped, frozen, flushed, full: every call ends in time, and
//! the store comes back by itself.
//!
//! One Redis is broken for all of these, so they take turns.
#![cfg(feature = "redis")]
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod redis_support;

use std::time::{Duration, Instant};

use redis_support::{Redis, address};
use tokio::{
    process::Command,
    sync::{Mutex, MutexGuard},
};
use vmctl_backends::redis::{Config, RedisStore};
use vmctl_core::{
    JobId,
    clock::{Clock as _, SystemClock},
    partition::Partition,
    store::{FoldOutcome, FoldStore, JobStore, PartitionBatch, Position, StoreError},
    testing::{
        bus::eventually,
        store::sample::{Story, entry_id},
    },
};

static TURN: Mutex<()> = Mutex::const_new(());

/// How much later than its deadline a call may return on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// The Redis that may be broken, in working order, and a store on it with the real deadlines.
struct Victim {
    redis: Redis,
    store: RedisStore,
    _turn: MutexGuard<'static, ()>,
}

impl Victim {
    async fn take() -> Option<Self> {
        let url = address("VMCTL_TEST_VICTIM_REDIS_URL")?;
        address("VMCTL_TEST_SERVICES")?;
        let turn = TURN.lock().await;
        let redis = Redis::at(url.clone());
        let mut config = Config::new(url);
        config.prefix = redis.config.prefix.clone();
        let victim = Self {
            redis,
            store: RedisStore::connect_lazy(config).unwrap(),
            _turn: turn,
        };
        // Whatever a test before has left behind.
        victim.service("start").await;
        victim.service("thaw").await;
        victim.configure("maxmemory", "256mb").await;
        victim.configure("maxmemory-policy", "noeviction").await;
        victim.raw(&["FLUSHALL"]).await;
        Some(victim)
    }

    /// Does something to the service: `stop`, `start`, `freeze`, `thaw`.
    async fn service(&self, verb: &str) {
        let script = std::env::var("VMCTL_TEST_SERVICES").unwrap();
        let mut command = Command::new(script);
        let output = command.args([verb, "victim-redis"]).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb}: {said}");
    }

    async fn raw(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let mut raw = self.redis.raw().await;
        command.exec_async(&mut raw).await.unwrap();
    }

    async fn configure(&self, name: &str, value: &str) {
        self.raw(&["CONFIG", "SET", name, value]).await;
    }

    async fn answers(&self) {
        eventually("answer", async || self.store.ping().await.ok()).await;
    }

    /// Submits a job and returns its id.
    async fn submit(&self, name: &str) -> Result<JobId, StoreError> {
        let now = SystemClock.now();
        let story = Story { start: now };
        let spec = story.spec(story.job(name, 0), "demo", 0);
        let fact = story.submission(&spec);
        self.store.prewrite(&fact, now).await.map(|()| spec.id)
    }

    async fn fold(&self, expected: Option<u64>, offset: u64) -> Result<FoldOutcome, StoreError> {
        let position = |offset| Position {
            offset,
            id: entry_id(offset),
        };
        let now = SystemClock.now();
        let story = Story { start: now };
        let partition = Partition::new(5).unwrap();
        let spec = story.spec(story.job_in(partition, "folded"), "demo", 0);
        let batch = PartitionBatch {
            partition,
            expected: expected.map(position),
            position: position(offset),
            facts: vec![story.submission(&spec)],
            steps: Vec::new(),
            marks: Vec::new(),
            bad: Vec::new(),
            first_time: None,
        };
        let mut outcomes = self.store.fold(vec![batch], now).await?;
        Ok(outcomes.remove(0))
    }
}

/// Calls once and returns how long that took; the call must fail.
async fn fails(store: &RedisStore) -> Duration {
    let start = Instant::now();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    start.elapsed()
}

#[tokio::test]
async fn redis_absent_at_start_is_an_error_of_the_call() {
    let Some(victim) = Victim::take().await else {
        return;
    };
    victim.service("stop").await;
    let took = fails(&victim.store).await;
    assert!(
        took < victim.redis.config.command_timeout + SLACK,
        "{took:?}"
    );
    victim.service("start").await;
    victim.answers().await;
    let job = victim.submit("later").await.unwrap();
    assert!(victim.store.get(job).await.unwrap().record.is_some());
}

#[tokio::test]
async fn a_stopped_redis_is_found_again_with_its_data() {
    let Some(victim) = Victim::take().await else {
        return;
    };
    let job = victim.submit("kept").await.unwrap();
    victim.service("stop").await;
    for _ in 0..20 {
        let took = fails(&victim.store).await;
        assert!(took < Duration::from_millis(300) + SLACK, "{took:?}");
    }
    victim.service("start").await;
    victim.answers().await;
    assert!(victim.store.get(job).await.unwrap().record.is_some());
}

#[tokio::test]
async fn a_frozen_redis_costs_no_more_than_the_deadline() {
    let Some(victim) = Victim::take().await else {
        return;
    };
    victim.answers().await;
    victim.service("freeze").await;
    // Many at once: each ends in time, and once the connection is given up they fail at once.
    let start = Instant::now();
    let all = (0..100).map(|_| fails(&victim.store));
    let longest = futures::future::join_all(all).await.into_iter().max();
    assert!(longest.unwrap() < Duration::from_millis(300) + SLACK);
    eventually("failure without waiting", async || {
        (fails(&victim.store).await < Duration::from_millis(50)).then_some(())
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(5));
    victim.service("thaw").await;
    let thawed = Instant::now();
    victim.answers().await;
    let took = thawed.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn flushed_scripts_are_sent_again() {
    let Some(victim) = Victim::take().await else {
        return;
    };
    for offset in 1..4 {
        victim.raw(&["SCRIPT", "FLUSH"]).await;
        let expected = (offset > 1).then(|| offset - 1);
        let outcome = victim.fold(expected, offset).await.unwrap();
        assert!(matches!(outcome, FoldOutcome::Written { .. }));
    }
}

#[tokio::test]
async fn a_flush_between_folds_is_noticed() {
    let Some(victim) = Victim::take().await else {
        return;
    };
    victim.fold(None, 7).await.unwrap();
    victim.raw(&["FLUSHALL"]).await;
    let outcome = victim.fold(Some(7), 8).await.unwrap();
    assert_eq!(outcome, FoldOutcome::Moved(None));
    let outcome = victim.fold(None, 1).await.unwrap();
    assert_eq!(outcome, FoldOutcome::Written { changed: 1 });
}

#[tokio::test]
async fn a_killed_connection_is_not_noticed_by_the_caller() {
    let Some(victim) = Victim::take().await else {
        return;
    };
    for n in 0..5 {
        victim.answers().await;
        victim.raw(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        victim.submit(&format!("killed-{n}")).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_redis_says_so_and_takes_nothing_half() {
    let Some(victim) = Victim::take().await else {
        return;
    };
    let job = victim.submit("before").await.unwrap();
    victim.fold(None, 1).await.unwrap();
    victim.configure("maxmemory", "1").await;
    let refused = victim.submit("refused").await;
    let folded = victim.fold(Some(1), 2).await;
    let still = victim.store.get(job).await;
    victim.configure("maxmemory", "256mb").await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    assert!(matches!(folded, Err(StoreError::Full(_))), "{folded:?}");
    assert!(still.unwrap().record.is_some(), "reads go on");
    let states = victim.store.partitions().await.unwrap();
    assert_eq!(states[5].position.as_ref().map(|p| p.offset), Some(1));
}

#[tokio::test]
async fn a_policy_that_drops_keys_is_told() {
    let Some(victim) = Victim::take().await else {
        return;
    };
    assert_eq!(victim.store.check_policy().await.unwrap(), None);
    victim.configure("maxmemory-policy", "allkeys-lru").await;
    let warning = victim.store.check_policy().await.unwrap().unwrap();
    victim.configure("maxmemory-policy", "noeviction").await;
    assert!(warning.contains("allkeys-lru"), "{warning}");
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let Some(victim) = Victim::take().await else {
        return;
    };
    let job = victim.submit("spoilt").await.unwrap();
    let prefix = &victim.redis.config.prefix;
    let partition = Partition::of(job);
    let position = format!("{prefix}{{{partition}}}:position");
    victim.raw(&["HSET", &position, "v", "2"]).await;
    let newer = victim.store.get(job).await.unwrap_err();
    assert!(matches!(newer, StoreError::Corrupt(_)), "{newer:?}");
    victim.raw(&["DEL", &position]).await;
    let record = format!("{prefix}{{{partition}}}:job:{job}");
    victim.raw(&["HSET", &record, "w", "{"]).await;
    let broken = victim.store.get(job).await.unwrap_err();
    assert!(matches!(broken, StoreError::Corrupt(_)), "{broken:?}");
    victim.raw(&["SET", &record, "text"]).await;
    let other = victim.store.get(job).await.unwrap_err();
    assert!(matches!(other, StoreError::Corrupt(_)), "{other:?}");
    victim.redis.clean().await;
}

#[tokio::test]
async fn a_password_is_in_no_error() {
    let Some(victim) = Victim::take().await else {
        return;
    };
    let url = victim.redis.url.replace("://", "://user:hunter2@");
    let store = RedisStore::connect_lazy(Config::new(url)).unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    let shown = format!("{store:?} {error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// A peer that takes connections and never says a word.
#[tokio::test]
async fn a_silent_peer_is_waited_for_no_longer_than_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let store = RedisStore::connect_lazy(Config::new(url)).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let took = fails(&store).await;
        assert!(took < Duration::from_millis(300) + SLACK, "{took:?}");
        tokio::task::yield_now().await;
    }
}
