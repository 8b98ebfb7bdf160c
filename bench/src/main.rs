//! The figures of the suite, on real services: what `make bench` prints.
//!
//! Every phase has processes, a vhost and a Redis database of its own, so that no phase pays for
//! what another left behind. Load goes to loopback and every phase is bounded in time. Nothing here
//! asserts: figures are for people.

mod audit;
mod broker;
mod client;
mod cpu;
mod fairness;
mod load;
mod programs;
mod rebuild;
mod report;
mod serve;
mod services;
mod standalone;
mod streams;
mod submissions;
mod watchers;

use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::OnceCell,
    time::timeout,
};

/// Prints the figures of the suite on real services
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Measure only this; may be repeated
    #[arg(long, value_enum)]
    only: Vec<Phase>,
    /// How long each phase puts load on the suite, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many jobs one client follows from submission to end
    #[arg(long, default_value_t = 300)]
    jobs: usize,
    /// How many streams of events are open at once
    #[arg(long, default_value_t = 2_000)]
    streams: usize,
    /// How many streams follow one job
    #[arg(long, default_value_t = 500)]
    watchers: usize,
    /// How many events the log has when Redis is lost
    #[arg(long, default_value_t = 100_000)]
    events: u32,
    /// Where the release binaries are
    #[arg(long, default_value = "target/release")]
    bin: std::path::PathBuf,
    /// The stripped client, whose size and start are measured
    #[arg(long, default_value = "target/dist/vmctl")]
    client: std::path::PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, for the phase `audit`
    #[command(hide = true)]
    Serve {
        /// Throw audit entries away
        #[arg(long)]
        no_audit: bool,
    },
}

/// What is measured, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// The client's size and start
    Client,
    /// What the broker can do by itself
    Ceiling,
    /// Accepted submissions, without and with a worker
    Submissions,
    /// From submission to the end of a job
    EndToEnd,
    /// Many open streams, each of a job of its own
    Streams,
    /// Many open streams of one job
    Watchers,
    /// Losing Redis, and the way back
    Rebuild,
    /// What audit entries cost
    Audit,
    /// How long a project waits behind one that floods
    Fairness,
    /// The suite in one process, in memory and with a data directory
    Standalone,
}

impl Phase {
    /// The longest that it may take, whatever happens.
    fn limit(self, span: Duration) -> Duration {
        let minutes = match self {
            Self::Rebuild | Self::Standalone => 6,
            _ => 2,
        };
        Duration::from_secs(minutes * 60) + 3 * span
    }
}

/// What the phases share.
struct Bench {
    args: Args,
    ceiling: OnceCell<broker::Ceiling>,
    /// What the view took to be rebuilt, for each job.
    rebuild: OnceCell<Duration>,
}

impl Bench {
    fn span(&self) -> Duration {
        Duration::from_secs(self.args.seconds)
    }

    /// Measures what others are compared with, once.
    async fn ceiling(&self) -> Result<&broker::Ceiling> {
        let measure = || broker::ceiling(self.span());
        self.ceiling.get_or_try_init(measure).await
    }

    /// Measures one phase after the other. One that fails keeps no later one from being measured.
    async fn all(&self, phases: Vec<Phase>) -> Result<()> {
        let mut failed = Vec::new();
        for phase in phases {
            let measured = timeout(phase.limit(self.span()), self.measure(phase)).await;
            if let Err(error) = measured.unwrap_or_else(|_| Err(anyhow!("not over in time"))) {
                report::text("not measured", &format!("{error:#}"));
                failed.push(phase);
            }
        }
        ensure!(failed.is_empty(), "not measured: {failed:?}");
        Ok(())
    }

    async fn measure(&self, phase: Phase) -> Result<()> {
        let (args, span) = (&self.args, self.span());
        let bin = args.bin.as_path();
        match phase {
            Phase::Client => client::measure(&args.client),
            Phase::Ceiling => self.ceiling().await.map(|_| ()),
            Phase::Submissions => submissions::measure(bin, span, self.ceiling().await?).await,
            Phase::EndToEnd => {
                let ceiling = self.ceiling().await?;
                submissions::to_the_end(bin, span, args.jobs, ceiling).await
            }
            Phase::Streams => streams::measure(bin, args.streams).await,
            Phase::Watchers => watchers::measure(bin, args.watchers).await,
            Phase::Rebuild => {
                let each = rebuild::measure(bin, args.events).await?;
                Ok(self.rebuild.set(each)?)
            }
            Phase::Audit => audit::measure(bin, span).await,
            Phase::Fairness => fairness::measure(bin, span).await,
            Phase::Standalone => {
                let rebuild = self.rebuild.get().copied();
                standalone::measure(bin, span, rebuild).await
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    vmctl_daemon::install_crypto();
    if let Some(Command::Serve { no_audit }) = args.command {
        return serve::run(!no_audit).await;
    }
    let phases = match &*args.only {
        [] => Phase::value_variants(),
        only => only,
    }
    .to_vec();
    let bench = Bench {
        args,
        ceiling: OnceCell::new(),
        rebuild: OnceCell::new(),
    };
    report::title("The machine");
    report::machine();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    // What a phase has started ends when the phase is dropped.
    tokio::select! {
        measured = bench.all(phases) => measured,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("asked to stop"),
    }
}
