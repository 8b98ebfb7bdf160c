//! What `deploy/make-secrets.sh` makes, as Redis and a program of the suite take it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use vmctl_daemon::testing::free_port;

use crate::support::{environment, wait::eventually};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(file)
}

/// Makes them, or makes them again.
async fn make(secrets: &Path, redis: &[&str]) -> Result<()> {
    let made = Command::new(deploy("make-secrets.sh"))
        .arg("--server")
        .arg(environment::program("vmctl-server")?)
        .args(redis)
        .arg(secrets)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "{}: {said}", made.status);
    Ok(())
}

/// Starts Redis with the settings of Compose and of one node of Kubernetes.
fn redis(secrets: &Path, port: u16, more: &[&str]) -> Result<Child> {
    let file = |name: &str| secrets.join(name).display().to_string();
    // Sentinel has it written again.
    let settings = secrets.join(format!("redis-{port}.conf"));
    fs::copy(deploy("kubernetes/minikube/redis.conf"), &settings)?;
    let redis = Command::new("redis-server")
        .arg(settings)
        .args(["--tls-port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--aclfile", &file("redis-users.acl")])
        .args(["--tls-cert-file", &file("tls-redis.pem")])
        .args(["--tls-key-file", &file("tls-redis.key")])
        .args(["--tls-ca-cert-file", &file("ca.pem")])
        .args(more)
        .current_dir(secrets)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    redis.context("redis-server")
}

/// What a program says of Redis at the address that was made for this user, but for the port.
async fn check(secrets: &Path, user: &str, port: &str) -> Result<String> {
    let url = fs::read_to_string(secrets.join(format!("redis-url-{user}")))?;
    let checked = Command::new(environment::program("vmctl-reader")?)
        .arg("check")
        .env_clear()
        .env("VMCTL_CA_FILE", secrets.join("ca.pem"))
        .env("VMCTL_REDIS_URL", url.replace("6379", port))
        // Not what is asked here.
        .env("VMCTL_AMQP_URL", environment::var("VMCTL_TEST_AMQP_URL")?)
        .output()
        .await?;
    Ok(String::from_utf8_lossy(&checked.stdout).into_owned())
}

/// Waits until programs with each of their users find Redis.
async fn all_find_redis(secrets: &Path, port: &str) -> Result<()> {
    for user in ["vmctl-server", "vmctl-reader", "vmctl-worker"] {
        eventually(user, async || {
            let said = check(secrets, user, port).await.unwrap_or_default();
            let is_well = said.lines().any(|line| line == "redis     ok");
            is_well.then_some(()).ok_or(said)
        })
        .await?;
    }
    Ok(())
}

async fn cli(secrets: &Path, port: u16, user: &str, words: &[&str]) -> Result<String> {
    let password = fs::read_to_string(secrets.join("passwords").join(user));
    let asked = Command::new("redis-cli")
        .args(["--tls", "--cacert"])
        .arg(secrets.join("ca.pem"))
        .args(["-p", &port.to_string(), "--user", user, "--pass"])
        // One is there without a password.
        .arg(password.unwrap_or("-".to_owned()))
        .arg("--no-auth-warning")
        .args(words)
        .output()
        .await?;
    Ok(String::from_utf8_lossy(&asked.stdout).trim().to_owned())
}

/// A new directory, which others may enter, and one inside that they may not.
fn place() -> Result<(TempDir, PathBuf)> {
    let directory = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755))
        .tempdir()?;
    let secrets = directory.path().join("secrets");
    Ok((directory, secrets))
}

#[tokio::test]
async fn what_is_made_for_redis_lets_each_program_in_and_stays_as_it_is() -> Result<()> {
    if !environment::present(&["VMCTL_TEST_AMQP_URL"])? {
        return Ok(());
    }
    let (directory, secrets) = place()?;
    let (secrets, options) = (&secrets, &["--redis", "localhost"]);
    // One that others may enter is refused.
    assert!(make(directory.path(), options).await.is_err());
    make(secrets, options).await?;
    let port = free_port();
    let redis = redis(secrets, port, &[])?;
    all_find_redis(secrets, &port.to_string()).await?;
    assert_eq!(cli(secrets, port, "probe", &["ping"]).await?, "PONG");
    let refused = cli(secrets, port, "probe", &["get", "claim:1"]).await?;
    assert!(refused.starts_with("NOPERM"), "{refused}");
    drop(redis);

    let kept = [
        "id-secret",
        "passwords/vmctl-server",
        "tls-redis.pem",
        "ca.pem",
    ];
    let read = || kept.map(|name| fs::read(secrets.join(name)).unwrap_or_default());
    let first = read();
    assert!(first.iter().all(|content| !content.is_empty()));
    make(secrets, options).await?;
    assert_eq!(first, read());
    Ok(())
}

