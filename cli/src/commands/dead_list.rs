//! `vmctl admin dead list`: jobs that have failed for good.

use clap::Args;
use serde_json::{Value, json};
use vmctl_api_types::DeadJob;

use crate::{
    api::DeadQuery,
    app::App,
    error::CliError,
    exit::Exit,
    output::{Field, Tone},
    text,
};

/// Arguments of `admin dead list`.
#[derive(Debug, Args)]
pub struct DeadList {
    /// Only jobs of this kind
    #[arg(long)]
    pub kind: Option<String>,
    /// Only jobs whose error is of this type: delivery-limit, malformed, ...
    #[arg(long, value_name = "TYPE")]
    pub error: Option<String>,
    /// Only jobs of this project, by its id
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    pub limit: u16,
}

/// Runs the command.
pub fn run(app: &App, args: DeadList) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let query = DeadQuery {
        kind: args.kind,
        error: args.error,
        project: args.project,
        limit: usize::from(args.limit),
    };
    let (jobs, incomplete) = app.block_on(api.dead(&query))??;
    if app.out.is_json() {
        let items: Vec<Value> = jobs.into_iter().map(|job| job.raw).collect();
        app.out
            .json(&json!({ "items": items, "incomplete": incomplete }))?;
    } else {
        app.out.table(
            &["ID", "KIND", "PROJECT", "RUN", "FAILED", "REPLAY", "WHY"],
            jobs.iter().map(|job| row(&job.value)),
        )?;
    }
    if incomplete {
        app.out
            .warn("warning: the server is rebuilding its view; jobs may be missing from this list");
    }
    Ok(Exit::Ok)
}

fn row(job: &DeadJob) -> [Field; 7] {
    let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), text::clean);
    let error = job.error.as_ref();
    let why = error.map(|error| format!("{}: {}", error.error_type, error.title));
    let replay = if job.replayable { "yes" } else { "no" };
    [
        Field::from(job.id.to_string()),
        Field::from(or_dash(
            job.kind.as_ref().map(vmctl_api_types::Kind::as_str),
        )),
        Field::from(or_dash(job.project_id.as_deref())),
        Field::from(job.epoch.to_string()),
        Field::from(job.died_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        Field::from(replay.to_owned()),
        Field::toned(
            or_dash(why.as_deref()),
            Tone::of(vmctl_api_types::JobState::Failed),
        ),
    ]
}
