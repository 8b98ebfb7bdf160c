//! `vmctl vm create`: what the user leaves out is filled in, and said.

use std::time::Duration;

use clap::Args;
use rand::RngExt as _;
use serde_json::json;
use vmctl_api_types::{SubmitRequest, VmRequest};

use crate::{
    api::Api,
    app::App,
    cli::parse_duration,
    commands::{callback_args::CallbackArgs, timing::Timing, vm_delete},
    error::CliError,
    exit::Exit,
    signals::Signals,
    submit, text,
};

/// Arguments of `vm create`.
#[derive(Debug, Args)]
pub struct VmCreate {
    /// Size of the machine, see `vmctl profile list` [default: the smallest]
    #[arg(long)]
    pub profile: Option<String>,
    /// Place of the machine, see `vmctl region list` [default: the first]
    #[arg(long)]
    pub region: Option<String>,
    /// Host name; it must contain lx [default: lx and 8 random characters]
    #[arg(long)]
    pub hostname: Option<String>,
    /// Environment: DEV, HML or PRD [default: DEV]
    #[arg(long)]
    pub env: Option<String>,
    /// Application trigram [default: vmc]
    #[arg(long)]
    pub trigram: Option<String>,
    /// Description [default: empty]
    #[arg(long)]
    pub desc: Option<String>,
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

/// How a submitting command goes on.
#[derive(Debug, Args)]
pub struct Wait {
    /// Follow the job until it ends; the exit code is its outcome
    #[arg(long)]
    pub wait: bool,
    /// With --wait: leave after this long with exit code 8 [default: none]
    #[arg(long, value_name = "DUR", value_parser = parse_duration, requires = "wait")]
    pub timeout: Option<Duration>,
    /// Key under which a repeated command asks for the same job [default: a new one]
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    pub idempotency_key: Option<String>,
}

/// Reads a key that fits into a header.
fn parse_key(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a key is 1 to 255 printable ASCII characters without spaces".to_owned())
    }
}

/// Runs the command.
pub fn run(app: &App, args: &VmCreate) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let request = complete(app, &api, args)?;
    let key = args
        .wait
        .idempotency_key
        .clone()
        .unwrap_or_else(submit::new_key);
    let again = command_line(app, &request, &key, args);
    let mut body = SubmitRequest::new(vm_delete::kind("vm.create")?, json!(request));
    args.timing.apply(&mut body);
    body.callback = args.callback.callback();
    let mut signals = Signals::listen()?;
    let accepted = submit::submit(app, &api, &mut signals, &body, &key, &again)?;
    vm_delete::follow(app, &api, signals, accepted, &args.wait)
}

/// Fills in what was left out and says so.
fn complete(app: &App, api: &Api, args: &VmCreate) -> Result<VmRequest, CliError> {
    let mut filled = Vec::new();
    let mut fill = |name: &str,
                    given: &Option<String>,
                    default: &mut dyn FnMut() -> Result<String, CliError>| {
        if let Some(given) = given {
            return Ok(given.clone());
        }
        let value = default()?;
        filled.push(format!(
            "{name} {}",
            if value.is_empty() {
                "empty"
            } else {
                value.as_str()
            }
        ));
        Ok::<String, CliError>(value)
    };
    let request = VmRequest {
        vm_profile: fill("profile", &args.profile, &mut || {
            let list = app.block_on(api.profiles())??;
            list.value
                .items
                .into_iter()
                .next()
                .map(|profile| profile.name)
                .ok_or_else(|| nothing("profile"))
        })?,
        vm_region: fill("region", &args.region, &mut || {
            let list = app.block_on(api.regions())??;
            list.value
                .items
                .into_iter()
                .next()
                .map(|region| region.name)
                .ok_or_else(|| nothing("region"))
        })?,
        vm_hostname: fill("hostname", &args.hostname, &mut || Ok(random_hostname()))?,
        app_env: fill("env", &args.env, &mut || Ok("DEV".to_owned()))?,
        app_trigram: fill("trigram", &args.trigram, &mut || Ok("vmc".to_owned()))?,
        vm_desc: fill("description", &args.desc, &mut || Ok(String::new()))?,
    };
    if !filled.is_empty() {
        app.out
            .note(text::clean(&format!("filled in: {}", filled.join(", "))));
    }
    Ok(request)
}

fn nothing(what: &str) -> CliError {
    CliError::new(Exit::Refused, format!("the server offers no {what}"))
        .next(format!("give one: --{what}"))
}

/// `lx` and eight letters or digits: a host name that nobody else drew.
fn random_hostname() -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let mut name = String::from("lx");
    for _ in 0..8 {
        // The index is below the length.
        name.push(char::from(LETTERS[random.random_range(0..LETTERS.len())]));
    }
    name
}

/// Returns the command that asks for the very same job again.
fn command_line(app: &App, request: &VmRequest, key: &str, args: &VmCreate) -> String {
    let wait = &args.wait;
    let word = |text: &str| text::shell_word(text);
    let timeout = wait.timeout.map_or_else(String::new, |timeout| {
        let text = humantime::format_duration(timeout).to_string();
        format!(" --timeout {}", word(&text))
    });
    format!(
        "vmctl vm create --profile {} --region {} --hostname {} --env {} --trigram {} --desc {}{} --idempotency-key {}{}{}{timeout}{}",
        word(&request.vm_profile),
        word(&request.vm_region),
        word(&request.vm_hostname),
        word(&request.app_env),
        word(&request.app_trigram),
        word(&request.vm_desc),
        args.timing.words(),
        word(key),
        args.callback.words(),
        if wait.wait { " --wait" } else { "" },
        app.endpoint_option(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_host_name_is_a_valid_one() {
        let name = random_hostname();
        assert_eq!(name.len(), 10);
        assert!(name.starts_with("lx"));
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        );
        assert_ne!(name, random_hostname());
    }

    #[test]
    fn keys_fit_into_a_header() {
        assert!(parse_key("vmctl-1").is_ok());
        for bad in ["", "a b", "a\n", "é", &"x".repeat(256)] {
            assert!(parse_key(bad).is_err(), "{bad}");
        }
    }
}
