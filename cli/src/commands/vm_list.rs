//! `vmctl vm list`.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use vmctl_api_types::{Machine, MachineState};

use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    output::{Field, Tone},
    submit, text,
};

/// Arguments of `vm list`.
#[derive(Debug, Args)]
pub struct VmList {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    pub limit: u16,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

/// Runs the command.
pub fn run(app: &App, args: &VmList) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let limit = (!args.all).then(|| usize::from(args.limit));
    let machines = app.block_on(api.machines(limit))??;
    if app.out.is_json() {
        let items: Vec<Value> = machines.into_iter().map(|machine| machine.raw).collect();
        app.out.json(&json!({ "items": items }))?;
        return Ok(Exit::Ok);
    }
    let now = crate::clock::now();
    app.out.table(
        &[
            "HOSTNAME", "STATE", "PROFILE", "REGION", "ADDRESS", "AGE", "JOB",
        ],
        machines.iter().map(|machine| row(&machine.value, now)),
    )?;
    Ok(Exit::Ok)
}

fn row(machine: &Machine, now: Timestamp) -> [Field; 7] {
    [
        Field::from(&machine.vm_hostname),
        state(machine),
        Field::from(&machine.vm_profile),
        Field::from(&machine.vm_region),
        Field::from(addresses(machine)),
        Field::from(text::duration(submit::age(machine.created_at, now))),
        Field::from(machine.job_id.to_string()),
    ]
}

/// The state, with the phase of a machine that is built.
pub(super) fn state(machine: &Machine) -> Field {
    let word = machine.state.as_str();
    match (&machine.state, &machine.phase) {
        (MachineState::Ready, _) => Field::toned(word, Tone::Good),
        (MachineState::Building, Some(phase)) => {
            Field::toned(format!("{word} ({phase})"), Tone::Live)
        }
        (MachineState::Building, None) => Field::toned(word, Tone::Live),
    }
}

/// All addresses, or `-`.
pub(super) fn addresses(machine: &Machine) -> String {
    if machine.addresses.is_empty() {
        "-".to_owned()
    } else {
        machine.addresses.join(",")
    }
}
