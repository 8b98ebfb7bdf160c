//! The commands, one per file: arguments, what it does, what it prints.

pub mod callback_args;
pub mod completion;
pub mod dead_list;
pub mod dead_replay;
pub mod job_callbacks;
pub mod job_cancel;
pub mod job_change;
pub mod job_children;
pub mod job_events;
pub mod job_list;
pub mod job_logs;
pub mod job_redeliver;
pub mod job_retry;
pub mod job_show;
pub mod job_submit;
pub mod job_wait;
pub mod job_watch;
pub mod kind_list;
pub mod login;
pub mod logout;
pub mod profile_list;
pub mod queue_list;
pub mod quota;
pub mod region_list;
pub mod timing;
pub mod unique_args;
pub mod version;
pub mod vm_create;
pub mod vm_delete;
pub mod vm_list;
pub mod vm_show;
pub mod whoami;
pub mod worker_list;

use clap::Subcommand;

use crate::{app::App, error::CliError, exit::Exit};

/// What `vmctl` can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Log in and keep the token
    Login(login::Login),
    /// Revoke the token and forget it
    Logout,
    /// Show who is logged in, where, and until when
    Whoami,
    /// Create, show and delete virtual machines
    #[command(subcommand, alias = "vms")]
    Vm(Vm),
    /// Submit, follow, list, cancel and retry jobs
    #[command(subcommand, alias = "jobs")]
    Job(Job),
    /// Sizes of machines
    #[command(subcommand, alias = "profiles")]
    Profile(Profile),
    /// Places for machines
    #[command(subcommand, alias = "regions")]
    Region(Region),
    /// Kinds of jobs
    #[command(subcommand, alias = "kinds")]
    Kind(Kind),
    /// Show what the project may use, and what it uses
    Quota,
    /// For those who run the service; needs the role admin
    #[command(subcommand)]
    Admin(Admin),
    /// Print the completion script of a shell
    Completion(completion::Completion),
    /// Print the version
    Version,
}

/// `vmctl vm`.
#[derive(Debug, Subcommand)]
pub enum Vm {
    /// Ask for a machine
    Create(vm_create::VmCreate),
    /// List the machines that exist, newest first
    #[command(alias = "ls")]
    List(vm_list::VmList),
    /// Show a machine that exists, or the job that makes or deletes one
    #[command(alias = "get")]
    Show(vm_show::VmShow),
    /// Ask to delete a machine
    #[command(alias = "rm")]
    Delete(vm_delete::VmDelete),
}

/// `vmctl job`.
#[derive(Debug, Subcommand)]
pub enum Job {
    /// Ask for a job of any kind
    Submit(job_submit::JobSubmit),
    /// List the project's jobs, newest first
    #[command(alias = "ls")]
    List(job_list::JobList),
    /// Show one job
    #[command(alias = "get")]
    Show(job_show::JobShow),
    /// Follow jobs live; the exit code is their outcome
    Watch(job_watch::JobWatch),
    /// Wait silently for jobs; the exit code is their outcome
    Wait(job_wait::JobWait),
    /// Ask to cancel jobs
    Cancel(job_cancel::JobCancel),
    /// Run jobs again that have failed or were cancelled
    Retry(job_retry::JobRetry),
    /// Show the history of a job
    Events(job_events::JobEvents),
    /// Show or follow the log of a job
    #[command(alias = "log")]
    Logs(job_logs::JobLogs),
    /// Show how the callbacks of a job went
    Callbacks(job_callbacks::JobCallbacks),
    /// Deliver a callback of a job again
    Redeliver(job_redeliver::JobRedeliver),
    /// List the jobs that a job has asked for, such as the steps of a flow
    Children(job_children::JobChildren),
}

/// `vmctl profile`.
#[derive(Debug, Subcommand)]
pub enum Profile {
    /// List the profiles, smallest first
    #[command(alias = "ls")]
    List,
}

/// `vmctl region`.
#[derive(Debug, Subcommand)]
pub enum Region {
    /// List the regions, the default first
    #[command(alias = "ls")]
    List,
}

/// `vmctl kind`.
#[derive(Debug, Subcommand)]
pub enum Kind {
    /// List the kinds of jobs that may be asked for
    #[command(alias = "ls")]
    List,
}

/// `vmctl admin`.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Show every queue of the broker
    Queues,
    /// Show which workers live and what they do
    Workers(worker_list::WorkerList),
    /// Jobs that have failed for good
    #[command(subcommand)]
    Dead(Dead),
}

/// `vmctl admin dead`.
#[derive(Debug, Subcommand)]
pub enum Dead {
    /// List them, newest first
    #[command(alias = "ls")]
    List(dead_list::DeadList),
    /// Run them again, for the users that have asked for them
    Replay(dead_replay::DeadReplay),
}

/// Runs a command.
pub fn run(app: &App, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Login(args) => login::run(app, &args),
        Command::Logout => logout::run(app),
        Command::Whoami => whoami::run(app),
        Command::Vm(Vm::Create(args)) => vm_create::run(app, &args),
        Command::Vm(Vm::List(args)) => vm_list::run(app, &args),
        Command::Vm(Vm::Show(args)) => vm_show::run(app, &args),
        Command::Vm(Vm::Delete(args)) => vm_delete::run(app, &args),
        Command::Job(Job::Submit(args)) => job_submit::run(app, &args),
        Command::Job(Job::Show(args)) => job_show::run(app, &args),
        Command::Job(Job::List(args)) => job_list::run(app, args),
        Command::Job(Job::Watch(args)) => job_watch::run(app, &args),
        Command::Job(Job::Wait(args)) => job_wait::run(app, &args),
        Command::Job(Job::Cancel(args)) => job_cancel::run(app, &args),
        Command::Job(Job::Retry(args)) => job_retry::run(app, &args),
        Command::Job(Job::Events(args)) => job_events::run(app, &args),
        Command::Job(Job::Logs(args)) => job_logs::run(app, &args),
        Command::Job(Job::Callbacks(args)) => job_callbacks::run(app, &args),
        Command::Job(Job::Redeliver(args)) => job_redeliver::run(app, &args),
        Command::Job(Job::Children(args)) => job_children::run(app, &args),
        Command::Profile(Profile::List) => profile_list::run(app),
        Command::Region(Region::List) => region_list::run(app),
        Command::Kind(Kind::List) => kind_list::run(app),
        Command::Quota => quota::run(app),
        Command::Admin(Admin::Queues) => queue_list::run(app),
        Command::Admin(Admin::Workers(args)) => worker_list::run(app, &args),
        Command::Admin(Admin::Dead(Dead::List(args))) => dead_list::run(app, args),
        Command::Admin(Admin::Dead(Dead::Replay(args))) => dead_replay::run(app, args),
        Command::Completion(args) => completion::run(app, &args),
        Command::Version => version::run(app),
    }
}
