//! The whole suite in one process: in memory for a first look, or with a data directory for a small
//! team.
//!
//! Standard output is for the one who started it: where it listens and who may log in. The last
//! line comes when it serves.

mod settings;

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use vmctl_core::store::project::ProjectLimits;
use vmctl_daemon::{Process, Program, Status, WrongSetting};
use vmctl_egress::Policy;
use vmctl_server::{Limits, policy};
use vmctl_standalone::{
    AnsibleConfig, Standalone, User,
    data::{self, DataDir},
    users,
};

use settings::Settings;

/// How often the components are asked how they are.
const LOOK_EVERY: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let about = "The whole suite in one process: API, worker and reader; in memory unless --data-dir says where";
    let program = Program::new("vmctl-standalone", env!("CARGO_PKG_VERSION"), about)
        .with_args([
            Arg::new("user")
                .long("user")
                .value_name("NAME:PASSWORD[:PROJECT]")
                .action(ArgAction::Append)
                .help("Let this user in; may be repeated. For demos: others on this machine can see it"),
            Arg::new("admin")
                .long("admin")
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("Give this user the role admin in their project; may be repeated"),
            Arg::new("users_file")
                .long("users-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Let the users of a file in: lines of name:project:hash"),
        ])
        .with_command(
            Command::new("print-hash")
                .about("Read a password and print its hash, for the users file"),
            print_hash,
        );
    vmctl_daemon::main(&program, run)
}

async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    let kept = settings.data_dir.clone();
    // Before anything is written into it: another process may have it.
    let data = kept.as_deref().map(DataDir::open).transpose();
    let data = data.context("the data directory cannot be used")?;
    let (mut users, made_up) = users(&process.args, data.as_ref())?;
    for name in process
        .args
        .get_many::<String>("admin")
        .into_iter()
        .flatten()
    {
        let user = users.iter_mut().find(|user| user.name == *name);
        let user = user.with_context(|| format!("--admin {name}: there is no such user"))?;
        user.roles.push(users::ADMIN.to_owned());
    }
    if kept.is_none() {
        tracing::warn!("everything is in memory only: jobs are gone when this stops");
    }
    let limits = limits(&settings);
    let rules = settings
        .policy_file
        .as_deref()
        .map(policy::Policy::from_file);
    let rules = rules
        .transpose()
        .context(WrongSetting("VMCTL_POLICY_FILE"))?;
    let running = Standalone::builder()
        .listen(settings.listen)
        .tls(process.tls.clone())
        .ca_pem(process.trusted.clone().map(String::into_bytes))
        .users(users)
        .data(data)
        .kinds_dir(settings.kinds_dir)
        .job_ttl(settings.job_ttl)
        .compat_post_status(settings.compat_post_status.0)
        .paused_kinds(
            settings
                .paused_kinds
                .into_iter()
                .map(|kind| kind.0)
                .collect(),
        )
        .trusted_proxies(settings.trusted_proxies.iter().map(|net| net.0).collect())
        .limits(limits)
        .admin_project(settings.admin_project)
        .rules(rules.unwrap_or_default())
        .sync_token(settings.sync_token)
        .slots(settings.slots)
        .callback_policy(Policy {
            allow_http: settings.callback_allow_http,
            ports: settings.callback_ports,
            allow_networks: settings
                .callback_allow_networks
                .into_iter()
                .map(|n| n.0)
                .collect(),
        })
        .callback_secret(settings.callback_secret)
        .callback_secrets_dir(settings.callback_secrets_dir)
        .simulated_duration(settings.simulated_duration)
        .simulated_dir(settings.simulated_dir)
        .simulated_fail(settings.simulated_fail.map(|rule| rule.0))
        .ansible(settings.ansible_playbooks.map(|playbooks| AnsibleConfig {
            program: settings.ansible_program,
            playbooks,
        }))
        .grace(process.grace())
        .shutdown(process.shutdown.clone())
        .mount(process.health.router().merge(process.metrics.router()))
        .start()
        .await?;
    tracing::info!(address = %running.address(), "listening");
    let components = running.health();
    process.health.poll("components", LOOK_EVERY, move || {
        let components = components.clone();
        async move {
            components
                .check()
                .await
                .map_or_else(Status::Failing, |()| Status::Ok)
        }
    });
    process.health.set_started();
    let said = welcome(
        &running.url(),
        reach(running.address().ip().is_loopback(), process.tls.is_some()),
        kept.as_deref(),
        made_up.as_ref(),
    );
    // Nobody may be listening, and the suite works all the same.
    let _ = io::stdout().write_all(said.as_bytes());
    Ok(running.ended().await?)
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        project: ProjectLimits::from_settings(
            settings.quota_active_jobs,
            settings.quota_submissions,
            settings.quota_window,
        ),
        busy_queue: settings.quota_busy_queue.into(),
        fair_share: settings.quota_fair_share.into(),
        ..Limits::default()
    }
}

/// Who may log in, and the password that was made up if nobody was named.
fn users(args: &ArgMatches, data: Option<&DataDir>) -> anyhow::Result<(Vec<User>, Option<MadeUp>)> {
    let mut all = Vec::new();
    for text in args.get_many::<String>("user").into_iter().flatten() {
        all.push(users::from_argument(text).context("--user")?);
    }
    if let Some(path) = args.get_one::<PathBuf>("users_file") {
        all.extend(users::from_file(path)?);
    }
    if !all.is_empty() {
        return Ok((all, None));
    }
    if let Some(data) = data {
        let (all, password) = data::users(data)?;
        let made_up = password.and_then(|password| Some(MadeUp::new(all.first()?, password)));
        return Ok((all, made_up));
    }
    let (user, password) = users::random();
    let made_up = MadeUp::new(&user, password);
    Ok((vec![user], Some(made_up)))
}

/// A user who is told once.
struct MadeUp {
    name: String,
    project: String,
    password: String,
}

impl MadeUp {
    fn new(user: &User, password: String) -> Self {
        Self {
            name: user.name.clone(),
            project: user.project.clone(),
            password,
        }
    }
}

/// Says from where it can be reached.
fn reach(loopback: bool, tls: bool) -> &'static str {
    match (loopback, tls) {
        (true, _) => "from this machine only; --listen says otherwise",
        (false, true) => "from other machines too",
        (false, false) => "from other machines too, and without TLS",
    }
}

fn welcome(url: &str, reach: &str, data_dir: Option<&Path>, made_up: Option<&MadeUp>) -> String {
    let kept = match data_dir {
        Some(directory) => format!("jobs and machines are kept in {}", directory.display()),
        None => {
            "everything is in memory: jobs are gone when this stops; --data-dir keeps them".into()
        }
    };
    let mut said = format!("listening on {url} ({reach})\n{kept}\n");
    if let Some(MadeUp {
        name,
        project,
        password,
    }) = made_up
    {
        // Writing to a string cannot fail.
        let _ = writeln!(
            said,
            "user {name} of project {project}, password {password}"
        );
    }
    said.push_str("ready\n");
    said
}

fn print_hash(_: &ArgMatches) -> anyhow::Result<()> {
    let password = if io::stdin().is_terminal() {
        rpassword::prompt_password("password: ")?
    } else {
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    anyhow::ensure!(!password.is_empty(), "the password is empty");
    writeln!(io::stdout(), "{}", users::hash(&password.into())?)?;
    Ok(())
}
