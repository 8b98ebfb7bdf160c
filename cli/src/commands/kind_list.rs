//! `vmctl kind list`.

use std::time::Duration;

use vmctl_api_types::KindMode;

use crate::{app::App, error::CliError, exit::Exit, output::Field, text};

/// Runs the command.
pub fn run(app: &App) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let list = app.block_on(api.kinds())??;
    if app.out.is_json() {
        app.out.json(&list.raw)?;
        return Ok(Exit::Ok);
    }
    let rows = list.value.items.iter().map(|kind| {
        [
            Field::from(kind.kind.as_str()),
            Field::from(match kind.mode {
                KindMode::Async => "async",
                KindMode::Sync => "sync",
            }),
            Field::from(&kind.required_role),
            Field::from(kind.max_attempts.to_string()),
            Field::from(text::duration(Duration::from_secs(kind.deadline_seconds))),
            Field::from(&kind.summary),
        ]
    });
    app.out.table(
        &["KIND", "MODE", "ROLE", "ATTEMPTS", "DEADLINE", "SUMMARY"],
        rows,
    )?;
    Ok(Exit::Ok)
}
