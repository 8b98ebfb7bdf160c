//! From the command line to the exit code.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Arg, ArgMatches, Command, value_parser};
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::settings::{self, Section, Setting, Values};
use crate::{
    Check, Health, Lifecycle, LogFilter, LogFormat, Metrics, NotAsked, Tls, TlsSettings,
    authorities, check, install_crypto, logging, probe, reference, tls,
    traces::{self, TraceSettings, Traces},
};

/// Exit code of a program that printed what it was asked for.
const PRINTED: u8 = 0;
/// Exit code of a program that could not start or print.
const FAILURE: u8 = 1;
/// Exit code of a wrong command line or a wrong setting.
const USAGE: u8 = 2;
/// Tasks that do not stop when the component has ended get this long before the process ends.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest part of a host's name in the name of a process.
const MAX_HOST: usize = 40;

crate::settings! {
    /// What every process needs to know.
    pub struct ProcessSettings {
        /// What is logged: a level, or a filter such as `info,vmctl_server=debug`
        "log" = "info" => log: LogFilter,
        /// How log lines are written, text or json; text on a terminal, else json
        "log_format" => log_format: Option<LogFormat>,
        /// Time to finish what is in flight after the first SIGTERM or SIGINT
        "drain_timeout" = "25s" => drain_timeout: Duration,
        /// Certificates, PEM, to trust besides the system's, on every link
        "ca_file" => ca_file: Option<PathBuf>,
        ..tls: TlsSettings,
    }
}

/// What a program is called, and which flags it has beside its settings.
pub struct Program {
    name: &'static str,
    version: &'static str,
    about: &'static str,
    args: Vec<Arg>,
    commands: Vec<Extra>,
    checks: Option<Box<Checks>>,
}

/// What checks are made with, beside the settings of the program.
#[derive(Debug)]
pub struct Trial {
    /// A name for connections.
    pub name: String,
    /// As [`Process::drain_timeout`].
    pub drain_timeout: Duration,
    /// As [`Process::trusted`].
    pub trusted: Option<String>,
}

/// Makes the checks of a program from its settings. Called within a runtime.
type Checks = dyn Fn(&Values, &str) -> anyhow::Result<Vec<Check>>;

/// A command that needs no settings.
struct Extra {
    command: Command,
    run: fn(&ArgMatches) -> anyhow::Result<()>,
}

impl Program {
    /// Names a program.
    pub fn new(name: &'static str, version: &'static str, about: &'static str) -> Self {
        Self {
            name,
            version,
            about,
            args: Vec::new(),
            commands: Vec::new(),
            checks: None,
        }
    }

    /// Adds the command `check`, which tries what the settings name and starts nothing. The errors of the
    /// function are those of a wrong setting.
    #[must_use]
    pub fn with_checks<S: Section + 'static>(
        mut self,
        checks: fn(&S, &Trial) -> anyhow::Result<Vec<Check>>,
    ) -> Self {
        let from_values = move |values: &Values, name: &str| {
            let process = ProcessSettings::read(values)?;
            let trusted = authorities(process.ca_file.as_deref())?;
            let trial = Trial {
                name: name.to_owned(),
                drain_timeout: process.drain_timeout,
                trusted: trusted.clone(),
            };
            let mut all = checks(&S::read(values)?, &trial)?;
            all.extend(tls::check(&process.tls)?);
            let traces = TraceSettings::read(values)?;
            all.extend(traces::check(&traces, trusted.as_deref())?);
            Ok(all)
        };
        self.checks = Some(Box::new(from_values));
        self
    }

    /// Adds a command that does something else, and needs no settings. It is given its own arguments.
    #[must_use]
    pub fn with_command(
        mut self,
        command: Command,
        run: fn(&ArgMatches) -> anyhow::Result<()>,
    ) -> Self {
        self.commands.push(Extra { command, run });
        self
    }

    /// Adds flags that are not settings; [`Process::args`] holds them.
    #[must_use]
    pub fn with_args(mut self, args: impl IntoIterator<Item = Arg>) -> Self {
        self.args.extend(args);
        self
    }

    fn command(&self, settings: &[Setting]) -> Command {
        Command::new(self.name)
            .version(self.version)
            .about(self.about)
            .after_help(
                "Settings come from the file, then the environment, then flags. A duration has a \
                 unit: 90s, 24h. A secret is never a flag: set its variable, or name a file with \
                 the variable's name and _FILE.",
            )
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .help("Settings file, TOML [env: VMCTL_CONFIG]"),
            )
            .args(self.args.iter().cloned())
            .args(settings.iter().map(settings::flag))
            .subcommand(
                Command::new("config")
                    .about("Print the effective settings as TOML, without the secrets"),
            )
            .subcommand(
                Command::new("reference")
                    .about("Print the table of settings, as Markdown")
                    .hide(true),
            )
            .subcommand(probe::command())
            .subcommands(self.checks.as_ref().map(|_| {
                Command::new("check").about(
                    "Check the settings and try the services that they name: exit code 0 if all is \
                     well, 1 if one fails, 2 for a wrong setting",
                )
            }))
            .subcommands(self.commands.iter().map(|extra| extra.command.clone()))
    }

    /// The command that was asked for, with its arguments.
    fn extra<'a>(&self, args: &'a ArgMatches) -> Option<(&Extra, &'a ArgMatches)> {
        let (name, args) = args.subcommand()?;
        let mut commands = self.commands.iter();
        let extra = commands.find(|extra| extra.command.get_name() == name)?;
        Some((extra, args))
    }
}

