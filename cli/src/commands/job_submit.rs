//! `vmctl job submit`: asks for a job of any kind that the server knows.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    str::FromStr,
};

use clap::Args;
use serde_json::Value;
use vmctl_api_types::{Kind, SubmitRequest};

use super::{callback_args::CallbackArgs, timing::Timing, vm_create::Wait, vm_delete};
use crate::{
    app::App,
    error::CliError,
    exit::Exit,
    signals::Signals,
    submit,
    text::{self, shell_word},
};

/// Most of an input that is read, in bytes: a server takes 64 KiB of body.
const MAX_INPUT: u64 = 64 * 1024;

/// Arguments of `job submit`.
#[derive(Debug, Args)]
pub struct JobSubmit {
    /// What to do, see `vmctl kind list`
    pub kind: Kind,
    /// The input: JSON, or @FILE, or - for standard input [default: {}]
    #[arg(long, value_name = "JSON")]
    pub input: Option<String>,
    /// A pair to find the job by, KEY=VALUE; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
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

/// A label.
#[derive(Debug, Clone)]
pub struct Label(String, String);

impl FromStr for Label {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self(key.to_owned(), value.to_owned())),
            _ => Err("write KEY=VALUE"),
        }
    }
}

/// Runs the command.
pub fn run(app: &App, args: &JobSubmit) -> Result<Exit, CliError> {
    let input = input(args.input.as_deref())?;
    let api = app.authenticated()?;
    let key = args
        .wait
        .idempotency_key
        .clone()
        .unwrap_or_else(submit::new_key);
    let pairs = args.labels.iter();
    let mut body = SubmitRequest::new(args.kind.clone(), input);
    body.labels = pairs
        .map(|Label(key, value)| (key.clone(), value.clone()))
        .collect::<BTreeMap<_, _>>();
    args.timing.apply(&mut body);
    body.callback = args.callback.callback();
    let again = command_line(app, &body, &key, args);
    let mut signals = Signals::listen()?;
    let accepted = submit::submit(app, &api, &mut signals, &body, &key, &again)?;
    vm_delete::follow(app, &api, signals, accepted, &args.wait)
}

/// Reads the input from where the user says it is.
fn input(given: Option<&str>) -> Result<Value, CliError> {
    let (from, json) = match given {
        None => return Ok(Value::Object(serde_json::Map::new())),
        Some("-") => ("standard input".to_owned(), read(io::stdin().lock())),
        Some(text) => match text.strip_prefix('@') {
            Some(path) => (text::clean(path), File::open(path).and_then(read)),
            None => ("--input".to_owned(), Ok(text.to_owned())),
        },
    };
    let json = json.map_err(|error| {
        CliError::new(Exit::Usage, format!("{from} cannot be read")).why(error.to_string())
    })?;
    serde_json::from_str(&json).map_err(|error| {
        CliError::new(Exit::Usage, format!("{from} is not JSON")).why(error.to_string())
    })
}

fn read(from: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MAX_INPUT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_INPUT {
        return Err(io::Error::other(format!("more than {MAX_INPUT} bytes")));
    }
    Ok(text)
}

/// Returns the command that asks for the very same job again.
fn command_line(app: &App, body: &SubmitRequest, key: &str, args: &JobSubmit) -> String {
    let mut line = format!(
        "vmctl job submit {} --input {}",
        body.kind,
        shell_word(&body.input.to_string())
    );
    for (key, value) in &body.labels {
        let label = format!("{key}={value}");
        line = format!("{line} --label {}", shell_word(&label));
    }
    line.push_str(&args.timing.words());
    line = format!("{line} --idempotency-key {}", shell_word(key));
    line.push_str(&args.callback.words());
    if args.wait.wait {
        line.push_str(" --wait");
    }
    line + &app.endpoint_option()
}
