//! `vmctl job wait`: silent until every job has ended, then one line of result for each.

use std::time::Duration;

use clap::Args;

use crate::{
    app::App,
    cli::{Progress, parse_duration},
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
    signals::Signals,
    watch::{self, Target},
};

/// Arguments of `job wait`.
#[derive(Debug, Args)]
pub struct JobWait {
    /// The jobs: ids, beginnings of ids, or @last
    #[arg(required = true, num_args = 1..=watch::MAX_JOBS)]
    pub id: Vec<JobRef>,
    /// Leave after this long with exit code 8; the jobs keep running
    #[arg(long, value_name = "DUR", default_value = "30m", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// Runs the command.
pub fn run(app: &App, args: &JobWait) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let ids = job_ref::resolve(app, &api, &args.id)?;
    let signals = Signals::listen()?;
    let targets = ids.into_iter().map(Target::existing).collect();
    let progress = match app.global.progress {
        // Silence is this command's default; who asks for progress gets it.
        Progress::Auto => Progress::None,
        _ => crate::output::progress(&app.global),
    };
    let report = watch::run(app, &api, signals, targets, Some(args.timeout), progress)?;
    if app.out.is_json() {
        app.out.json(&report.to_json())?;
    } else {
        for line in report.lines() {
            app.out.data(line)?;
        }
    }
    Ok(report.exit)
}
