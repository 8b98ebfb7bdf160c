//! `vmctl job show`.

use clap::Args;
use serde_json::Value;
use vmctl_api_types::Job;

use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
    output::{Field, Tone},
    watch::model,
};

/// Arguments of `job show`.
#[derive(Debug, Args)]
pub struct JobShow {
    /// The job: its id, the beginning of its id, or @last
    pub id: JobRef,
}

/// Runs the command.
pub fn run(app: &App, args: &JobShow) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let id = job_ref::resolve_one(app, &api, &args.id)?;
    let job = app.block_on(api.job(id))??;
    if app.out.is_json() {
        app.out.json(&job.raw)?;
        return Ok(Exit::Ok);
    }
    let mut shown = pairs(&job.value);
    if job.value.children.is_some() {
        let (children, _) = app.block_on(api.children(id))??;
        shown.extend(children.iter().map(|listed| child(&listed.job)));
    }
    app.out.pairs(shown)?;
    Ok(Exit::Ok)
}

/// Shows a job that the job has asked for on one line.
fn child(job: &Job) -> (String, Field) {
    let name = crate::text::clean(job.step.as_deref().unwrap_or("-"));
    let said = format!("{} ({} {})", model::word(job), job.kind, job.id);
    (
        format!("child {name}"),
        Field::toned(said, Tone::of(job.state)),
    )
}

fn pairs(job: &Job) -> Vec<(String, Field)> {
    let mut pairs: Vec<(String, Field)> = vec![
        ("id".into(), Field::from(job.id.to_string())),
        ("kind".into(), Field::from(job.kind.as_str())),
        (
            "state".into(),
            Field::toned(model::word(job), Tone::of(job.state)),
        ),
        ("owner".into(), Field::from(&job.owner.user_name)),
        ("project".into(), Field::from(&job.project_id)),
        (
            "attempt".into(),
            Field::from(format!("{} of {}", job.attempt, job.max_attempts)),
        ),
    ];
    if let Some(step) = model::step(job) {
        pairs.push(("step".into(), Field::from(step)));
    }
    if let Some(parent) = job.parent_id {
        pairs.push(("parent".into(), Field::from(parent.to_string())));
    }
    if let Some(in_line) = &job.in_line {
        let keys = in_line.keys.join(", ");
        let line = match in_line.ahead {
            Some(ahead) => format!("at {keys}, {ahead} before it"),
            None => format!("at {keys}"),
        };
        pairs.push(("waits".into(), Field::from(line)));
    }
    if let Some(compensation) = job.compensation {
        pairs.push(("compensation".into(), Field::from(compensation.as_str())));
    }
    if let Some(progress) = &job.progress
        && !job.terminal
    {
        pairs.push((
            "progress".into(),
            Field::from(format!("{} %", progress.percent.min(100))),
        ));
    }
    let times = [
        ("created", Some(job.created_at)),
        ("run at", job.run_at),
        (
            "start by",
            job.start_by
                .filter(|_| job.started_at.is_none() && !job.terminal),
        ),
        ("started", job.started_at),
        ("next attempt", job.next_attempt_at),
        ("cancel asked", job.cancel_requested_at),
        ("finished", job.finished_at),
        ("deadline", Some(job.deadline).filter(|_| !job.terminal)),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            pairs.push((
                name.into(),
                Field::from(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            ));
        }
    }
    if let Some(error) = &job.error {
        pairs.push(("error".into(), Field::from(model::error_line(error))));
    }
    for (name, value) in &job.labels {
        pairs.push((
            format!("label {}", crate::text::clean(name)),
            Field::from(value),
        ));
    }
    pairs.extend(members("input", &job.input));
    if let Some(output) = &job.output {
        pairs.extend(members("output", output));
    }
    pairs
}

/// Shows the members of an object one by one, and anything else as it is.
fn members(prefix: &str, value: &Value) -> Vec<(String, Field)> {
    match value {
        Value::Object(object) => object
            .iter()
            .take(100)
            .map(|(name, value)| {
                (
                    format!("{prefix} {}", crate::text::clean(name)),
                    Field::from(model::scalar(value)),
                )
            })
            .collect(),
        other => vec![(prefix.to_owned(), Field::from(model::scalar(other)))],
    }
}
