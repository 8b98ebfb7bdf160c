//! Redis alone, behind Sentinel and as a cluster, over TLS: by an authority that is trusted, and by no other.
#![cfg(feature = "redis")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod redis_support;

use std::path::Path;

use redis_support::servers::Server;
use vmctl_backends::redis::{Config, RedisStore};
use vmctl_core::{error::chain, store::JobStore as _, testing::bus::eventually};
use vmctl_daemon::testing::{Authority, free_port};

/// A server that speaks TLS on a port of its own too.
struct Secure {
    server: Server,
    port: u16,
}

/// Starts one that shows the certificate of a directory.
async fn secure(directory: &Path, kind: &[&str], lines: &str) -> Option<Secure> {
    let port = free_port();
    let place = directory.display();
    let lines = format!(
        "tls-port {port}\ntls-auth-clients no\ntls-replication yes\ntls-cert-file {place}/own.pem\n\
         tls-key-file {place}/own.key\ntls-ca-cert-file {place}/authority.pem\n{lines}"
    );
    let server = Server::start(kind, &lines).await?;
    Some(Secure { server, port })
}

/// Makes a directory with what servers show, and the authority that vouches for it.
fn place() -> (tempfile::TempDir, Authority) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let shown = authority.issue(&["127.0.0.1"]);
    shown.write(directory.path(), "own").unwrap();
    std::fs::write(directory.path().join("authority.pem"), authority.pem()).unwrap();
    (directory, authority)
}

/// Makes sure that a store at this address works if it trusts `ours`, and not if it trusts somebody else.
async fn trusted_alone(url: &str, ours: &Authority) {
    let store = |authority: &Authority| {
        let mut config = Config::new(url.to_owned());
        config.ca_pem = Some(authority.pem());
        RedisStore::connect_lazy(config).unwrap()
    };
    let trusting = store(ours);
    eventually("an answer", async || trusting.ping().await.ok()).await;
    let other = store(&Authority::new("theirs"));
    eventually("a refusal", async || {
        let error = other.ping().await.expect_err("nobody vouches for it");
        // The first attempts may end before the handshake does.
        chain(&error).contains("UnknownIssuer").then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_redis() {
    let (directory, authority) = place();
    let Some(redis) = secure(directory.path(), &[], "save \"\"").await else {
        return;
    };
    trusted_alone(&format!("rediss://127.0.0.1:{}/0", redis.port), &authority).await;
}

#[tokio::test]
async fn behind_sentinel() {
    let (directory, authority) = place();
    let Some(redis) = secure(directory.path(), &[], "save \"\"").await else {
        return;
    };
    let watch = format!("sentinel monitor main 127.0.0.1 {} 1", redis.port);
    let sentinel = secure(directory.path(), &["--sentinel"], &watch)
        .await
        .unwrap();
    let url = format!("rediss+sentinel://127.0.0.1:{}/main/0", sentinel.port);
    trusted_alone(&url, &authority).await;
}

#[tokio::test]
async fn a_cluster() {
    let (directory, authority) = place();
    let lines = format!(
        "save \"\"\ncluster-enabled yes\ntls-cluster yes\ncluster-port {}",
        free_port()
    );
    let Some(redis) = secure(directory.path(), &[], &lines).await else {
        return;
    };
    let all: String = redis
        .server
        .ask("CLUSTER ADDSLOTSRANGE 0 16383")
        .await
        .unwrap();
    assert_eq!(all, "OK");
    eventually("the cluster is whole", async || {
        let info: String = redis.server.ask("CLUSTER INFO").await.ok()?;
        info.contains("cluster_state:ok").then_some(())
    })
    .await;
    let url = format!("rediss+cluster://127.0.0.1:{}", redis.port);
    trusted_alone(&url, &authority).await;
}
