//! How long a project waits behind another one that floods, with the quotas that ship.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use tokio::time::sleep;

use crate::{
    load::{self, Sample, Until},
    programs::{Setup, Suite},
    report,
};

/// Clients that flood.
const FLOOD: usize = 32;

/// How long they do so before the other project comes.
const BEFORE: Duration = Duration::from_secs(15);

/// Jobs of the other project, while the flood goes on, and the time between two of them.
const JOBS: u32 = 40;
const EVERY: Duration = Duration::from_millis(250);

/// The quotas that ship, and a worker that is slower than the flood.
const SETTINGS: [(&str, &str); 3] = [
    ("VMCTL_QUOTA_SUBMISSIONS", "1000"),
    ("VMCTL_QUOTA_ACTIVE_JOBS", "10000"),
    ("VMCTL_WORKER_SLOTS", "2"),
];

/// Prints how long a job takes from submission to its end: alone, and while another project submits
/// without pause.
pub(crate) async fn measure(bin: &Path, span: Duration) -> Result<()> {
    report::title(
        "Fairness: a project has a job now and then, another floods; quotas as they ship",
    );
    let setup = Setup {
        name: "fairness",
        worker: true,
        settings: &SETTINGS,
        ..Setup::default()
    };
    let suite = Suite::start(bin, setup).await?;
    let (flooder, other) = ([suite.login().await?], suite.login_as_other().await?);
    report::command(&format!(
        "POST {}/v1/jobs, then GET with Prefer: wait=30 until succeeded; 2 slots, no work",
        suite.endpoint
    ));
    let idle = load::follow_at(&suite.endpoint, &other, 1, Until::Elapsed(span / 3)).await?;
    report::spread("submit to succeeded, nobody else there", &idle);

    report::command(&format!(
        "{FLOOD} clients of another project: POST without pause"
    ));
    let over = AtomicBool::new(false);
    let flood = load::submit_until(&suite.endpoint, &flooder, FLOOD, Until::Told(&over));
    let waits = async {
        sleep(BEFORE).await;
        let waits = now_and_then(&suite.endpoint, &other).await;
        over.store(true, Ordering::Relaxed);
        waits
    };
    let (flood, waits) = tokio::try_join!(flood, waits)?;
    report::rate("the flood: accepted", flood.per_second());
    report::text("  refused with 429 or 503", &flood.refused.to_string());
    report::spread("submit to succeeded, behind the flood", &waits);
    report::text("  refused", &waits.refused.to_string());
    suite.stop().await
}

/// Submits jobs, whether or not the earlier ones have ended, and waits for the ends.
async fn now_and_then(endpoint: &str, token: &str) -> Result<Sample> {
    let (http, started) = (load::http(1)?, Instant::now());
    let jobs = (0..JOBS).map(|n| {
        let http = &http;
        async move {
            sleep(EVERY * n).await;
            let sent = Instant::now();
            let ended = load::submit_and_wait(http, endpoint, token).await;
            let ended = ended.context("a job of the other project")?;
            anyhow::Ok(ended.map(|_| sent.elapsed()))
        }
    });
    let waits = try_join_all(jobs).await?;
    let refused = waits.iter().filter(|wait| wait.is_none()).count();
    let mut sample = Sample::of(waits.into_iter().flatten().collect(), started.elapsed());
    sample.refused = refused;
    Ok(sample)
}
