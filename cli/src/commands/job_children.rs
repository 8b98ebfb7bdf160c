//! `vmctl job children`: the jobs that a job has asked for, in that order.

use clap::Args;
use serde_json::{Value, json};

use crate::{
    api::Listed,
    app::App,
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
    output::{Field, Tone},
    watch::model,
};

/// Arguments of `job children`.
#[derive(Debug, Args)]
pub struct JobChildren {
    /// The job: its id, the beginning of its id, or @last
    pub id: JobRef,
}

/// Runs the command.
pub fn run(app: &App, args: &JobChildren) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let id = job_ref::resolve_one(app, &api, &args.id)?;
    let (jobs, incomplete) = app.block_on(api.children(id))??;
    if app.out.is_json() {
        let items: Vec<Value> = jobs.into_iter().map(|listed| listed.raw).collect();
        app.out
            .json(&json!({ "items": items, "incomplete": incomplete }))?;
    } else {
        app.out.table(
            &["NAME", "STATE", "KIND", "ID", "DETAIL"],
            jobs.iter().map(row),
        )?;
    }
    if incomplete {
        app.out
            .warn("warning: the server does not know all of these jobs yet");
    }
    Ok(Exit::Ok)
}

fn row(Listed { job, .. }: &Listed) -> [Field; 5] {
    let detail = match &job.error {
        Some(error) => model::error_line(error),
        None => model::step(job).unwrap_or_else(|| "-".to_owned()),
    };
    [
        Field::from(job.step.as_deref().unwrap_or("-")),
        Field::toned(model::word(job), Tone::of(job.state)),
        Field::from(job.kind.as_str()),
        Field::from(job.id.to_string()),
        Field::from(detail),
    ]
}