/// What a component gets from its process.
pub struct Process {
    /// Different in every process, also after a restart: program, host, and 8 random digits.
    pub name: String,
    /// The first signal cancels it: stop accepting, finish what is in flight, return.
    pub shutdown: CancellationToken,
    /// How long that may take; after it, the process ends.
    pub drain_timeout: Duration,
    /// Certificates, PEM, of authorities to trust besides the system's.
    pub trusted: Option<String>,
    /// What the process says of itself. A component adds its checks and says when it has started.
    pub health: Health,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// What listeners speak TLS with; without it they speak none.
    pub tls: Option<Tls>,
    /// The flags that are not settings.
    pub args: ArgMatches,
}

impl Process {
    /// The part of the drain timeout that work in flight may take: the rest is for giving back what
    /// did not end, and for closing connections.
    pub fn grace(&self) -> Duration {
        part(self.drain_timeout)
    }
}

/// As [`Process::grace`], of what a delay leaves of the drain timeout.
///
/// # Errors
///
/// It leaves nothing.
pub fn grace_after(delay: Duration, whole: Duration) -> anyhow::Result<Duration> {
    let left = whole.saturating_sub(delay);
    ensure!(
        !left.is_zero(),
        "{delay:?} leaves nothing of the drain timeout, {whole:?}"
    );
    Ok(part(left))
}

fn part(whole: Duration) -> Duration {
    whole / 5 * 3
}

/// Runs a program from its command line to its exit code.
///
/// Installs the TLS provider, reads the settings, starts logging, metrics and signals, and runs the
/// component until it ends. The exit code is 0 if it was told to stop and did, 2 for a wrong
/// command line or setting, 1 otherwise; a second signal gives 130 or 143.
pub fn main<S, F, Fut>(program: &Program, component: F) -> ExitCode
where
    S: Section,
    F: FnOnce(S, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    ExitCode::from(main_from(program, env::args_os(), component))
}

/// The same, on a command line that is given; the first argument is the name of the program.
pub fn main_from<S, F, Fut>(
    program: &Program,
    command_line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    component: F,
) -> u8
where
    S: Section,
    F: FnOnce(S, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    install_crypto();
    let mut declared = settings::declared::<S>();
    ProcessSettings::declare(&mut declared);
    TraceSettings::declare(&mut declared);
    let args = program.command(&declared).get_matches_from(command_line);
    if args.subcommand_name() == Some("reference") {
        return print(&reference::table(&declared));
    }
    if let Some((extra, args)) = program.extra(&args) {
        return match (extra.run)(args) {
            Ok(()) => PRINTED,
            Err(error) if error.is::<NotAsked>() => unwell(program, &error),
            Err(error) => refuse(program, &error),
        };
    }
    let values = match load(declared, &args) {
        Ok(values) => values,
        Err(error) => return refuse(program, &error),
    };
    if args.subcommand_name() == Some("config") {
        return print(&settings::effective(&values));
    }
    if let Some(args) = args.subcommand_matches("health") {
        return match probe::ask(args, &values) {
            Ok(report) => print(&report),
            Err(error) => unwell(program, &error),
        };
    }
    if let (Some(checks), Some("check")) = (&program.checks, args.subcommand_name()) {
        return match try_out(program, &**checks, &values) {
            Ok((report, true)) => print(&report),
            Ok((report, false)) => print(&report).max(FAILURE),
            Err(error) => refuse(program, &error),
        };
    }
    let settings = S::read(&values).and_then(|own| {
        let process = ProcessSettings::read(&values)?;
        Ok((own, process, TraceSettings::read(&values)?))
    });
    match settings {
        Ok((own, process, traces)) => start(program, args, own, (&process, &traces), component),
        Err(error) => refuse(program, &error.into()),
    }
}

