//! `vmctl job cancel`: asks; the job says when it has stopped.

use clap::Args;

use super::job_change;
use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
};

/// Arguments of `job cancel`.
#[derive(Debug, Args)]
pub struct JobCancel {
    /// The jobs: ids, beginnings of ids, or @last
    #[arg(required = true, num_args = 1..=200)]
    pub id: Vec<JobRef>,
    /// Why, for the history
    #[arg(long)]
    pub reason: Option<String>,
}

/// Runs the command.
pub fn run(app: &App, args: &JobCancel) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let ids = job_ref::resolve(app, &api, &args.id)?;
    let cancel = |id| app.block_on(api.cancel(id, args.reason.clone()))?;
    let (cancelled, exit) = job_change::each(app, ids, cancel)?;
    let goes_on = cancelled.iter().any(|job| !job.state.is_terminal());
    if goes_on && !app.out.is_json() {
        app.out
            .note("cancelling is a request: a job ends when its worker has cleaned up");
    }
    Ok(exit)
}
