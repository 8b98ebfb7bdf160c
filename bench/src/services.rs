//! The services that `scripts/bench` has started.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use vmctl_backends::rabbitmq;

/// Returns what an environment variable says.
pub(crate) fn var(name: &str) -> Result<String> {
    env::var(name)
        .with_context(|| format!("{name} is not set; run `make bench`, which starts the services"))
}

/// Says whether there are services.
pub(crate) fn are_there() -> bool {
    var("VMCTL_AMQP_URL").is_ok()
}

/// The address of the broker without vhost.
fn broker() -> Result<String> {
    let url = var("VMCTL_AMQP_URL")?;
    let (base, _) = url
        .rsplit_once('/')
        .context("VMCTL_AMQP_URL has no vhost")?;
    Ok(base.to_owned())
}

/// Names a vhost that no earlier run has left behind.
pub(crate) fn vhost_name(name: &str) -> String {
    format!("bench-{name}-{}", std::process::id())
}

/// Makes a fresh vhost and returns its address.
pub(crate) fn vhost(name: &str) -> Result<String> {
    let base = broker()?;
    let user = base
        .strip_prefix("amqp://")
        .and_then(|rest| rest.split_once(':'))
        .map_or("guest", |(user, _)| user);
    rabbitmqctl(&["add_vhost", name])?;
    rabbitmqctl(&["set_permissions", "-p", name, user, ".*", ".*", ".*"])?;
    Ok(format!("{base}/{name}"))
}

/// Removes a vhost with all that it holds.
pub(crate) fn remove_vhost(name: &str) -> Result<()> {
    rabbitmqctl(&["delete_vhost", name])
}

fn rabbitmqctl(args: &[&str]) -> Result<()> {
    let status = Command::new(var("VMCTL_TEST_SERVICES")?)
        .arg("rabbitmqctl")
        .args(args)
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "rabbitmqctl {args:?} failed");
    Ok(())
}

/// Settings of the broker's backend for an address.
pub(crate) fn amqp_config(url: &str) -> Result<rabbitmq::Config> {
    Ok(rabbitmq::Config::new(vec![url.parse()?]))
}

/// Returns the address of a database of Redis.
pub(crate) fn redis(database: u8) -> Result<String> {
    let url = var("VMCTL_REDIS_URL")?;
    let (base, _) = url
        .rsplit_once('/')
        .context("VMCTL_REDIS_URL has no database")?;
    Ok(format!("{base}/{database}"))
}

/// Makes Redis forget everything.
pub(crate) async fn flush_redis() -> Result<()> {
    tell_redis("FLUSHALL\r\n", "+OK\r\n").await
}

/// Makes Redis forget one database.
pub(crate) async fn flush_database(database: u8) -> Result<()> {
    let both = format!("SELECT {database}\r\nFLUSHDB\r\n");
    tell_redis(&both, "+OK\r\n+OK\r\n").await
}

async fn tell_redis(what: &str, expected: &str) -> Result<()> {
    let url = var("VMCTL_REDIS_URL")?;
    let address = url
        .strip_prefix("redis://")
        .and_then(|rest| rest.split('/').next())
        .context("VMCTL_REDIS_URL is no plain address")?;
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(what.as_bytes()).await?;
    let mut answer = vec![0; expected.len()];
    connection.read_exact(&mut answer).await?;
    ensure!(
        answer == expected.as_bytes(),
        "{what:?}: {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// Returns broker and Redis with their process ids.
pub(crate) fn processes() -> Result<Vec<(&'static str, u32)>> {
    let directory = PathBuf::from(var("VMCTL_SERVICES_DIR")?);
    let pid = |name: &'static str, process| {
        let text = fs::read_to_string(directory.join(name).join("pid"))?;
        anyhow::Ok((process, text.trim().parse()?))
    };
    Ok(vec![pid("rabbitmq", "RabbitMQ")?, pid("redis", "Redis")?])
}
