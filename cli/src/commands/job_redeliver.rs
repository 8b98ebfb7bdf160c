//! `vmctl job redeliver`: delivers a callback once more.

use clap::Args;
use vmctl_api_types::JobId;

use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
};

/// Arguments of `job redeliver`.
#[derive(Debug, Args)]
pub struct JobRedeliver {
    /// The job: its id, the beginning of its id, or @last
    pub id: JobRef,
    /// The callback, see `vmctl job callbacks` [default: the newest]
    #[arg(long, value_name = "ID")]
    pub callback: Option<JobId>,
}

/// Runs the command.
pub fn run(app: &App, args: &JobRedeliver) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let id = job_ref::resolve_one(app, &api, &args.id)?;
    let callback = match args.callback {
        Some(callback) => callback,
        None => newest(app, &api, id)?,
    };
    let again = app.block_on(api.redeliver(id, callback))??;
    if app.out.is_json() {
        app.out.json(&again.raw)?;
    } else {
        let state = again.value.status.state.as_str();
        app.out.data(format!("{callback}  {state}"))?;
    }
    Ok(Exit::Ok)
}

fn newest(app: &App, api: &crate::api::Api, id: JobId) -> Result<JobId, CliError> {
    let callbacks = app.block_on(api.callbacks(id))??;
    let newest = callbacks.value.items.first().map(|callback| callback.id);
    newest.ok_or_else(|| {
        CliError::new(Exit::Refused, format!("job {id} has no callback"))
            .next("a callback is named when the job is submitted: --callback-url")
    })
}
