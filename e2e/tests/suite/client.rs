//! The three commands of the client, as the README gives them, and how they end.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};
use vmctl_daemon::testing::free_port;

use crate::support::{
    effects::{effects, one_machine_each},
    environment::{self, var},
    suite::{DRAIN, Suite},
    wait::{eventually, patience},
};

/// A user of the client with a home directory and nothing in it.
struct User<'a> {
    home: &'a Path,
    endpoint: String,
}

impl User<'_> {
    /// Starts `vmctl`.
    async fn start(&self, args: &[&str], input: &str) -> Result<Child> {
        let mut child = Command::new(environment::program("vmctl")?)
            .args(args)
            .env_clear()
            .env("PATH", environment::path())
            .env("HOME", self.home)
            .env("XDG_CONFIG_HOME", self.home.join("config"))
            .env("XDG_DATA_HOME", self.home.join("data"))
            .env("XDG_STATE_HOME", self.home.join("state"))
            .env("VMCTL_ENDPOINT", &self.endpoint)
            .env("VMCTL_STORE", "file")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().context("it is a pipe")?;
        // A command that does not read ends the pipe early.
        let _ = stdin.write_all(input.as_bytes()).await;
        Ok(child)
    }

    /// Logs in as the user of the tests.
    async fn log_in(&self) -> Result<()> {
        let (name, project) = (var("VMCTL_TEST_USER")?, var("VMCTL_TEST_PROJECT")?);
        let login = [
            "login",
            "--username",
            &name,
            "--project",
            &project,
            "--password-stdin",
        ];
        expect(4, self.start(&login, "wrong\n").await?).await?;
        let password = format!("{}\n", var("VMCTL_TEST_PASSWORD")?);
        expect(0, self.start(&login, &password).await?).await?;
        Ok(())
    }

    /// Runs `vmctl`, which must end in time and with this code; what it printed on standard output.
    async fn expect(&self, code: i32, args: &[&str]) -> Result<String> {
        let ended = expect(code, self.start(args, "").await?).await;
        ended.with_context(|| format!("vmctl {args:?}"))
    }
}

async fn expect(code: i32, child: Child) -> Result<String> {
    let ended = tokio::time::timeout(patience(), child.wait_with_output()).await;
    let output = ended.context("it does not end")??;
    let shown = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code),
        "{}, not {code}: {shown}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn login_create_and_watch_end_with_the_outcome() -> Result<()> {
    let Some(mut suite) = Suite::new("client").await? else {
        return Ok(());
    };
    suite.set("VMCTL_KINDS_DIR", impatient_kinds(suite.directory())?);
    let three = suite.start_three().await?;
    let home = suite.home()?;
    let user = User {
        home: &home,
        endpoint: three.server.url(),
    };
    user.log_in().await?;

    let printed = user
        .expect(0, &["vm", "create", "--profile", "Micro"])
        .await?;
    let first = printed.trim().to_owned();
    ensure!(
        !first.contains(char::is_whitespace),
        "more than an id: {printed:?}"
    );
    user.expect(0, &["job", "watch", &first]).await?;
    user.expect(0, &["job", "watch", &first]).await?;
    let create = ["vm", "create", "--profile", "Micro", "--wait"];
    let printed = user.expect(0, &create).await?;
    let second = printed
        .split_whitespace()
        .next()
        .context("no id")?
        .to_owned();
    one_machine_each(&suite.machines(), &[first, second])?;

    three.worker.stop(DRAIN).await?;
    suite.set("VMCTL_SIMULATED_FAIL", "boot");
    let worker = suite.start_ready("worker").await?;
    user.expect(10, &create).await?;
    let parked = eventually("the job is parked", async || {
        let parked = suite.vhost.take("jobs.dead").await;
        let parked = parked.map_err(|error| format!("{error:#}"))?;
        (!parked.is_empty())
            .then_some(parked)
            .ok_or("not yet".to_owned())
    })
    .await?;
    ensure!(parked.len() == 1, "{parked:?}");

    user.expect(0, &["logout"]).await?;
    user.expect(4, &["job", "list"]).await?;
    worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}

#[tokio::test]
async fn a_machine_is_created_and_deleted_by_its_host_name() -> Result<()> {
    let Some(mut suite) = Suite::new("delete").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    let three = suite.start_three().await?;
    let home = suite.home()?;
    let user = User {
        home: &home,
        endpoint: three.server.url(),
    };
    user.log_in().await?;
    let machines =
        || -> Result<usize> { Ok(fs::read_dir(suite.machines().join("machines"))?.count()) };
    user.expect(0, &["vm", "create", "--hostname", "lxgone", "--wait"])
        .await?;
    user.expect(0, &["vm", "create", "--hostname", "lxkept", "--wait"])
        .await?;
    ensure!(machines()? == 2);
    user.expect(0, &["vm", "delete", "lxgone", "--wait"])
        .await?;
    ensure!(machines()? == 1);
    // Nothing there to delete is no failure.
    user.expect(0, &["vm", "delete", "lxgone", "--wait"])
        .await?;
    ensure!(machines()? == 1);
    let deleted = effects(&suite.machines())?;
    let deleted = deleted
        .iter()
        .filter(|effect| effect.what == "delete")
        .count();
    ensure!(deleted == 1, "deleted {deleted} times");
    three.stop().await
}

#[tokio::test]
async fn a_watch_survives_the_restart_of_the_server() -> Result<()> {
    let Some(mut suite) = Suite::new("watch").await? else {
        return Ok(());
    };
    suite.set("VMCTL_LISTEN", format!("127.0.0.1:{}", free_port()));
    suite.set("VMCTL_SIMULATED_DURATION", "8s");
    let three = suite.start_three().await?;
    let home = suite.home()?;
    let user = User {
        home: &home,
        endpoint: three.server.url(),
    };
    user.log_in().await?;
    let id = user.expect(0, &["vm", "create"]).await?;
    let id = id.trim();
    suite
        .user(&three.server)
        .await?
        .until(id, "running")
        .await?;
    let mut watch = user.start(&["job", "watch", id], "").await?;
    let mut shown = BufReader::new(watch.stderr.take().context("it is a pipe")?).lines();
    // It has seen the job; then it cannot see anything for a while.
    let line = tokio::time::timeout(patience(), shown.next_line()).await??;
    ensure!(line.is_some(), "nothing shown");
    let shown = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(line) = shown.next_line().await? {
            all.push(line);
        }
        anyhow::Ok(all)
    });
    three.server.stop(DRAIN).await?;
    let server = suite.start("server").await?;
    let watched = expect(0, watch).await;
    let shown = shown.await??;
    watched.with_context(|| format!("{shown:#?}"))?;
    ensure!(
        shown.iter().any(|line| line.contains("succeeded")),
        "{shown:#?}"
    );
    three.worker.stop(DRAIN).await?;
    server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}

/// Makes a directory with a `vm.create` that is tried twice, a second apart, and otherwise ours.
fn impatient_kinds(directory: &Path) -> Result<String> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/data/kinds/vm.create.toml");
    let mut lines = Vec::new();
    for line in fs::read_to_string(&ours)?.lines() {
        lines.push(match line.split(' ').next() {
            Some("max_attempts") => "max_attempts = 2".to_owned(),
            Some("backoff") => "backoff = [\"1s\"]".to_owned(),
            _ => line.to_owned(),
        });
    }
    let kinds = directory.join("kinds");
    fs::create_dir(&kinds)?;
    fs::write(kinds.join("vm.create.toml"), lines.join("\n"))?;
    Ok(kinds.display().to_string())
}
