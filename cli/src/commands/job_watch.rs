//! `vmctl job watch`: live, until every job has ended.

use std::time::Duration;

use clap::Args;

use crate::{
    app::App,
    cli::parse_duration,
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
    signals::Signals,
    watch::{self, Target},
};

/// Arguments of `job watch`.
#[derive(Debug, Args)]
pub struct JobWatch {
    /// The jobs: ids, beginnings of ids, or @last
    #[arg(required = true, num_args = 1..=watch::MAX_JOBS)]
    pub id: Vec<JobRef>,
    /// Leave after this long with exit code 8; the jobs keep running [default: none]
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

/// Runs the command.
pub fn run(app: &App, args: &JobWatch) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let ids = job_ref::resolve(app, &api, &args.id)?;
    let signals = Signals::listen()?;
    let targets = ids.into_iter().map(Target::existing).collect();
    let report = watch::run(
        app,
        &api,
        signals,
        targets,
        args.timeout,
        crate::output::progress(&app.global),
    )?;
    if app.out.is_json() {
        app.out.json(&report.to_json())?;
    }
    Ok(report.exit)
}
