//! The contract of the store on Redis Cluster and behind Sentinel, and a failover of the latter.
#![cfg(feature = "redis")]

mod redis_support;

use redis_support::{Redis, servers::Server};
use vmctl_core::{
    clock::{Clock as _, SystemClock},
    store::JobStore,
    testing::{bus::eventually, store::sample::Story},
};

/// Every script stays in one slot, or the cluster refuses it.
mod cluster {
    use vmctl_core::{store_suite, testing::store::StoreFixture};

    use crate::redis_support::{At, Place};

    struct Cluster;

    impl Place for Cluster {
        const VARIABLE: &str = "VMCTL_TEST_REDIS_CLUSTER_URL";
    }

    store_suite!(At<Cluster>, #[tokio::test]);

    #[tokio::test]
    async fn every_node_is_asked_for_its_policy() {
        if let Some(at) = At::<Cluster>::set_up("policy").await {
            assert_eq!(at.0.store.check_policy().await.unwrap(), None);
        }
    }
}

mod sentinel {
    use vmctl_core::store_suite;

    use crate::redis_support::{At, Place};

    struct Sentinel;

    impl Place for Sentinel {
        const VARIABLE: &str = "VMCTL_TEST_SENTINEL_URL";
    }

    store_suite!(At<Sentinel>, #[tokio::test]);
}

/// Sentinel and Redis each have a password of their own.
#[tokio::test]
async fn sentinels_may_ask_for_a_password() {
    let Some(redis) = Server::start(&[], "save \"\"").await else {
        return;
    };
    let set: String = redis
        .ask("ACL SETUSER ours on >red&is ~* &* +@all")
        .await
        .unwrap();
    assert_eq!(set, "OK");
    let watch = format!("sentinel monitor main 127.0.0.1 {} 1", redis.port);
    let sentinel = Server::start(&["--sentinel"], &watch).await.unwrap();
    // The second is what `requirepass` does. From then on this test may not say anything.
    for user in [
        "watcher on >sen&tinel +@all",
        "default resetpass >all&alone",
    ] {
        let set: String = sentinel.ask(&format!("ACL SETUSER {user}")).await.unwrap();
        assert_eq!(set, "OK");
    }
    let at = |query: &str| {
        let address = format!("ours:red%26is@127.0.0.1:{}", sentinel.port);
        Redis::at(format!("redis+sentinel://{address}/main/0{query}")).store
    };
    for (query, may) in [
        ("", false),
        ("?sentinel_password=red%26is", false),
        ("?sentinel_password=all%26alone", true),
        (
            "?sentinel_username=watcher&sentinel_password=sen%26tinel",
            true,
        ),
    ] {
        let store = at(query);
        if may {
            eventually("an answer", async || store.ping().await.ok()).await;
        } else {
            store.ping().await.expect_err(query);
        }
    }
}

#[tokio::test]
async fn the_new_master_is_found_behind_sentinel() {
    // A replica that waits for others first takes most of the patience.
    let lines = "save \"\"\nrepl-diskless-sync-delay 0";
    let Some(master) = Server::start(&[], lines).await else {
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
