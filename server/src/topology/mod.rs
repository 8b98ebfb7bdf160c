//! `vmctl-server topology`: writes what the broker and Redis are to have, and finds what differs.

mod check;
mod definitions;
mod passwords;
mod redis_acl;
mod rights;
#[cfg(test)]
mod tests;

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use vmctl_backends::rabbitmq::{self, RabbitMq};
use vmctl_core::{kinds::Registry, topology::Topology};
use vmctl_daemon::NotAsked;

use definitions::{LogSize, Plan};
use passwords::Passwords;
use rights::WorkerUser;

/// The command as it stands in the help.
pub fn command() -> Command {
    let export = Command::new("export")
        .about("Print exchanges, queues, users and their rights as definitions of RabbitMQ")
        .args(broker())
        .arg(passwords_from());
    let check = Command::new("check")
        .about("Look for what the broker has otherwise")
        .long_about(
            "Look for what the broker has otherwise\n\n\
             Connects as the program does (VMCTL_AMQP_URL or VMCTL_AMQP_URL_FILE) and looks whether all is \
             there. With the address of the management API (VMCTL_RABBITMQ_API or VMCTL_RABBITMQ_API_FILE: \
             http://user:password@host:15672/api) it compares everything instead.",
        )
        .args(broker());
    let redis_acl = Command::new("redis-acl")
        .about("Print a user of Redis for each program, as an ACL file of Redis 7 or later")
        .args([prefix(), passwords_from()]);
    Command::new("topology")
        .about("Write what the broker and Redis are to have, and find what differs")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([export, check, redis_acl])
}

/// What both commands must be told.
fn broker() -> [Arg; 8] {
    [
        Arg::new("vhost")
            .long("vhost")
            .value_name("NAME")
            .default_value("/")
            .help("Virtual host"),
        prefix(),
        Arg::new("worker")
            .long("worker")
            .value_name("USER=KIND,…[/CHILD,…]")
            .action(ArgAction::Append)
            .value_parser(|text: &str| text.parse::<WorkerUser>())
            .help("User for workers of these kinds only, whose jobs ask for these children; may be repeated"),
        Arg::new("monitor")
            .long("monitor")
            .value_name("USER")
            .help("User who sees the management page and how long queues are, and may change nothing"),
        Arg::new("connections")
            .long("connections")
            .value_name("NUMBER")
            .default_value("100")
            .value_parser(value_parser!(u32).range(2..))
            .help("Connections that each user may have open; a process has two, and a third for moments"),
        Arg::new("log_hours")
            .long("log-hours")
            .value_name("HOURS")
            .default_value("24")
            // What readers say again after half a day must be in the log before it goes.
            .value_parser(value_parser!(u32).range(24..))
            .help("How old an entry of the log gets"),
        Arg::new("log_bytes")
            .long("log-bytes")
            .value_name("BYTES")
            .default_value("20000000000")
            .value_parser(value_parser!(u64).range(1_000_000_000..))
            .help("Size of the log on each node, however young its entries are"),
        Arg::new("kinds_dir")
            .long("kinds-dir")
            .value_name("DIR")
            .env("VMCTL_KINDS_DIR")
            .value_parser(value_parser!(PathBuf))
            .help("Directory with a TOML file for each kind beside the built-in ones"),
    ]
}

fn prefix() -> Arg {
    Arg::new("prefix")
        .long("prefix")
        .value_name("NAME")
        .default_value("vmctl")
        .help("What names of users begin with: NAME-server, NAME-reader, NAME-worker")
}

fn passwords_from() -> Arg {
    Arg::new("passwords_from")
        .long("passwords-from")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .help("Directory with a file for the password of each user, named after it; only hashes are printed")
}

/// Runs it.
pub fn run(args: &ArgMatches) -> anyhow::Result<()> {
    match args.subcommand() {
        Some(("export", args)) => export(args),
        Some(("check", args)) => check(args),
        Some(("redis-acl", args)) => redis_acl(args),
        _ => bail!("nothing to do"),
    }
}

