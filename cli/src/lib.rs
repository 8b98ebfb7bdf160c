//! The command-line client, as a library so that its parts can be tested one by one.
//!
//! Order of events, always the same: the arguments are parsed before anything is touched; then one
//! command runs; what it found is printed by [`output`], the only place that prints; and the
//! process ends with one of the codes of [`exit`]. The HTTP client, the runtime and the credential
//! store are made when a command first needs them, so `--help` and `completion` touch neither.

pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod credentials;
pub mod endpoint;
pub mod error;
pub mod exit;
pub mod job_ref;
pub mod output;
pub mod paths;
pub mod private_file;
pub mod prompt;
pub mod retry;
pub mod signals;
pub mod sse;
pub mod state;
pub mod submit;
pub mod text;
pub mod trace;
pub mod watch;

use std::ffi::OsString;

use clap::{Parser as _, error::ErrorKind};

use crate::{app::App, cli::Cli, commands::Command, error::CliError, exit::Exit, output::Output};

/// Runs one command line and says how the process shall end.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&arguments, &error),
    };
    let out = Output::new(&cli.global);
    let app = App::new(cli.global, out);
    match dispatch(&app, cli.command) {
        Ok(exit) => exit,
        Err(error) => {
            app.out.error(&error);
            error.exit
        }
    }
}

fn dispatch(app: &App, command: Command) -> Result<Exit, CliError> {
    let exit = commands::run(app, command)?;
    app.out.flush()?;
    Ok(exit)
}

/// Prints help, version or a usage error, as clap words them.
fn usage(arguments: &[OsString], error: &clap::Error) -> Exit {
    let out = Output::for_usage(arguments);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match out.help(&error.render()) {
            Ok(()) => Exit::Ok,
            Err(error) => error.exit,
        },
        _ => {
            out.usage_error(&error.render());
            Exit::Usage
        }
    }
}
