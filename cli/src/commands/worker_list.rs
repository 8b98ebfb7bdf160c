//! `vmctl admin workers`: which workers live, and what they do.

use clap::Args;
use jiff::Timestamp;
use vmctl_api_types::{JobInHand, JobState, Kind, Presence, ServedKind, WorkerInfo, WorkerState};

use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    output::{Field, Tone},
    text,
};

/// Arguments of `admin workers`.
#[derive(Debug, Args)]
pub struct WorkerList {
    /// Only workers that serve this kind: vm.create
    #[arg(long)]
    pub kind: Option<Kind>,
    /// Show the jobs that they have in hand
    #[arg(long)]
    pub jobs: bool,
}

/// Runs the command.
pub fn run(app: &App, args: &WorkerList) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let workers = app.block_on(api.workers(args.kind.as_ref()))??;
    let now = crate::clock::now();
    let items = &workers.value.items;
    if app.out.is_json() {
        app.out.json(&workers.raw)?;
    } else if args.jobs {
        let jobs = items.iter().flat_map(|worker| {
            let jobs = worker.presence.jobs.iter();
            jobs.map(move |job| job_row(worker, job, now))
        });
        app.out.table(
            &["WORKER", "JOB", "KIND", "ATTEMPT", "FOR", "SIGN OF LIFE"],
            jobs,
        )?;
    } else {
        let kinds = items.iter().flat_map(|worker| {
            let kinds = worker.presence.kinds.iter();
            kinds.map(move |kind| row(worker, kind, now))
        });
        app.out.table(
            &["WORKER", "STATE", "KIND", "IN HAND", "APP", "UP", "HEARD"],
            kinds,
        )?;
    }
    if !workers.value.complete {
        app.out
            .warn("warning: the server has not heard every worker yet; ask again in half a minute");
    }
    Ok(Exit::Ok)
}

fn row(worker: &WorkerInfo, served: &ServedKind, now: Timestamp) -> [Field; 7] {
    let presence = &worker.presence;
    let (word, tone) = state(presence, served);
    [
        Field::from(text::clean(&presence.name)),
        Field::toned(word, Tone::of(tone)),
        Field::from(served.kind.as_str()),
        Field::from(format!("{}/{}", served.in_hand, served.slots)),
        Field::from(text::clean(&format!(
            "{} {} ({})",
            presence.app, presence.version, presence.language
        ))),
        Field::from(since(presence.started_at, now)),
        Field::from(since(worker.heard_at, now)),
    ]
}

/// A worker that lives and gets no commands is not working.
const fn state(presence: &Presence, served: &ServedKind) -> (&'static str, JobState) {
    match presence.state {
        WorkerState::Working if served.consuming => ("working", JobState::Succeeded),
        WorkerState::Working => ("not consuming", JobState::Failed),
        WorkerState::Draining | WorkerState::Ended => (presence.state.as_str(), JobState::Retrying),
    }
}

fn job_row(worker: &WorkerInfo, job: &JobInHand, now: Timestamp) -> [Field; 6] {
    [
        Field::from(text::clean(&worker.presence.name)),
        Field::from(job.id.to_string()),
        Field::from(job.kind.as_str()),
        Field::from(job.attempt.to_string()),
        Field::from(since(job.since, now)),
        Field::from(format!("{} ago", since(job.heard_at, now))),
    ]
}

fn since(at: Timestamp, now: Timestamp) -> String {
    let age = now.duration_since(at).try_into().unwrap_or_default();
    text::duration(age)
}
