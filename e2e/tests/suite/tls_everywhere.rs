//! Every link over TLS, by an authority that only this test knows: `vmctl` to the server and to Keystone, the
//! programs to RabbitMQ and Redis, and those who ask for health.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};
use vmctl_daemon::testing::Authority;

use crate::support::{
    broker::Secured,
    effects::one_machine_each,
    environment::{self, present, var},
    relay::Relay,
    suite::Suite,
    wait::patience,
};

/// Runs `vmctl`, to its end.
async fn vmctl(suite: &Suite, args: &[&str], input: &str) -> Result<Output> {
    let home = suite.directory();
    let mut child = Command::new(environment::program("vmctl")?)
        .args(args)
        .env_clear()
        .env("PATH", environment::path())
        .env("HOME", home)
        .env("VMCTL_STORE", "file")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("it is a pipe")?;
    // A command that does not read ends the pipe early.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = timeout(patience(), child.wait_with_output()).await;
    Ok(ended.context("it does not end")??)
}

#[tokio::test]
async fn a_job_runs_to_its_end_with_tls_on_every_link() -> Result<()> {
    if !present(&["VMCTL_TEST_SERVICES", "VMCTL_TEST_SERVICES_DIR"])? {
        return Ok(());
    }
    let Some(mut suite) = Suite::new("tls-all").await? else {
        return Ok(());
    };
    let ours = Authority::new("ours");
    let shown = ours.issue(&["127.0.0.1"]);
    let broker = Secured::start(&shown)?;
    suite.redis.restart_with_tls(&shown).await?;
    let keystone: Url = var("VMCTL_KEYSTONE_URL")?.parse()?;
    let relay = Relay::before(&keystone, Some(&shown)).await?;
    suite.speak_tls(&ours)?;
    suite.set("VMCTL_AMQP_URL", broker.url(&suite.vhost.url)?);
    suite.set("VMCTL_REDIS_URL", suite.redis.url());
    suite.set("VMCTL_KEYSTONE_URL", relay.url(&keystone, "https")?);
    let three = suite.start_three().await?;

    let (name, project) = (var("VMCTL_TEST_USER")?, var("VMCTL_TEST_PROJECT")?);
    let (endpoint, password) = (
        three.server.url(),
        format!("{}\n", var("VMCTL_TEST_PASSWORD")?),
    );
    let login = ["login", "--endpoint", &endpoint, "--username", &name];
    let login = [&login[..], &["--project", &project, "--password-stdin"]].concat();
    let refused = vmctl(&suite, &login, &password).await?;
    ensure!(refused.status.code() == Some(20), "{refused:?}");
    let trusted = suite
        .directory()
        .join("authorities.pem")
        .display()
        .to_string();
    let login = [&login[..], &["--ca-file", &trusted]].concat();
    let done = vmctl(&suite, &login, &password).await?;
    ensure!(done.status.success(), "{done:?}");
    // The login remembers whom to trust.
    let create = ["vm", "create", "--profile", "Micro", "--wait"];
    let done = vmctl(&suite, &create, "").await?;
    ensure!(done.status.success(), "{done:?}");
    let printed = String::from_utf8(done.stdout)?;
    let id = printed.split_whitespace().next().context("no id")?;
    one_machine_each(&suite.machines(), &[id.to_owned()])?;
    let done = vmctl(&suite, &["logout"], "").await?;
    ensure!(done.status.success(), "{done:?}");
    three.stop().await
}
