//! `vmctl profile list`.

use crate::{app::App, error::CliError, exit::Exit, output::Field};

/// Runs the command.
pub fn run(app: &App) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let list = app.block_on(api.profiles())??;
    if app.out.is_json() {
        app.out.json(&list.raw)?;
        return Ok(Exit::Ok);
    }
    let rows = list.value.items.iter().map(|profile| {
        [
            Field::from(&profile.name),
            Field::from(profile.vcpus.to_string()),
            Field::from(format!("{} MiB", profile.ram_mib)),
            Field::from(format!("{} GiB", profile.disk_gib)),
        ]
    });
    app.out.table(&["NAME", "VCPUS", "MEMORY", "DISK"], rows)?;
    Ok(Exit::Ok)
}
