//! The figures of the suite, on real services: what `make bench` prints.
//!
//! Every phase has processes, a vhost and a Redis database of its own, so that no phase pays for
//! what another left behind. Load goes to loopback and every phase is bounded in time. Nothing here
//! asserts: figures are for people.

mod broker;
mod load;
mod programs;
mod report;
mod standalone;
mod streams;

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;

/// Prints the figures of the suite on real services
#[derive(Debug, Parser)]
struct Args {
    /// How long each phase puts load on the suite, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many jobs the latency phase follows from submission to end
    #[arg(long, default_value_t = 300)]
    jobs: usize,
    /// How many streams of events are open at once
    #[arg(long, default_value_t = 2_000)]
    streams: usize,
    /// Where the release binaries are
    #[arg(long, default_value = "target/release")]
    bin: std::path::PathBuf,
    /// The stripped client, whose size and start are measured
    #[arg(long, default_value = "target/dist/vmctl")]
    client: std::path::PathBuf,
    /// Measure only the standalone, which needs no service
    #[arg(long)]
    standalone_only: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let span = Duration::from_secs(args.seconds);

    report::title("The machine");
    report::machine();

    if args.standalone_only {
        return standalone::measure(&args.bin, span, None).await;
    }

    report::title("The client");
    programs::client(&args.client).context("measuring the client")?;

    report::title("The ceiling: confirmed publishes, same topology, 32 channels, nothing else");
    let ceiling = broker::ceiling(span).await.context("the ceiling")?;

    report::title("Submissions: 64 clients, one valid token, server and reader running");
    let suite = programs::Suite::start(&args.bin, "submit", false).await?;
    let stopped = load::submit(&suite, 64, span).await?;
    report::rate("accepted, worker stopped", stopped.per_second());
    report::ratio(
        "ratio to the ceiling (aim: at least 0.6)",
        stopped.per_second() / ceiling.per_second,
    );
    report::latency("  answer", &stopped);
    suite.stop().await?;

    let suite = programs::Suite::start(&args.bin, "both", true).await?;
    let idle = suite.memory();
    let running = load::submit(&suite, 64, span).await?;
    report::rate("accepted, worker running", running.per_second());
    report::ratio(
        "ratio to the ceiling",
        running.per_second() / ceiling.per_second,
    );
    report::latency("  answer", &running);
    suite.stop().await?;

    report::title("End to end: submit to `succeeded` visible, no work, one client");
    let suite = programs::Suite::start(&args.bin, "latency", true).await?;
    let whole = load::follow(&suite, 1, load::Until::Jobs(args.jobs)).await?;
    report::latency("submit to succeeded", &whole);
    report::ratio(
        "p50 / p50 of one confirm (aim: at most 5)",
        whole.quantile(0.5).as_secs_f64() / ceiling.confirm_p50.as_secs_f64(),
    );

    // Beside the standalone's, at the end.
    let alone = load::submit(&suite, 1, Duration::from_secs(3)).await?;

    report::title("Finished jobs: 64 in flight, no work");
    let finished = load::follow(&suite, 64, load::Until::Elapsed(span)).await?;
    report::rate("finished", finished.per_second());
    report::latency("  submit to succeeded", &finished);

    report::title("Resident memory (aim: 30 MB idle)");
    let loaded = suite.memory();
    for (name, bytes) in &idle {
        report::memory(name, "idle", *bytes);
    }
    for (name, bytes) in &loaded {
        report::memory(name, "under that load", *bytes);
    }
    suite.stop().await?;

    report::title("Streams of events: one server, each follows a job of its own");
    let suite = programs::Suite::start(&args.bin, "streams", false).await?;
    let streams = streams::open(&suite, args.streams).await?;
    report::text("open at once", &streams.open.to_string());
    report::kib("memory of the server for each", streams.each);
    report::latency("cancel asked to event seen", &streams.delay);
    suite.stop().await?;

    standalone::measure(&args.bin, span, Some(&alone)).await
}
