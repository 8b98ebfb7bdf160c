//! `vmctl completion SHELL`: prints what the packages install; touches neither network nor keyring.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{app::App, cli::Cli, error::CliError, exit::Exit};

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Returns a shell's script.
pub fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vmctl", &mut bytes);
    // The generators write text; anything else would be shown, not hidden.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs the command.
pub fn run(app: &App, args: &Completion) -> Result<Exit, CliError> {
    app.out.raw(&script(args.shell))?;
    Ok(Exit::Ok)
}
