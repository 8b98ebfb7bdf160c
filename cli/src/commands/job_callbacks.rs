//! `vmctl job callbacks`: what was told of a job's ends, and how that went.

use clap::Args;
use vmctl_api_types::{CallbackDelivery, CallbackState};

use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
    output::{Field, Tone},
    watch::model,
};

/// Arguments of `job callbacks`.
#[derive(Debug, Args)]
pub struct JobCallbacks {
    /// The job: its id, the beginning of its id, or @last
    pub id: JobRef,
}

/// Runs the command.
pub fn run(app: &App, args: &JobCallbacks) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let id = job_ref::resolve_one(app, &api, &args.id)?;
    let callbacks = app.block_on(api.callbacks(id))??;
    if app.out.is_json() {
        app.out.json(&callbacks.raw)?;
    } else {
        app.out.table(
            &[
                "ID", "RUN", "STATE", "TRIES", "STATUS", "NEXT TRY", "DETAIL",
            ],
            callbacks.value.items.iter().map(row),
        )?;
    }
    Ok(Exit::Ok)
}

fn row(callback: &CallbackDelivery) -> [Field; 7] {
    let status = &callback.status;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let next = status.next_attempt_at;
    [
        Field::from(callback.id.to_string()),
        Field::from(callback.epoch.to_string()),
        Field::toned(status.state.as_str(), tone(status.state)),
        Field::from(status.attempts.to_string()),
        Field::from(or_dash(status.last_status.map(|status| status.to_string()))),
        Field::from(or_dash(
            next.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        )),
        Field::from(
            callback
                .error
                .as_ref()
                .map(model::error_line)
                .unwrap_or_default(),
        ),
    ]
}

/// As the job that delivers it would be shown.
fn tone(state: CallbackState) -> Tone {
    use vmctl_api_types::JobState;
    Tone::of(match state {
        CallbackState::Pending => JobState::Queued,
        CallbackState::Delivering => JobState::Running,
        CallbackState::Delivered => JobState::Succeeded,
        CallbackState::Failed => JobState::Failed,
    })
}
