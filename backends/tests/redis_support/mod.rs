//! A Redis for tests: an address from the environment, a prefix of its own for each case.
#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

pub mod servers;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use vmctl_backends::redis::{Config, RedisStore};
use vmctl_core::{
    clock::{Clock as _, SystemClock, new_uuid},
    partition::Partition,
    store::FoldStore,
    testing::store::StoreFixture,
};

/// Returns the address in a variable; without one says so, and fails under `VMCTL_TEST_STRICT=1`.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn address(variable: &str) -> Option<String> {
    let address = std::env::var(variable).ok().filter(|a| !a.is_empty());
    if address.is_none() {
        let strict = std::env::var("VMCTL_TEST_STRICT").is_ok_and(|v| v == "1");
        assert!(!strict, "{variable} is not set");
        eprintln!("skipped: {variable} is not set");
    }
    address
}

/// A store with keys of its own.
pub struct Redis {
    pub url: String,
    pub config: Config,
    pub store: RedisStore,
}

impl Redis {
    /// Makes one at the address, with patience for a machine that does many things at once.
    pub fn at(url: String) -> Self {
        let mut config = Config::new(url.clone());
        config.prefix = format!("test-{}:", new_uuid(&SystemClock));
        config.command_timeout = Duration::from_secs(5);
        config.fold_timeout = Duration::from_secs(10);
        Self {
            store: RedisStore::connect_lazy(config.clone()).unwrap(),
            url,
            config,
        }
    }

    /// Returns a connection beside the store's.
    pub async fn raw(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Returns the names of all its keys.
    pub async fn keys(&self) -> Vec<String> {
        let mut raw = self.raw().await;
        let (mut cursor, mut all) = (0_u64, Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(format!("{}*", self.config.prefix))
                .arg("COUNT")
                .arg(10_000);
            let keys: Vec<String>;
            (cursor, keys) = scan.query_async(&mut raw).await.unwrap();
            all.extend(keys);
            if cursor == 0 {
                return all;
            }
        }
    }

    /// Removes all its keys.
    pub async fn clean(&self) {
        let keys = self.keys().await;
        if !keys.is_empty() {
            let mut unlink = redis::cmd("UNLINK");
            let mut raw = self.raw().await;
            unlink.arg(keys).exec_async(&mut raw).await.unwrap();
        }
    }
}

#[async_trait]
impl StoreFixture for Redis {
    async fn set_up(_: &str) -> Option<Self> {
        Some(Self::at(address("VMCTL_TEST_REDIS_URL")?))
    }

    fn store(&self) -> Arc<dyn FoldStore> {
        Arc::new(self.store.clone())
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn flush(&self) {
        self.clean().await;
    }

    async fn bad(&self, partition: Partition) -> Vec<(u64, String)> {
        let key = format!("{}{{{partition}}}:bad", self.config.prefix);
        let mut range = redis::cmd("LRANGE");
        range.arg(key).arg(0).arg(-1);
        let texts: Vec<String> = range.query_async(&mut self.raw().await).await.unwrap();
        let parse = |text: &String| serde_json::from_str(text).unwrap();
        texts.iter().map(parse).collect()
    }

    async fn tear_down(self) {
        self.clean().await;
    }
}