/// Starts a Sentinel as a pod of production does.
fn sentinel(secrets: &Path, port: u16, master: u16) -> Result<Child> {
    let place = secrets.display();
    let password = fs::read_to_string(secrets.join("redis-sentinel"))?;
    let lines = format!(
        "port 0\ntls-port {port}\nbind 127.0.0.1\ndir {place}\ntls-cert-file {place}/tls-redis.pem\n\
         tls-key-file {place}/tls-redis.key\ntls-ca-cert-file {place}/ca.pem\ntls-auth-clients no\n\
         tls-replication yes\naclfile {place}/sentinel-users.acl\n\
         sentinel sentinel-user sentinel\nsentinel sentinel-pass {password}\n\
         sentinel monitor vmctl 127.0.0.1 {master} 2\nsentinel auth-user vmctl sentinel\n\
         sentinel auth-pass vmctl {password}\nsentinel down-after-milliseconds vmctl 1000\n\
         sentinel failover-timeout vmctl 6000\n"
    );
    let file = secrets.join(format!("sentinel-{port}.conf"));
    fs::write(&file, lines)?;
    let sentinel = Command::new("redis-server")
        .arg(file)
        .arg("--sentinel")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    sentinel.context("redis-server --sentinel")
}

#[tokio::test]
async fn programs_ask_sentinels_and_only_sentinels_replace_a_master() -> Result<()> {
    if !environment::present(&["VMCTL_TEST_AMQP_URL"])? {
        return Ok(());
    }
    let (_directory, secrets) = place()?;
    let secrets = &secrets;
    let [master, replica, one, other] = [(); 4].map(|()| free_port());
    let sentinels = format!("localhost:{one},localhost:{other}");
    make(secrets, &["--sentinel", "vmctl", "--redis", &sentinels]).await?;
    let password = fs::read_to_string(secrets.join("redis-replica"))?;
    let joins = ["--masteruser", "replica", "--masterauth", &password];
    let secured = [&joins[..], &["--tls-replication", "yes"]].concat();
    let leads = redis(secrets, master, &secured)?;
    let of = format!("127.0.0.1 {master}");
    let _follows = redis(
        secrets,
        replica,
        &[&secured[..], &["--replicaof", &of]].concat(),
    )?;
    let _sentinels = [
        sentinel(secrets, one, master)?,
        sentinel(secrets, other, master)?,
    ];
    // Nothing in the addresses is replaced: they have the ports of the Sentinels.
    all_find_redis(secrets, "6379").await?;
    for order in [
        "failover vmctl",
        "set vmctl quorum 1",
        "remove vmctl",
        "monitor mine 127.0.0.1 1 1",
    ] {
        let words: Vec<_> = ["sentinel"].into_iter().chain(order.split(' ')).collect();
        let refused = cli(secrets, one, "vmctl-worker", &words).await?;
        ensure!(refused.starts_with("NOPERM"), "{order}: {refused}");
    }
    let refused = cli(secrets, one, "vmctl-worker", &["shutdown"]).await?;
    ensure!(refused.starts_with("NOPERM"), "{refused}");

    eventually("each knows the other, and the replica", async || {
        for port in [one, other] {
            let known = cli(secrets, port, "vmctl-server", &["sentinel", "masters"]).await;
            let known = known.map_err(|error| format!("{error:#}"))?;
            for (what, number) in [("num-slaves", "1"), ("num-other-sentinels", "1")] {
                if !known.contains(&format!("{what}\n{number}\n")) {
                    return Err(known);
                }
            }
        }
        Ok(())
    })
    .await?;
    drop(leads);
    let ask = ["sentinel", "get-master-addr-by-name", "vmctl"];
    eventually("the replica leads", async || {
        let leads = cli(secrets, one, "sentinel", &ask).await;
        let leads = leads.map_err(|error| format!("{error:#}"))?;
        leads
            .ends_with(&replica.to_string())
            .then_some(())
            .ok_or(leads)
    })
    .await?;
    all_find_redis(secrets, "6379").await
}
