//! `vmctl` and a server that shows a certificate of a private authority.

use std::fs;

use anyhow::{Result, ensure};
use tokio::process::Command;
use vmctl_daemon::testing::{Authority, Identity};

use crate::support::{
    api,
    environment::{self, present},
    receiver::{Receiver, answer},
};

/// No job has it.
const ID: &str = "7fda68b7-b4de-85a6-99fd-57b019cf19ae";

/// Exit codes of the client.
const NOT_FOUND: i32 = 6;
const UNREACHABLE: i32 = 20;

/// Asks a server that knows no job, and shows this; its exit code, and how many requests it got.
async fn ask(shown: &Identity, trusted: Option<&Authority>) -> Result<(Option<i32>, usize)> {
    let server = Receiver::start_as(shown, || answer(404, &[])).await;
    let home = tempfile::tempdir()?;
    let mut command = Command::new(environment::program("vmctl")?);
    command
        .args(["job", "show", ID])
        .env_clear()
        .env("HOME", home.path())
        .env("VMCTL_TOKEN", "a-token")
        .env("VMCTL_ENDPOINT", format!("https://{}", server.address));
    if let Some(authority) = trusted {
        let bundle = home.path().join("authorities.pem");
        fs::write(&bundle, authority.pem())?;
        command.env("SSL_CERT_FILE", bundle);
    }
    let output = command.output().await?;
    Ok((output.status.code(), server.hits().len()))
}

#[tokio::test]
async fn vmctl_talks_to_a_server_that_a_trusted_authority_vouches_for_and_no_other() -> Result<()> {
    if !present(&[])? {
        return Ok(());
    }
    api::install_tls();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let here = "127.0.0.1";
    let answered = ask(&ours.issue(&[here]), Some(&ours)).await?;
    ensure!(answered == (Some(NOT_FOUND), 1), "{answered:?}");
    for (why, shown, trusted) in [
        ("unknown authority", theirs.issue(&[here]), Some(&ours)),
        ("no authority", ours.issue(&[here]), None),
        ("wrong name", ours.issue(&["127.0.0.2"]), Some(&ours)),
        ("expired", ours.issue_expired(&[here]), Some(&ours)),
    ] {
        let refused = ask(&shown, trusted).await?;
        ensure!(refused == (Some(UNREACHABLE), 0), "{why}: {refused:?}");
    }
    Ok(())
}
