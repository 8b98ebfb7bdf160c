//! The store on Redis Cluster and behind Sentinel.
#![cfg(feature = "redis")]

mod redis_support;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use redis_support::{
    Redis,
    servers::{Server, free_port},
};
use vmctl_core::{
    clock::{Clock as _, SystemClock},
    partition::Partition,
    store::{FoldStore, JobStore},
    testing::{
        bus::eventually,
        store::{self, StoreFixture, sample::Story},
    },
};

static CLUSTER: OnceLock<String> = OnceLock::new();

/// A store on the cluster; its keys go with the servers.
struct OnCluster(Redis);

#[async_trait]
impl StoreFixture for OnCluster {
    async fn set_up(_: &str) -> Option<Self> {
        Some(Self(Redis::at(CLUSTER.get()?.clone())))
    }

    fn store(&self) -> Arc<dyn FoldStore> {
        self.0.store()
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn flush(&self) {
        panic!("no case of this list flushes");
    }

    async fn bad(&self, _: Partition) -> Vec<(u64, String)> {
        panic!("no case of this list asks");
    }
}

async fn node() -> Option<Server> {
    let bus = free_port();
    let lines = format!("cluster-enabled yes\ncluster-port {bus}\nsave \"\"");
    Server::start(&[], &lines).await
}

#[tokio::test]
async fn every_script_stays_in_one_slot_of_a_cluster() {
    let (Some(first), Some(second)) = (node().await, node().await) else {
        return;
    };
    let ask = async |server: &Server, words: &str| {
        let _: redis::Value = server.ask(words).await.unwrap();
    };
    ask(&first, "CLUSTER ADDSLOTSRANGE 0 8191").await;
    ask(&second, "CLUSTER ADDSLOTSRANGE 8192 16383").await;
    let bus: String = second
        .ask("CONFIG GET cluster-port")
        .await
        .map(|pair: Vec<String>| pair[1].clone())
        .unwrap();
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", second.port);
    ask(&first, &meet).await;
    for server in [&first, &second] {
        eventually("cluster", async || {
            let info: String = server.ask("CLUSTER INFO").await.unwrap();
            let whole = info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2");
            whole.then_some(())
        })
        .await;
    }
    let url = format!(
        "redis+cluster://127.0.0.1:{},127.0.0.1:{}",
        first.port, second.port
    );
    CLUSTER.set(url).unwrap();

    macro_rules! cases {
        ($($case:ident)*) => {
            $(store::run::<OnCluster>(stringify!($case), store::$case).await;)*
        };
    }
    cases! {
        folding_gives_what_the_merge_gives
        batches_are_independent
        a_voided_position_is_the_first_entry
        a_written_ahead_job_is_read_at_once
        many_records_come_in_the_order_asked
        a_history_is_in_log_order_and_bounded
        a_list_is_newest_first_and_paged
        projects_are_apart
        unlisted_lines_are_gone
        a_tick_touches_its_own_live_run
        overdue_jobs_come_earliest_first
        silent_jobs_are_paged_longest_silence_first
        the_oldest_ends_make_room
        a_shortened_job_that_runs_again_is_kept
        fullness_is_told_for_each_partition
        a_run_is_taken_once
        claims_of_projects_are_apart
        two_readers_share_evenly
        released_partitions_are_free
        the_store_answers
    }
    let OnCluster(redis) = OnCluster::set_up("").await.unwrap();
    assert_eq!(redis.store.check_policy().await.unwrap(), None);
    // Each partition is asked for at the master that has it.
    ask(&first, "CONFIG SET maxmemory 200mb").await;
    let all: Vec<_> = Partition::all().collect();
    let fullness = redis.store.fullness(&all).await.unwrap();
    let limited = fullness.iter().flatten().count();
    assert!((1..all.len()).contains(&limited), "{fullness:?}");
}

#[tokio::test]
async fn the_new_master_is_found_behind_sentinel() {
    let Some(master) = Server::start(&[], "save \"\"").await else {
        return;
    };
    let follow = format!("save \"\"\nreplicaof 127.0.0.1 {}", master.port);
    let replica = Server::start(&[], &follow).await.unwrap();
    eventually("replica", async || {
        let info: String = master.ask("INFO replication").await.unwrap();
        info.contains("state=online").then_some(())
    })
    .await;
    let watch = format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel failover-timeout main 5000",
        master.port
    );
    let sentinel = Server::start(&["--sentinel"], &watch).await.unwrap();
    let url = format!("redis+sentinel://127.0.0.1:{}/main/0", sentinel.port);
    let redis = Redis::at(url);
    let now = SystemClock.now();
    let story = Story { start: now };
    let submit = async |n: i64| {
        let spec = story.spec(story.job("job", n), "demo", n);
        let fact = story.submission(&spec);
        redis.store.prewrite(&fact, now).await.map(|()| spec.id)
    };
    let first = submit(1).await.unwrap();
    eventually("failover", async || {
        let done: redis::RedisResult<()> = sentinel.ask("SENTINEL FAILOVER main").await;
        done.ok()
    })
    .await;
    eventually("write on the new master", async || {
        let id = submit(2).await.ok()?;
        let info: String = replica.ask("INFO replication").await.ok()?;
        let found = redis.store.get(id).await.ok()?.record.is_some();
        (found && info.contains("role:master")).then_some(())
    })
    .await;
    eventually("old data", async || {
        redis.store.get(first).await.ok()?.record
    })
    .await;
}
