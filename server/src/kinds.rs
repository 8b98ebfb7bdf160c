//! `vmctl-server kinds check DIR`: says what is wrong with registry files before a daemon does.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, ensure};
use clap::{Arg, ArgMatches, Command, value_parser};
use vmctl_core::{
    error::chain,
    kinds::{CheckedFile, check_directory},
};

/// The command as it stands in the help.
pub fn command() -> Command {
    let directory = Arg::new("directory")
        .value_name("DIR")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("Directory of registry files, as VMCTL_KINDS_DIR names it");
    let check = Command::new("check")
        .about("Check the registry files of a directory, and say what is wrong with each")
        .arg(directory);
    Command::new("kinds")
        .about("Look at registry files")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(check)
}

/// Runs it: one line for each file, or its error; fails when one of them cannot be used.
pub fn run(args: &ArgMatches) -> anyhow::Result<()> {
    let check = args.subcommand_matches("check").context("nothing to do")?;
    let directory: &PathBuf = check.get_one("directory").context("no directory")?;
    let files = check_directory(directory)?;
    let mut out = io::stdout().lock();
    for file in &files {
        writeln!(out, "{}", line(file))?;
    }
    let wrong = files.iter().filter(|file| file.outcome.is_err()).count();
    ensure!(
        wrong == 0,
        "{wrong} of {} files cannot be used",
        files.len()
    );
    writeln!(out, "{0} of {0} files can be used", files.len())?;
    Ok(())
}

fn line(file: &CheckedFile) -> String {
    match &file.outcome {
        Ok(kind) if file.replaces => {
            format!(
                "ok     {}: {kind}, instead of the built-in one",
                file.path.display()
            )
        }
        Ok(kind) => format!("ok     {}: {kind}", file.path.display()),
        // An error of the parser shows the line, however long that is.
        Err(error) => format!("wrong  {:.1000}", chain(error)),
    }
}
