//! What the suite accepts, and how soon a job has ended.

use std::{path::Path, time::Duration};

use anyhow::Result;

use crate::{
    broker::Ceiling,
    load::{self, Until},
    programs::{Setup, Suite},
    report,
};

const CLIENTS: usize = 64;

/// Prints how many submissions are accepted, without and with a worker.
pub(crate) async fn measure(bin: &Path, span: Duration, ceiling: &Ceiling) -> Result<()> {
    report::title("Submissions: 64 clients, one valid token, server and reader running");
    for (name, worker, what, aim) in [
        ("submit", false, "worker stopped", " (aim: at least 0.6)"),
        ("both", true, "worker running", ""),
    ] {
        let setup = Setup {
            name,
            worker,
            ..Setup::default()
        };
        let suite = Suite::start(bin, setup).await?;
        let (idle, cpu) = (suite.memory(), suite.cpu()?);
        let accepted = load::submit(&suite, CLIENTS, span).await?;
        report::rate(&format!("accepted, {what}"), accepted.per_second());
        report::ratio(
            &format!("ratio to the ceiling{aim}"),
            accepted.per_second() / ceiling.per_second,
        );
        report::latency("  answer", &accepted);
        report::cpu(&cpu.since(), accepted.len());
        if worker {
            memory(&idle, &suite.memory());
        }
        suite.stop().await?;
    }
    Ok(())
}

fn memory(idle: &[(&'static str, u64)], loaded: &[(&'static str, u64)]) {
    for (name, bytes) in idle {
        report::memory(name, "idle (aim: 30 MB)", *bytes);
    }
    for (name, bytes) in loaded {
        report::memory(name, "after that load", *bytes);
    }
}

/// Prints how long it takes from submission to the end of a job that does no work.
pub(crate) async fn to_the_end(
    bin: &Path,
    span: Duration,
    jobs: usize,
    ceiling: &Ceiling,
) -> Result<()> {
    report::title("End to end: submit to `succeeded` visible, no work");
    let setup = Setup {
        name: "latency",
        worker: true,
        ..Setup::default()
    };
    let suite = Suite::start(bin, setup).await?;
    let one = load::follow(&suite, 1, Until::Jobs(jobs)).await?;
    report::latency("submit to succeeded, one client", &one);
    report::ratio(
        "p50 / p50 of one confirm (aim: at most 5)",
        one.quantile(0.5).as_secs_f64() / ceiling.confirm_p50.as_secs_f64(),
    );
    let cpu = suite.cpu()?;
    let many = load::follow(&suite, CLIENTS, Until::Elapsed(span)).await?;
    report::rate("finished, 64 in flight", many.per_second());
    report::latency("  submit to succeeded", &many);
    report::cpu(&cpu.since(), many.len());
    suite.stop().await
}
