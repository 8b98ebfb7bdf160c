//! The command line: global options and the root of the command tree. Each command's own arguments
//! are beside the command, in [`crate::commands`].

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, Parser, ValueEnum,
    builder::{FalseyValueParser, styling::Styles},
};
use jiff::Timestamp;

use crate::{commands::Command, endpoint::Endpoint, exit};

const EXAMPLES: &str = "\
Examples:
  vmctl login --username joe --project demo
  vmctl vm create --profile Micro --wait
  vmctl job watch @last
  vmctl job list --state running,retrying -o json
";

/// Ask for virtual machines and follow the jobs that make them
///
/// Work that takes minutes is a job: a command asks for it and returns its id at once; `job watch`
/// follows it, and its outcome is the exit code.
#[derive(Debug, Parser)]
#[command(
    name = "vmctl",
    version,
    propagate_version = true,
    max_term_width = 100,
    styles = Styles::styled(),
    before_long_help = EXAMPLES,
    after_long_help = exit::help(),
    arg_required_else_help = true,
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people
    Table,
    /// One JSON document
    Json,
}

/// Whether colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless the environment says otherwise
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How progress is shown, always on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, lines elsewhere
    Auto,
    /// A bar, drawn in place
    Bar,
    /// One line for each change
    Plain,
    /// Nothing
    None,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub struct Global {
    /// Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]
    #[arg(
        long,
        global = true,
        env = "VMCTL_ENDPOINT",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Connection"
    )]
    pub endpoint: Option<Endpoint>,

    /// File with certificates, PEM, to trust besides the system's, for the server and for Keystone [default: the one of the saved login]
    #[arg(
        long,
        global = true,
        env = "VMCTL_CA_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub ca_file: Option<PathBuf>,

    /// Give up connecting after this long
    #[arg(long, global = true, default_value = "5s", value_name = "DUR", value_parser = parse_duration, help_heading = "Connection")]
    pub connect_timeout: Duration,

    /// Give up on one request after this long
    #[arg(long, global = true, default_value = "30s", value_name = "DUR", value_parser = parse_duration, help_heading = "Connection")]
    pub http_timeout: Duration,

    /// Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with
    #[arg(long, global = true, help_heading = "Connection")]
    pub trace: bool,

    /// How results are printed
    #[arg(short, long, global = true, env = "VMCTL_OUTPUT", hide_env_values = true, value_enum, default_value_t = Format::Table, hide_possible_values = false, help_heading = "Output")]
    pub output: Format,

    /// Print no progress and no hints
    #[arg(short, long, global = true, help_heading = "Output")]
    pub quiet: bool,

    /// Say on stderr what is asked of the server
    #[arg(short, long, global = true, help_heading = "Output")]
    pub verbose: bool,

    /// Use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN", help_heading = "Output")]
    pub color: Color,

    /// How progress is shown
    #[arg(long, global = true, env = "VMCTL_PROGRESS", hide_env_values = true, value_enum, default_value_t = Progress::Auto, value_name = "HOW", help_heading = "Output")]
    pub progress: Progress,

    /// Never ask anything
    #[arg(long, global = true, env = "VMCTL_NO_INPUT", hide_env_values = true, value_parser = FalseyValueParser::new(), help_heading = "Output")]
    pub no_input: bool,

    /// Configuration directory; only the environment sets it.
    #[arg(
        long,
        global = true,
        hide = true,
        env = "VMCTL_CONFIG_DIR",
        hide_env_values = true
    )]
    pub config_dir: Option<PathBuf>,
}

/// Longest duration that an option accepts; a job lives at most 8 days.
const MAX_DURATION: Duration = Duration::from_secs(30 * 86_400);

/// Reads `90s`, `5m`, `2h`; never more than 30 days.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration =
        humantime::parse_duration(text).map_err(|error| format!("{error}; write 90s, 5m or 2h"))?;
    if duration > MAX_DURATION {
        return Err("at most 30 days".to_owned());
    }
    Ok(duration)
}

/// Reads an instant, or how long ago it was.
pub fn parse_past(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let ago = parse_duration(text)
        .map_err(|error| format!("{error}, or an instant such as 2026-11-24T06:00:00Z"))?;
    crate::clock::now()
        .checked_sub(ago)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit_and_a_bound() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert!(parse_duration("90").is_err());
        assert!(parse_duration("31d").is_err());
    }

    #[test]
    fn a_past_is_an_instant_or_a_duration_ago() {
        let instant = "2026-11-24T06:00:00Z";
        assert_eq!(parse_past(instant), Ok(instant.parse().unwrap()));
        let past = parse_past("2h").unwrap();
        assert_eq!(crate::clock::now().duration_since(past).as_hours(), 2);
        let no = parse_past("yesterday").unwrap_err();
        assert!(no.contains("or an instant"), "{no}");
    }
}
