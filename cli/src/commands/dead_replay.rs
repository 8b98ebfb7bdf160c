//! `vmctl admin dead replay`: runs jobs again that have failed for good.

use clap::{ArgGroup, Args};
use vmctl_api_types::{JobId, Kind, ReplayRequest, Replayed};

use crate::{app::App, error::CliError, exit::Exit, text};

/// Arguments of `admin dead replay`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true).args(["ids", "kind", "error", "project"])))]
pub struct DeadReplay {
    /// These jobs, by their whole ids
    #[arg(value_name = "ID", num_args = 1..=100, conflicts_with_all = ["kind", "error", "project", "limit"])]
    pub ids: Vec<JobId>,
    /// Jobs of this kind
    #[arg(long)]
    pub kind: Option<Kind>,
    /// Jobs whose error is of this type: delivery-limit, malformed, ...
    #[arg(long, value_name = "TYPE")]
    pub error: Option<String>,
    /// Jobs of this project, by its id
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
    /// At most so many [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: Option<u32>,
}

/// Runs the command.
pub fn run(app: &App, args: DeadReplay) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let request = ReplayRequest {
        ids: args.ids,
        kind: args.kind,
        error: args.error,
        project_id: args.project,
        limit: args.limit,
    };
    let result = app.block_on(api.replay(&request))??;
    if app.out.is_json() {
        app.out.json(&result.raw)?;
    } else {
        for item in &result.value.items {
            app.out.data(line(item))?;
        }
    }
    if result.value.items.is_empty() {
        app.out.note("no dead job is meant by that");
    }
    if result.value.more {
        app.out.note("there are more: run it again");
    }
    let refused = result.value.items.iter().any(|item| item.problem.is_some());
    Ok(if refused { Exit::Refused } else { Exit::Ok })
}

fn line(item: &Replayed) -> String {
    let what = match (&item.problem, item.epoch) {
        (Some(problem), _) => {
            let detail = problem.detail.as_deref().unwrap_or(&problem.title);
            format!("not replayed: {}", text::clean(detail))
        }
        (None, Some(epoch)) => format!("run {epoch}"),
        (None, None) => "replayed".to_owned(),
    };
    format!("{}  {what}", item.id)
}
