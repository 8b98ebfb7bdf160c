//! `vmctl job cancel`: asks; the job says when it has stopped.

use clap::Args;
use serde_json::{Value, json};

use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
    watch::model,
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

/// Runs the command. One job that cannot be cancelled does not keep the others from it.
pub fn run(app: &App, args: &JobCancel) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let ids = job_ref::resolve(app, &api, &args.id)?;
    let mut exits = Vec::new();
    let mut cancelled: Vec<Value> = Vec::new();
    for id in ids {
        match app.block_on(api.cancel(id, args.reason.clone()))? {
            Ok(job) => {
                exits.push(Exit::Ok);
                if app.out.is_json() {
                    cancelled.push(job.raw);
                } else {
                    app.out.data(format!("{id}  {}", model::word(&job.value)))?;
                }
            }
            Err(error) => {
                // Without a token or a server the next one cannot go better.
                let hopeless = matches!(error.exit, Exit::NotAuthenticated | Exit::Unreachable);
                if hopeless {
                    return Err(error);
                }
                exits.push(error.exit);
                let what = format!("{id}: {}", error.what);
                app.out.error(&error.what(what));
            }
        }
    }
    if app.out.is_json() {
        app.out.json(&json!({ "items": cancelled }))?;
    } else if exits.contains(&Exit::Ok) {
        app.out
            .note("cancelling is a request: a job ends when its worker has cleaned up");
    }
    Ok(model::combine(&exits))
}
