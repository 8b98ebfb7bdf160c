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

/// Ways to tell `vmctl` whom to trust.
const WAYS: [&str; 2] = ["SSL_CERT_FILE", "VMCTL_CA_FILE"];

/// Asks a server that knows no job, and shows this or speaks no TLS; the client's exit code, how many requests
/// the server got, and what the client said about it.
async fn ask(
    shown: Option<&Identity>,
    trusted: Option<&Authority>,
    way: &str,
) -> Result<(Option<i32>, usize, String)> {
    let unknown = || answer(404, &[]);
    let server = match shown {
        Some(shown) => Receiver::start_as(shown, unknown).await,
        None => Receiver::start(unknown).await,
    };
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
        command.env(way, bundle);
    }
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), server.hits().len(), said))
}

#[tokio::test]
async fn vmctl_talks_to_a_server_that_a_trusted_authority_vouches_for_and_no_other() -> Result<()> {
    if !present(&[])? {
        return Ok(());
    }
    api::install_tls();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let here = "127.0.0.1";
    let good = ours.issue(&[here]);
    for way in WAYS {
        let (code, hits, said) = ask(Some(&good), Some(&ours), way).await?;
        ensure!((code, hits) == (Some(NOT_FOUND), 1), "{way}: {said}");
        for (shown, trusted, why) in [
            (Some(theirs.issue(&[here])), Some(&ours), "UnknownIssuer"),
            (Some(good.clone()), None, "UnknownIssuer"),
            (
                Some(ours.issue(&["127.0.0.2"])),
                Some(&ours),
                "not valid for",
            ),
            (Some(ours.issue_expired(&[here])), Some(&ours), "expired"),
            (None, Some(&ours), "InvalidContentType"),
        ] {
            let (code, hits, said) = ask(shown.as_ref(), trusted, way).await?;
            let refused = (code, hits) == (Some(UNREACHABLE), 0) && said.contains(why);
            ensure!(refused, "{way}: not {why}: {code:?}, {hits}: {said}");
        }
    }
    Ok(())
}
