//! `vmctl vm delete`, and what submitting commands do after the 202.

use clap::Args;
use serde_json::json;
use vmctl_api_types::{Kind, SubmitRequest, VmDeleteRequest};

use crate::{
    api::Api,
    app::App,
    commands::{callback_args::CallbackArgs, timing::Timing, vm_create::Wait},
    error::CliError,
    exit::Exit,
    signals::Signals,
    submit::{self, Accepted},
    text,
    watch::{self, Target},
};

/// Arguments of `vm delete`.
#[derive(Debug, Args)]
pub struct VmDelete {
    /// Host name of the machine
    pub hostname: String,
    /// Whom to tell of its end.
    #[command(flatten)]
    pub callback: CallbackArgs,
    /// When.
    #[command(flatten)]
    pub timing: Timing,
    /// What happens after the job was accepted.
    #[command(flatten)]
    pub wait: Wait,
}

/// Runs the command.
pub fn run(app: &App, args: &VmDelete) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let key = args
        .wait
        .idempotency_key
        .clone()
        .unwrap_or_else(submit::new_key);
    let again = format!(
        "vmctl vm delete {}{} --idempotency-key {}{}{}{}",
        text::shell_word(&args.hostname),
        args.timing.words(),
        text::shell_word(&key),
        args.callback.words(),
        if args.wait.wait { " --wait" } else { "" },
        app.endpoint_option(),
    );
    let input = json!(VmDeleteRequest {
        vm_hostname: args.hostname.clone()
    });
    let mut body = SubmitRequest::new(kind("vm.delete")?, input);
    args.timing.apply(&mut body);
    body.callback = args.callback.callback();
    let mut signals = Signals::listen()?;
    let accepted = submit::submit(app, &api, &mut signals, &body, &key, &again)?;
    follow(app, &api, signals, accepted, &args.wait)
}

/// Reads the name of a kind that this client knows.
pub fn kind(name: &str) -> Result<Kind, CliError> {
    name.parse()
        .map_err(|_| CliError::new(Exit::Internal, format!("{name} is not a kind")))
}

/// Prints the id on stdout, and either says how to follow the job or does it.
pub fn follow(
    app: &App,
    api: &Api,
    signals: Signals,
    accepted: Accepted,
    wait: &Wait,
) -> Result<Exit, CliError> {
    let id = accepted.job.value.id;
    if !app.out.is_json() {
        app.out.data(id.to_string())?;
    }
    if !wait.wait {
        if app.out.is_json() {
            app.out.json(&accepted.job.raw)?;
        } else {
            app.out.note(format!(
                "  follow   vmctl job watch {id}{}",
                app.endpoint_option()
            ));
        }
        return Ok(Exit::Ok);
    }
    let progress = crate::output::progress(&app.global);
    let report = watch::run(
        app,
        api,
        signals,
        vec![Target::accepted(accepted)],
        wait.timeout,
        progress,
    )?;
    if app.out.is_json() {
        app.out.json(&report.to_json())?;
    }
    Ok(report.exit)
}
