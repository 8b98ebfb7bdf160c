//! What `deploy/make-secrets.sh` makes, as Redis and a program of the suite take it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use tokio::process::{Child, Command};
use vmctl_daemon::testing::free_port;

use crate::support::{environment, wait::eventually};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(file)
}

/// Makes them, or makes them again.
async fn make(secrets: &Path) -> Result<()> {
    let made = Command::new(deploy("make-secrets.sh"))
        .arg("--server")
        .arg(environment::program("vmctl-server")?)
        .args(["--redis", "localhost"])
        .arg(secrets)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "{}: {said}", made.status);
    Ok(())
}

/// Starts Redis with the settings of Compose and of one node of Kubernetes.
fn redis(secrets: &Path, port: u16) -> Result<Child> {
    let file = |name: &str| secrets.join(name).display().to_string();
    let redis = Command::new("redis-server")
        .arg(deploy("kubernetes/minikube/redis.conf"))
        .args(["--tls-port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--aclfile", &file("redis-users.acl")])
        .args(["--tls-cert-file", &file("tls-redis.pem")])
        .args(["--tls-key-file", &file("tls-redis.key")])
        .args(["--tls-ca-cert-file", &file("ca.pem")])
        .current_dir(secrets)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    redis.context("redis-server")
}

/// What a program with this user says of Redis.
async fn check(secrets: &Path, user: &str, port: u16) -> Result<String> {
    let url = fs::read_to_string(secrets.join(format!("redis-url-{user}")))?;
    ensure!(url.ends_with("@localhost:6379/0"), "another address");
    let checked = Command::new(environment::program("vmctl-reader")?)
        .arg("check")
        .env_clear()
        .env("VMCTL_CA_FILE", secrets.join("ca.pem"))
        .env("VMCTL_REDIS_URL", url.replace("6379", &port.to_string()))
        // Not what is asked here: nobody is there.
        .env("VMCTL_AMQP_URL", "amqp://127.0.0.1:9/%2f")
        .output()
        .await?;
    Ok(String::from_utf8_lossy(&checked.stdout).into_owned())
}

async fn cli(secrets: &Path, port: u16, words: &[&str]) -> Result<String> {
    let asked = Command::new("redis-cli")
        .args(["--tls", "--cacert"])
        .arg(secrets.join("ca.pem"))
        .args(["-p", &port.to_string(), "--user", "probe", "--pass", "-"])
        .arg("--no-auth-warning")
        .args(words)
        .output()
        .await?;
    Ok(String::from_utf8_lossy(&asked.stdout).trim().to_owned())
}

#[tokio::test]
async fn what_is_made_for_redis_lets_each_program_in_and_stays_as_it_is() -> Result<()> {
    if !environment::present(&["VMCTL_TEST_SERVICES_DIR"])? {
        return Ok(());
    }
    let directory = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755))
        .tempdir()?;
    // One that others may enter is refused.
    assert!(make(directory.path()).await.is_err());
    let secrets = &directory.path().join("secrets");
    make(secrets).await?;
    let port = free_port();
    let redis = redis(secrets, port)?;
    for user in ["vmctl-server", "vmctl-reader", "vmctl-worker"] {
        eventually(user, async || {
            let said = check(secrets, user, port).await.unwrap_or_default();
            let is_well = said.lines().any(|line| line == "redis     ok");
            is_well.then_some(()).ok_or(said)
        })
        .await?;
    }
    assert_eq!(cli(secrets, port, &["ping"]).await?, "PONG");
    let refused = cli(secrets, port, &["get", "claim:1"]).await?;
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
    make(secrets).await?;
    assert_eq!(first, read());
    Ok(())
}
