//! `vmctl job list`.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use vmctl_api_types::{JobState, Kind};

use crate::{
    api::{ListQuery, Listed},
    app::App,
    cli::parse_past,
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
    output::{Field, Tone},
    submit, text,
    watch::model,
};

/// Arguments of `job list`.
#[derive(Debug, Args)]
pub struct JobList {
    /// Only jobs with these words, such as a host name or the text of an error: all words, or a|b, "a phrase", begin*
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Only jobs in these states: queued, running, waiting, retrying, succeeded, failed, cancelled
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub state: Vec<JobState>,
    /// Only jobs of this kind: vm.create
    #[arg(long)]
    pub kind: Option<Kind>,
    /// Only jobs that this job has asked for: its id, the beginning of its id, or @last
    #[arg(long, value_name = "ID")]
    pub parent: Option<JobRef>,
    /// Only this job and those that were asked for below it
    #[arg(long, value_name = "ID")]
    pub root: Option<JobRef>,
    /// Only jobs submitted later than this: a duration ago such as 2h, or an instant such as 2026-11-24T06:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = parse_past)]
    pub created_after: Option<Timestamp>,
    /// Only jobs submitted earlier than this: as --created-after
    #[arg(long, value_name = "WHEN", value_parser = parse_past)]
    pub created_before: Option<Timestamp>,
    /// Oldest first [default: newest first]
    #[arg(long)]
    pub oldest_first: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    pub limit: u16,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

/// Runs the command.
pub fn run(app: &App, args: JobList) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let resolve = |job: Option<&JobRef>| {
        job.map(|job| job_ref::resolve_one(app, &api, job))
            .transpose()
    };
    let query = ListQuery {
        parent: resolve(args.parent.as_ref())?,
        root: resolve(args.root.as_ref())?,
        search: args.search,
        states: args.state,
        kind: args.kind.map(|kind| kind.to_string()),
        created_after: args.created_after,
        created_before: args.created_before,
        oldest_first: args.oldest_first,
        limit: (!args.all).then(|| usize::from(args.limit)),
    };
    let (jobs, incomplete) = app.block_on(api.list_jobs(&query))??;
    if app.out.is_json() {
        let items: Vec<Value> = jobs.into_iter().map(|listed| listed.raw).collect();
        app.out
            .json(&json!({ "items": items, "incomplete": incomplete }))?;
    } else {
        let now = crate::clock::now();
        app.out.table(
            &["ID", "STATE", "KIND", "NAME", "STEP", "AGE"],
            jobs.iter().map(|listed| row(listed, now)),
        )?;
    }
    if incomplete {
        app.out
            .warn("warning: the server is rebuilding its view; jobs may be missing from this list");
    }
    Ok(Exit::Ok)
}

fn row(Listed { job, .. }: &Listed, now: Timestamp) -> [Field; 6] {
    [
        Field::from(job.id.to_string()),
        Field::toned(model::word(job), Tone::of(job.state)),
        Field::from(job.kind.as_str()),
        Field::from(submit::label(job)),
        Field::from(model::step(job).unwrap_or_else(|| "-".to_owned())),
        Field::from(text::duration(submit::age(job.created_at, now))),
    ]
}
