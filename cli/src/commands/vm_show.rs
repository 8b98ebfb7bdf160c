//! `vmctl vm show`: a machine that exists, by its host name; or a job, by its id.

use clap::Args;
use vmctl_api_types::Machine;

use crate::{
    app::App,
    commands::{
        job_show::{self, JobShow},
        vm_list,
    },
    error::CliError,
    exit::Exit,
    job_ref::JobRef,
    output::Field,
};

/// Arguments of `vm show`.
#[derive(Debug, Args)]
pub struct VmShow {
    /// The machine's host name; or the job: its id, the beginning of its id, or @last
    #[arg(value_name = "HOSTNAME|ID")]
    pub machine: String,
}

/// Runs the command.
pub fn run(app: &App, args: &VmShow) -> Result<Exit, CliError> {
    // What looks like a job's id is one.
    if let Ok(id) = args.machine.parse::<JobRef>() {
        return job_show::run(app, &JobShow { id });
    }
    let api = app.authenticated()?;
    let machine = app.block_on(api.machine(&args.machine))??;
    if app.out.is_json() {
        app.out.json(&machine.raw)?;
    } else {
        app.out.pairs(pairs(&machine.value))?;
    }
    Ok(Exit::Ok)
}

fn pairs(machine: &Machine) -> Vec<(String, Field)> {
    let created = machine.created_at.strftime("%Y-%m-%dT%H:%M:%SZ");
    [
        ("hostname", Field::from(&machine.vm_hostname)),
        ("state", vm_list::state(machine)),
        ("profile", Field::from(&machine.vm_profile)),
        ("region", Field::from(&machine.vm_region)),
        ("address", Field::from(vm_list::addresses(machine))),
        ("environment", Field::from(&machine.app_env)),
        ("trigram", Field::from(&machine.app_trigram)),
        ("description", Field::from(&machine.vm_desc)),
        ("created", Field::from(created.to_string())),
        ("job", Field::from(machine.job_id.to_string())),
    ]
    .into_iter()
    .map(|(name, field)| (name.to_owned(), field))
    .collect()
}
