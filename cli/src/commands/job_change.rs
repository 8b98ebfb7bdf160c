//! Changing several jobs, one request each.

use serde_json::{Value, json};
use vmctl_api_types::{Job, JobId};

use crate::{api::Document, app::App, error::CliError, exit::Exit, watch::model};

/// Asks for the change of each job and prints what the jobs are now. One that is refused does not
/// keep the others from it. Returns the changed jobs as they are now, and the exit of all together.
pub fn each(
    app: &App,
    ids: Vec<JobId>,
    change: impl Fn(JobId) -> Result<Document<Job>, CliError>,
) -> Result<(Vec<Job>, Exit), CliError> {
    let mut exits = Vec::new();
    let mut changed = Vec::new();
    let mut items: Vec<Value> = Vec::new();
    for id in ids {
        match change(id) {
            Ok(job) => {
                exits.push(Exit::Ok);
                if app.out.is_json() {
                    items.push(job.raw);
                } else {
                    app.out.data(format!("{id}  {}", model::word(&job.value)))?;
                }
                changed.push(job.value);
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
        app.out.json(&json!({ "items": items }))?;
    }
    Ok((changed, model::combine(&exits)))
}
