//! The three commands of the client, as the README gives them, and how they end.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::support::{
    effects::one_machine_each,
    environment::{self, var},
    suite::{DRAIN, Suite},
    wait::patience,
};

/// A user of the client with a home directory and nothing in it.
struct User<'a> {
    home: &'a Path,
    endpoint: String,
}

impl User<'_> {
    /// Runs `vmctl`; it must end in time.
    async fn vmctl(&self, args: &[&str], input: &str) -> Result<Output> {
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
        drop(stdin);
        let ended = tokio::time::timeout(patience(), child.wait_with_output()).await;
        Ok(ended.with_context(|| format!("vmctl {args:?} does not end"))??)
    }

    /// The same, with the exit code that it must have; what it printed on standard output.
    async fn expect(&self, code: i32, args: &[&str], input: &str) -> Result<String> {
        let output = self.vmctl(args, input).await?;
        ensure!(
            output.status.code() == Some(code),
            "vmctl {args:?}: {output:?}"
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[tokio::test]
async fn login_create_and_watch_end_with_the_outcome() -> Result<()> {
    let Some(mut suite) = Suite::new("client").await? else {
        return Ok(());
    };
    suite.set("VMCTL_KINDS_DIR", impatient_kinds(suite.directory())?);
    let three = suite.start_three().await?;
    let home = suite.directory().join("home");
    fs::create_dir(&home)?;
    let user = User {
        home: &home,
        endpoint: three.server.url(),
    };

    let (name, project) = (var("VMCTL_TEST_USER")?, var("VMCTL_TEST_PROJECT")?);
    let login = [
        "login",
        "--username",
        &name,
        "--project",
        &project,
        "--password-stdin",
    ];
    user.expect(4, &login, "wrong\n").await?;
    let password = format!("{}\n", var("VMCTL_TEST_PASSWORD")?);
    user.expect(0, &login, &password).await?;

    let printed = user
        .expect(0, &["vm", "create", "--profile", "Micro"], "")
        .await?;
    let first = printed.trim().to_owned();
    ensure!(
        !first.contains(char::is_whitespace),
        "more than an id: {printed:?}"
    );
    user.expect(0, &["job", "watch", &first], "").await?;
    user.expect(0, &["job", "watch", &first], "").await?;
    let create = ["vm", "create", "--profile", "Micro", "--wait"];
    let printed = user.expect(0, &create, "").await?;
    let second = printed
        .split_whitespace()
        .next()
        .context("no id")?
        .to_owned();
    one_machine_each(&suite.machines(), &[first, second])?;

    three.worker.stop(DRAIN).await?;
    suite.set("VMCTL_SIMULATED_FAIL", "boot");
    let worker = suite.start_ready("worker").await?;
    user.expect(10, &create, "").await?;
    worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
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