fn load(declared: Vec<Setting>, args: &ArgMatches) -> anyhow::Result<Values> {
    let keys: BTreeSet<_> = declared.iter().map(|setting| setting.key).collect();
    debug_assert_eq!(keys.len(), declared.len(), "a setting is declared twice");
    let from_env = env::var_os("VMCTL_CONFIG").filter(|path| !path.is_empty());
    let file = args
        .get_one::<PathBuf>("config")
        .cloned()
        .or(from_env.map(PathBuf::from));
    let values = Values::load(
        declared,
        file.as_deref().map(Path::new),
        &|name| env::var_os(name),
        args,
    )?;
    Ok(values)
}

/// Tries what the settings name; says what it found, and whether nothing fails.
fn try_out(program: &Program, checks: &Checks, values: &Values) -> anyhow::Result<(String, bool)> {
    let runtime = runtime()?;
    let found = {
        let _entered = runtime.enter();
        let checks = checks(values, &unique_name(program.name))?;
        runtime.block_on(check::all(checks))
    };
    runtime.shutdown_timeout(RUNTIME_TIMEOUT);
    Ok(found)
}

fn runtime() -> anyhow::Result<runtime::Runtime> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")
}

fn start<S, F, Fut>(
    program: &Program,
    args: ArgMatches,
    own: S,
    (settings, traces): (&ProcessSettings, &TraceSettings),
    component: F,
) -> u8
where
    F: FnOnce(S, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let name = unique_name(program.name);
    let links = authorities(settings.ca_file.as_deref()).and_then(|trusted| {
        let program = (program.name, program.version);
        let export = Traces::start(traces, trusted.as_deref(), program, &name)?;
        Ok((trusted, export))
    });
    let (trusted, export) = match links {
        Ok(links) => links,
        Err(error) => return refuse(program, &error),
    };
    logging::init(
        &settings.log,
        settings.log_format,
        export.as_ref().map(Traces::tracer),
    );
    tracing::info!(version = program.version, "{} starts", program.name);
    let code = run((name, trusted), args, own, settings, component).unwrap_or_else(|error| {
        tracing::error!("cannot start: {error:#}");
        FAILURE
    });
    if let Some(export) = export {
        export.stop();
    }
    code
}

fn run<S, F, Fut>(
    (name, trusted): (String, Option<String>),
    args: ArgMatches,
    own: S,
    settings: &ProcessSettings,
    component: F,
) -> anyhow::Result<u8>
where
    F: FnOnce(S, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let metrics = Metrics::install()?;
    traces::describe();
    let (tls, watch) = Tls::open(&settings.tls)?.unzip();
    let lifecycle = Lifecycle::start(settings.drain_timeout)?;
    let health = Health::new();
    let process = Process {
        name,
        shutdown: lifecycle.shutdown().clone(),
        drain_timeout: settings.drain_timeout,
        trusted,
        health: health.clone(),
        metrics,
        tls,
        args,
    };
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        if let Some(watch) = watch {
            watch.start().context("cannot listen to SIGHUP")?;
        }
        let shutdown = process.shutdown.clone();
        let draining = async {
            shutdown.cancelled().await;
            health.set_draining();
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            ended = lifecycle.run(component(own, process)) => anyhow::Ok(ended),
            never = draining => match never {},
        }
    })?;
    runtime.shutdown_timeout(RUNTIME_TIMEOUT);
    Ok(ended.report())
}

/// Names a process so that people find its host, and nobody else has the name.
fn unique_name(program: &str) -> String {
    let program = program.strip_prefix("vmctl-").unwrap_or(program);
    let host = fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| env::var("HOSTNAME").ok())
        .unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(MAX_HOST)
        .collect();
    // The standard library seeds it from the system's random numbers.
    let random = RandomState::new().build_hasher().finish() & 0xffff_ffff;
    if host.is_empty() {
        format!("{program}-{random:08x}")
    } else {
        format!("{program}-{host}-{random:08x}")
    }
}

fn refuse(program: &Program, error: &anyhow::Error) -> u8 {
    complain(program, error);
    USAGE
}

fn unwell(program: &Program, error: &anyhow::Error) -> u8 {
    complain(program, error);
    FAILURE
}

fn complain(program: &Program, error: &anyhow::Error) {
    let before = if logging::is_journal() {
        logging::priority(Level::ERROR)
    } else {
        ""
    };
    // Nothing is left to do if standard error is closed.
    let _ = writeln!(io::stderr(), "{before}{}: {error:#}", program.name);
}

fn print(text: &str) -> u8 {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => PRINTED,
        Err(_) => FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_used_twice() {
        let name = unique_name("vmctl-worker");
        assert!(name.starts_with("worker-"), "{name}");
        assert!(name.len() <= 7 + MAX_HOST + 9, "{name}");
        assert_ne!(name, unique_name("vmctl-worker"));
    }
}
