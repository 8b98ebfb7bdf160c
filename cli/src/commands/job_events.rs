//! `vmctl job events`: the history of a job, oldest first.

use clap::Args;
use serde_json::{Value, json};
use vmctl_api_types::JobEvent;

use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
    output::{Field, Tone},
    watch::model,
};

/// Arguments of `job events`.
#[derive(Debug, Args)]
pub struct JobEvents {
    /// The job: its id, the beginning of its id, or @last
    pub id: JobRef,
}

/// Runs the command.
pub fn run(app: &App, args: &JobEvents) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let id = job_ref::resolve_one(app, &api, &args.id)?;
    let events = app.block_on(api.events(id))??;
    if app.out.is_json() {
        let items: Vec<Value> = events.into_iter().map(|event| event.raw).collect();
        app.out.json(&json!({ "items": items }))?;
    } else {
        app.out.table(
            &["TIME", "EVENT", "STATE", "TRY", "STEP", "DETAIL"],
            events.iter().map(|event| row(&event.value)),
        )?;
    }
    Ok(Exit::Ok)
}

fn row(event: &JobEvent) -> [Field; 6] {
    let step = event.progress.as_ref().map(model::step_of);
    let detail = match (&event.error, &event.progress) {
        (Some(error), _) => model::error_line(error),
        (None, Some(progress)) => progress.message.clone().unwrap_or_default(),
        (None, None) => String::new(),
    };
    [
        Field::from(event.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        Field::from(&event.event_type),
        Field::toned(event.state.as_str(), Tone::of(event.state)),
        Field::from(event.attempt.to_string()),
        Field::from(step.unwrap_or_else(|| "-".to_owned())),
        Field::from(detail),
    ]
}
