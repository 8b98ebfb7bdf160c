//! `vmctl version`: offline.

use serde_json::json;

use crate::{app::App, error::CliError, exit::Exit};

/// Runs the command.
pub fn run(app: &App) -> Result<Exit, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    if app.out.is_json() {
        app.out.json(&json!({ "version": version }))?;
    } else {
        app.out.data(format!("vmctl {version}"))?;
    }
    Ok(Exit::Ok)
}