fn plan(args: &ArgMatches) -> anyhow::Result<Plan> {
    let registry = match args.get_one::<PathBuf>("kinds_dir") {
        Some(directory) => Registry::with_directory(directory).context("--kinds-dir")?,
        None => Registry::built_in()?,
    };
    let workers: Vec<WorkerUser> = args
        .get_many("worker")
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    for kind in workers
        .iter()
        .flat_map(|w| w.kinds.iter().chain(&w.children))
    {
        ensure!(
            registry.get(kind).is_some(),
            "--worker: there is no kind of jobs {kind}"
        );
    }
    let prefix: &String = args.get_one("prefix").context("--prefix")?;
    let mut users = rights::all(prefix, &registry, &workers);
    let monitor = args.get_one::<String>("monitor");
    users.extend(monitor.map(|user| rights::monitor(user)));
    Ok(Plan {
        vhost: args.get_one::<String>("vhost").context("--vhost")?.clone(),
        topology: Topology::new(registry.kinds().map(|spec| &spec.kind)),
        users,
        connections: *args.get_one("connections").context("--connections")?,
        log: LogSize {
            hours: *args.get_one("log_hours").context("--log-hours")?,
            bytes: *args.get_one("log_bytes").context("--log-bytes")?,
        },
    })
}

fn passwords(args: &ArgMatches) -> Option<Passwords> {
    let directory = args.get_one::<PathBuf>("passwords_from");
    directory.map(|directory| Passwords::new(directory))
}

fn redis_acl(args: &ArgMatches) -> anyhow::Result<()> {
    let prefix: &String = args.get_one("prefix").context("--prefix")?;
    let text = redis_acl::file(prefix, passwords(args).as_ref())?;
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn export(args: &ArgMatches) -> anyhow::Result<()> {
    let definitions = plan(args)?.definitions(passwords(args).as_ref())?;
    let text = serde_json::to_string_pretty(&definitions)?;
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

fn check(args: &ArgMatches) -> anyhow::Result<()> {
    let plan = plan(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let differences = match secret("VMCTL_RABBITMQ_API")? {
        Some(api) => {
            // The text is not repeated: it holds a password.
            let api = api.parse().ok().context("VMCTL_RABBITMQ_API is no URL")?;
            let actual = runtime.block_on(check::fetch(&api, authorities()?.as_deref()));
            let actual = actual.context(NotAsked("VMCTL_RABBITMQ_API"))?;
            check::differences(&plan, &actual)?
        }
        None => runtime.block_on(look(&plan))?,
    };
    let mut out = io::stdout().lock();
    for difference in &differences {
        writeln!(out, "{difference}")?;
    }
    let number = differences.len();
    ensure!(number == 0, "{number} differences");
    writeln!(out, "as it should be")?;
    Ok(())
}

/// Looks whether all is there, as a user who may do nothing else.
async fn look(plan: &Plan) -> anyhow::Result<Vec<String>> {
    let urls = secret("VMCTL_AMQP_URL")?;
    let urls = urls.unwrap_or_else(|| "amqp://127.0.0.1:5672/%2f".to_owned());
    let urls = urls.split(',').map(|url| url.trim().parse());
    let urls = urls.collect::<Result<_, _>>().context("VMCTL_AMQP_URL")?;
    let rabbitmq = RabbitMq::connect_lazy(rabbitmq::Config {
        name: "topology-check".to_owned(),
        ca_pem: authorities()?,
        ..rabbitmq::Config::new(urls)
    });
    let missing = rabbitmq.bus().admin.missing(&plan.topology).await;
    rabbitmq.shutdown().await;
    Ok(missing
        .context(NotAsked("VMCTL_AMQP_URL"))?
        .into_iter()
        .map(|name| format!("missing     {name}"))
        .collect())
}

/// Reads whom to trust besides the system's authorities.
fn authorities() -> anyhow::Result<Option<String>> {
    let file = env::var_os("VMCTL_CA_FILE").filter(|path| !path.is_empty());
    vmctl_daemon::authorities(file.map(PathBuf::from).as_deref())
}

/// Reads a secret from its variable, or from the file that its other variable names.
fn secret(name: &str) -> anyhow::Result<Option<String>> {
    let set = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
    if let Some(text) = set(name) {
        return Ok(Some(text));
    }
    let name = format!("{name}_FILE");
    let Some(path) = set(&name) else {
        return Ok(None);
    };
    let text = fs::read_to_string(path).context(name)?;
    Ok(Some(text.trim_end_matches('\n').to_owned()))
}
