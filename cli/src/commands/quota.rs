//! `vmctl quota`: what the project may use, and what it uses.

use crate::{app::App, error::CliError, exit::Exit, output::Field};

/// Runs the command.
pub fn run(app: &App) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let quota = app.block_on(api.quota())??;
    if app.out.is_json() {
        app.out.json(&quota.raw)?;
        return Ok(Exit::Ok);
    }
    let quota = quota.value;
    if quota.incomplete {
        app.out
            .warn("warning: the server rebuilds its view; more jobs may be active");
    }
    let submit = quota.submit.map(|submit| {
        [
            Field::from("submit"),
            Field::from(format!("{} in {} s", submit.quota, submit.window_seconds)),
            Field::from(
                u64::from(submit.quota)
                    .saturating_sub(submit.remaining)
                    .to_string(),
            ),
            Field::from(submit.remaining.to_string()),
        ]
    });
    let active = quota.active_jobs;
    let or_none = |n: Option<u64>| n.map_or_else(|| "no limit".to_owned(), |n| n.to_string());
    let active = [
        Field::from("active-jobs"),
        Field::from(or_none(active.quota)),
        Field::from(active.used.to_string()),
        Field::from(or_none(
            active.quota.map(|most| most.saturating_sub(active.used)),
        )),
    ];
    let rows = submit.into_iter().chain([active]);
    app.out.table(&["POLICY", "LIMIT", "USED", "LEFT"], rows)?;
    Ok(Exit::Ok)
}
