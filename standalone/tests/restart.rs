//! What the next start finds, and what a full disk does, met from outside.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use reqwest::StatusCode;
use support::{Caller, PROGRAM, eventually, free_address, start};
use vmctl_daemon::testing::Daemon;

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_means_the_same_job_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let address = free_address();
    let mut standalone = start(address, &data, "0s");
    let caller = Caller::login(address).await;
    let id = caller.create_surely("lx1").await;
    assert_eq!(caller.end_of(&id).await["state"], "succeeded");
    standalone.signal("TERM");
    assert_eq!(standalone.end(support::PATIENCE).0, Some(0));

    let _standalone = start(address, &data, "0s");
    let caller = Caller::login(address).await;
    let job = caller.end_of(&id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(caller.create_surely("lx1").await, id);
    let job = caller.end_of(&id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let log = fs::read_to_string(data.join("machines/effects.jsonl")).unwrap();
    assert_eq!(log.matches("\"effect\"").count(), 1, "{log}");
}

/// Starts a standalone whose data lie on a disk of 24 MB that only it has. Returns how the disk is
/// seen from here; `None` where the system does not let a test mount one.
fn start_on_small_disk(address: &str, mount: &Path) -> Option<(Daemon, PathBuf)> {
    let mount = mount.to_str().unwrap();
    let can = |user: &[&str]| {
        let mut command = Command::new("unshare");
        let tried = command
            .args(user)
            .args(["--mount", "mount", "-t", "tmpfs", "t", mount]);
        let tried = tried.stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let user = [&[][..], &["--map-root-user"][..]]
        .into_iter()
        .find(|user| can(user))?;
    let script = "mount -t tmpfs -o size=24m t \"$1\" && echo \"pid $$\" && \
                  exec \"$2\" --listen \"$3\" --data-dir \"$1/data\" --user joe:1234";
    let args = ["--mount", "sh", "-c", script, "sh", mount, PROGRAM, address];
    let args = [user, &args[..]].concat();
    let env = [("VMCTL_SIMULATED_DURATION", "0s")];
    let mut standalone = Daemon::start(Path::new("unshare"), &args, &env);
    let pid = standalone.line("pid ");
    let pid = pid.trim_start_matches("pid ");
    Some((
        standalone,
        PathBuf::from(format!("/proc/{pid}/root{mount}")),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_clear_503_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let address = free_address();
    let started = start_on_small_disk(&address.to_string(), directory.path());
    let Some((mut standalone, disk)) = started else {
        println!("skipped: no private mount is possible here");
        return;
    };
    let caller = Caller::login(address).await;
    let before = caller.create_surely("lxbefore").await;
    assert_eq!(caller.end_of(&before).await["state"], "succeeded");

    let filler = disk.join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    drop(file);
    // The file of the journal has some room of its own; then it is told, with a type and a time.
    let mut accepted = Vec::new();
    let mut n = 0;
    let (body, again) = loop {
        n += 1;
        let (status, body, again) = caller.create(&format!("lx{n}")).await.unwrap();
        match status {
            StatusCode::ACCEPTED => accepted.push(body["id"].as_str().unwrap().to_owned()),
            StatusCode::SERVICE_UNAVAILABLE => {
                let kind = body["type"].as_str().unwrap();
                if kind.ends_with("bus-unavailable") {
                    break (body, again);
                }
                assert!(kind.ends_with("outcome-unknown"), "{body}");
            }
            _ => panic!("{status}: {body}"),
        }
        assert!(n < 100_000, "the disk is not full");
    };
    assert!(again.is_some(), "no Retry-After: {body}");
    println!(
        "{} accepted before the disk was full; then {body}",
        accepted.len()
    );

    fs::remove_file(&filler).unwrap();
    let after = caller.create_surely("lxafter").await;
    for id in [before, after].iter().chain(&accepted) {
        assert_eq!(caller.end_of(id).await["state"], "succeeded");
    }
    standalone.signal("TERM");
    let (code, said) = standalone.end(support::PATIENCE);
    assert_eq!(code, Some(0), "{said}");
    eventually("the end of the disk", async || {
        (!disk.exists()).then_some(())
    })
    .await;
}
