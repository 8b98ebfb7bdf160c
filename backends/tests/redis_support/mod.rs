//! A Redis for tests: an address from the environment, a prefix of its own for each case.
#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

pub mod servers;

use std::{marker::PhantomData, sync::Arc, time::Duration};

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

/// Where a store of the suite is.
pub trait Place: Send + Sync {
    /// The variable that has its address.
    const VARIABLE: &str;
}

/// A store at a place other than the usual one.
pub struct At<P>(pub Redis, PhantomData<P>);

#[async_trait]
impl<P: Place> StoreFixture for At<P> {
    async fn set_up(_: &str) -> Option<Self> {
        Some(Self(Redis::at(address(P::VARIABLE)?), PhantomData))
    }

    fn store(&self) -> Arc<dyn FoldStore> {
        self.0.store()
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn pass(&self, time: Duration) {
        self.0.pass(time).await;
    }

    async fn flush(&self) {
        self.0.flush().await;
    }

    async fn bad(&self, partition: Partition) -> Vec<(u64, String)> {
        self.0.bad(partition).await
    }

    async fn tear_down(self) {
        self.0.tear_down().await;
    }
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

    /// Returns a connection to each server that takes writes.
    async fn masters(&self) -> Vec<MultiplexedConnection> {
        let mut all = Vec::new();
        for url in self.master_urls().await {
            let client = redis::Client::open(url).unwrap();
            all.push(client.get_multiplexed_async_connection().await.unwrap());
        }
        all
    }

    async fn master_urls(&self) -> Vec<String> {
        let Some((group, rest)) = self.url.split_once("://").filter(|(g, _)| g.contains('+'))
        else {
            return vec![self.url.clone()];
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let first = format!("redis://{}", hosts.split(',').next().unwrap());
        let client = redis::Client::open(first).unwrap();
        let mut raw = client.get_multiplexed_async_connection().await.unwrap();
        if group == "redis+sentinel" {
            let mut ask = redis::cmd("SENTINEL");
            ask.arg("GET-MASTER-ADDR-BY-NAME")
                .arg(path.split('/').next().unwrap());
            let (host, port): (String, u16) = ask.query_async(&mut raw).await.unwrap();
            return vec![format!("redis://{host}:{port}")];
        }
        let mut ask = redis::cmd("CLUSTER");
        let nodes: String = ask.arg("NODES").query_async(&mut raw).await.unwrap();
        let leads = |line: &&str| line.contains("master") && !line.contains("fail");
        let masters = nodes.lines().filter(leads);
        let address = |line: &str| line.split([' ', '@']).nth(1).unwrap().to_owned();
        masters
            .map(|line| format!("redis://{}", address(line)))
            .collect()
    }

    async fn keys_at(&self, raw: &mut MultiplexedConnection) -> Vec<String> {
        let (mut cursor, mut all) = (0_u64, Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(format!("{}*", self.config.prefix))
                .arg("COUNT")
                .arg(10_000);
            let keys: Vec<String>;
            (cursor, keys) = scan.query_async(raw).await.unwrap();
            all.extend(keys);
            if cursor == 0 {
                return all;
            }
        }
    }

    /// Returns the names of all its keys.
    pub async fn keys(&self) -> Vec<String> {
        let mut all = Vec::new();
        for mut raw in self.masters().await {
            all.extend(self.keys_at(&mut raw).await);
        }
        all
    }

    /// Returns those keys of projects that nothing removes.
    pub async fn eternal(&self) -> Vec<String> {
        let mut eternal = Vec::new();
        for mut raw in self.masters().await {
            let mut keys = self.keys_at(&mut raw).await;
            keys.retain(|key| key.contains("{ix:"));
            for key in keys {
                let mut left = redis::cmd("PTTL");
                let left: i64 = left.arg(&key).query_async(&mut raw).await.unwrap();
                if left == -1 {
                    eternal.push(key);
                }
            }
        }
        eternal
    }

    /// Removes all its keys, one by one: in a cluster each has a slot of its own.
    pub async fn clean(&self) {
        for mut raw in self.masters().await {
            let mut unlink = redis::pipe();
            for key in self.keys_at(&mut raw).await {
                unlink.cmd("UNLINK").arg(key).ignore();
            }
            if !unlink.is_empty() {
                unlink.exec_async(&mut raw).await.unwrap();
            }
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
        for mut raw in self.masters().await {
            // One that does not have the key's slot says so.
            let texts: redis::RedisResult<Vec<String>> = range.query_async(&mut raw).await;
            if let Ok(texts) = texts {
                let parse = |text: &String| serde_json::from_str(text).unwrap();
                return texts.iter().map(parse).collect();
            }
        }
        panic!("no server has the slot of {partition}");
    }

    async fn tear_down(self) {
        self.clean().await;
    }
}
