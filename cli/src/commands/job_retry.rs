//! `vmctl job retry`: runs ended jobs again.

use clap::Args;

use super::job_change;
use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
    submit,
};

/// Arguments of `job retry`.
#[derive(Debug, Args)]
pub struct JobRetry {
    /// The jobs: ids, beginnings of ids, or @last
    #[arg(required = true, num_args = 1..=200)]
    pub id: Vec<JobRef>,
}

/// Runs the command.
pub fn run(app: &App, args: &JobRetry) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let ids = job_ref::resolve(app, &api, &args.id)?;
    let retry = |id| {
        app.block_on(api.retry(id))?
            .map_err(|error| match error.exit {
                // The answer may have been lost, not the request.
                Exit::Unreachable => {
                    error.next(format!("vmctl job show {id}   says whether it runs again"))
                }
                _ => error,
            })
    };
    let (again, exit) = job_change::each(app, ids, retry)?;
    if !again.is_empty() && !app.out.is_json() {
        let again: Vec<_> = again.iter().map(|job| job.id).collect();
        for line in submit::afterwards(app, &again) {
            app.out.note(line);
        }
    }
    Ok(exit)
}
