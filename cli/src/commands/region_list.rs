//! `vmctl region list`.

use crate::{app::App, error::CliError, exit::Exit, output::Field};

/// Runs the command.
pub fn run(app: &App) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let list = app.block_on(api.regions())??;
    if app.out.is_json() {
        app.out.json(&list.raw)?;
        return Ok(Exit::Ok);
    }
    let rows = list
        .value
        .items
        .iter()
        .map(|region| [Field::from(&region.name)]);
    app.out.table(&["NAME"], rows)?;
    Ok(Exit::Ok)
}
