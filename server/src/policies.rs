//! `vmctl-server policy`: says what is wrong with a file of rules before a server does, and what holds.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::{Arg, ArgMatches, Command, value_parser};
use vmctl_server::policy::{Policy, PolicyError, Shown};

/// The command as it stands in the help.
pub fn command() -> Command {
    let file = || {
        Arg::new("file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("File of rules, as VMCTL_POLICY_FILE names it")
    };
    let check = Command::new("check")
        .about("Check a file of rules, and say what is wrong with each")
        .arg(file().required(true));
    let show = Command::new("show")
        .about("Print every action with its default and the rule that holds")
        .arg(file().env("VMCTL_POLICY_FILE"));
    Command::new("policy")
        .about("Look at who may do what")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([check, show])
}

/// Runs it.
pub fn run(args: &ArgMatches) -> anyhow::Result<()> {
    let (name, args) = args.subcommand().context("nothing to do")?;
    let file: Option<&PathBuf> = args.get_one("file");
    match (name, file) {
        ("check", Some(file)) => check(file),
        ("show", file) => show(file),
        _ => bail!("nothing to do"),
    }
}

/// Prints the rules of the file, or one line for each thing that is wrong with it.
fn check(file: &Path) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match Policy::from_file(file) {
        Ok(policy) => {
            let all = policy.show();
            let changed = all.iter().filter(|shown| is_changed(shown));
            let mut number = 0;
            for shown in changed {
                writeln!(out, "ok     {}: {}", shown.name, shown.rule)?;
                number += 1;
            }
            writeln!(out, "{number} rules differ from the defaults")?;
            Ok(())
        }
        Err(PolicyError::Wrong { wrong, .. }) => {
            for wrong in &wrong {
                writeln!(out, "wrong  {}: {wrong}", file.display())?;
            }
            ensure!(wrong.is_empty(), "{} cannot be used", file.display());
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Prints one line for each rule; what a file has changed is told with its default.
fn show(file: Option<&PathBuf>) -> anyhow::Result<()> {
    let policy = match file {
        Some(file) => Policy::from_file(file)?,
        None => Policy::default(),
    };
    let mut out = io::stdout().lock();
    for shown in policy.show() {
        let from = match shown.default {
            _ if !is_changed(&shown) => String::new(),
            Some(default) => format!("    (default: {default})"),
            None => "    (only in the file)".to_owned(),
        };
        writeln!(out, "{}: {}{from}", shown.name, shown.rule)?;
    }
    Ok(())
}

fn is_changed(shown: &Shown) -> bool {
    shown.default != Some(shown.rule.as_str())
}
