//! Waiting for what must happen, with a bound.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Between two looks at something outside this process.
const PACE: Duration = Duration::from_millis(50);

/// How long anything may take that has no bound of its own: long enough for a machine that is busy
/// with compiling. `VMCTL_TEST_PATIENCE` gives another number of seconds.
pub fn patience() -> Duration {
    let given = env::var("VMCTL_TEST_PATIENCE").ok();
    let seconds = given.and_then(|text| text.parse().ok()).unwrap_or(90);
    Duration::from_secs(seconds)
}

/// Looks until there is something, and returns it. The check says why there is nothing yet.
pub async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Result<T, String>) -> Result<T> {
    within(patience(), what, check).await
}

/// The same, with a bound of its own.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        let not_yet = match check().await {
            Ok(found) => return Ok(found),
            Err(not_yet) => not_yet,
        };
        if started.elapsed() > limit {
            bail!("{what}: not within {limit:?}: {not_yet}");
        }
        pace().await;
    }
}

/// Gives others time between two looks.
pub async fn pace() {
    tokio::time::sleep(PACE).await;
}
