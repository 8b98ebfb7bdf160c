//! Where the services are, and who may use them.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

/// The variables that a server takes as they are.
const SERVER: [&str; 5] = [
    "VMCTL_KEYSTONE_URL",
    "VMCTL_KEYSTONE_USERNAME",
    "VMCTL_KEYSTONE_PASSWORD",
    "VMCTL_KEYSTONE_PROJECT",
    "VMCTL_ID_SECRET",
];

/// What else every test needs.
const TESTS: [&str; 6] = [
    "VMCTL_TEST_KEYSTONE_URL",
    "VMCTL_TEST_USER",
    "VMCTL_TEST_PASSWORD",
    "VMCTL_TEST_PROJECT",
    "VMCTL_TEST_OTHER_USER",
    "VMCTL_TEST_OTHER_PROJECT",
];

/// Returns a variable that [`present`] has checked.
pub fn var(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}

/// Returns the settings that a server takes from the environment.
pub fn server_settings() -> Result<Vec<(String, String)>> {
    let pairs = SERVER
        .iter()
        .map(|name| Ok(((*name).to_owned(), var(name)?)));
    pairs.collect()
}

/// Says whether the services are there. Where one is absent the test has nothing to do, or fails
/// if `VMCTL_TEST_STRICT` is 1.
pub fn present(broker: &[&str]) -> Result<bool> {
    let unset = |name: &&&str| env::var(name).map_or(true, |value| value.is_empty());
    let names = || SERVER.iter().chain(&TESTS).chain(broker);
    let absent = match names().find(unset) {
        Some(name) => format!("{name} is not set"),
        None if Command::new("redis-server").arg("-v").output().is_err() => {
            "redis-server is not installed".to_owned()
        }
        None => return Ok(true),
    };
    let strict = env::var("VMCTL_TEST_STRICT").is_ok_and(|strict| strict == "1");
    ensure!(!strict, "{absent}");
    eprintln!("nothing tested: {absent}");
    Ok(false)
}

/// Returns the path of a program, which was built beside this test.
pub fn program(name: &str) -> Result<PathBuf> {
    let this = env::current_exe()?;
    let profile = this
        .ancestors()
        .nth(2)
        .context("the test has no directory")?;
    let path = profile.join(name);
    ensure!(
        path.exists(),
        "{} is not built; build it with: cargo build --workspace --bins",
        path.display()
    );
    Ok(path)
}

/// Returns a variable of the caller's that every process needs.
pub fn path() -> String {
    env::var("PATH").unwrap_or_default()
}
