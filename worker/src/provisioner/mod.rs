//! The port to whatever makes machines: [`Provisioner`].
//!
//! The id of the job that asks for a machine *is* the machine's identity there. A backend asks its
//! own side what exists, never its memory, so that any worker can go on where another one stopped.
//!
//! Once deleted, a machine never comes back: `delete` leaves a tombstone for [`TOMBSTONE_TTL`], so
//! that a late copy of the command that made it makes nothing. One case is different: what a job has
//! deleted itself, because it was cancelled, a later run of that job makes again.

pub mod simulated;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use vmctl_api_types::Profile;
use vmctl_core::{JobId, bus::BoxError};

use crate::{Ctx, ProgressSink};

/// How long a deleted machine is remembered: longer than any message lives.
pub const TOMBSTONE_TTL: Duration = Duration::from_secs(14 * 24 * 3600);

/// Makes, changes and removes machines.
///
/// All calls may be repeated, and may run at the same time in several processes for the same job.
#[async_trait]
pub trait Provisioner: Send + Sync {
    /// Returns the word in outputs and logs.
    fn name(&self) -> &'static str;

    /// Returns the phases of a creation, in order.
    fn phases(&self) -> &'static [Phase];

    /// Looks at the machine of a job.
    async fn observe(&self, job: JobId) -> Result<Observed, ProvisionError>;

    /// Brings the machine one phase further, or to its end at once where that takes no time.
    ///
    /// Converges: what exists is taken up where it stands, also when another process made it. Ends
    /// within [`Call::budget`], and soon after [`Call::stop`] has fired. What was made stays when
    /// the call fails.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::Gone`] once the machine was deleted; not when its own job did that in an earlier
    /// run ([`Call::epoch`]).
    async fn create(&self, spec: &VmSpec, call: &Call) -> Result<Step, ProvisionError>;

    /// Removes the machine of `job`, whatever its phase, and leaves a tombstone, also when there
    /// was no machine. The first deletion stays: a second one returns it. [`Call::stop`] is not
    /// observed, so that a cancelled creation can clean up. A clean-up by the job itself leaves alone what
    /// a later run of the job has made or gone on with.
    async fn delete(&self, job: JobId, call: &Call) -> Result<Deletion, ProvisionError>;

    /// Switches a machine that is ready. Switching it into the state that it is in does nothing,
    /// but for a reboot.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::Conflict`] when it is not ready.
    async fn power(&self, job: JobId, op: PowerOp, call: &Call) -> Result<(), ProvisionError>;

    /// Returns all machines that exist in any phase, and those with a tombstone.
    async fn list(&self) -> Result<Vec<Vm>, ProvisionError>;

    /// Says whether machines can be made right now. Asked every few seconds; the caller may stop
    /// waiting, and calls that nobody waits for must not pile up.
    async fn health(&self) -> Health;
}

/// One step of a creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// Its name, for people.
    pub name: &'static str,
    /// Its share of the whole, in percent.
    pub weight: u8,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    /// The job that asks: the machine's identity.
    pub job: JobId,
    /// Who owns it.
    pub project_id: String,
    /// Host name.
    pub hostname: String,
    /// Size.
    pub profile: Profile,
    /// Place.
    pub region: String,
    /// Application environment.
    pub environment: String,
    /// Application trigram.
    pub trigram: String,
    /// Description.
    pub description: String,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// What was asked for.
    pub spec: VmSpec,
    /// When it began to exist, by the clock of the worker that made it.
    pub created_at: Timestamp,
    /// Its address, once it has one.
    pub ip: Option<String>,
    /// Its deletion; `None` while it exists.
    pub deleted: Option<Deletion>,
}

/// A tombstone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// The job that did it.
    pub by: JobId,
    /// That job's run.
    #[serde(default)]
    pub epoch: u32,
    /// Whether there was a machine.
    pub existed: bool,
}

/// What exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Nothing, and nothing was.
    Absent,
    /// A machine in the making; the phase is the one it is in.
    Partial {
        /// The phase.
        phase: &'static str,
    },
    /// A machine that is ready.
    Ready(Box<Vm>),
    /// Nothing any more.
    Deleted(Deletion),
}

/// How far one call of [`Provisioner::create`] came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is more to do: call again.
    Next {
        /// The phase that is next; the caller keeps it for [`Call::from`].
        phase: &'static str,
        /// Not before this time has passed.
        after: Duration,
    },
    /// The machine is ready.
    Ready(Box<Vm>),
    /// [`Call::stop`] fired.
    Stopped {
        /// The phase that it was in.
        phase: &'static str,
    },
}

/// How a machine is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerOp {
    /// On.
    On,
    /// Off.
    Off,
    /// Off and on again.
    Reboot,
}

/// Whether machines can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Yes.
    Ok,
    /// No, for this reason.
    Failing(String),
}

/// The circumstances of a call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The job on whose behalf it is.
    pub job: JobId,
    /// That job's run.
    pub epoch: u32,
    /// Its attempt.
    pub attempt: u32,
    /// Who does it.
    pub worker: String,
    /// The phase that an earlier call has come to. What exists decides; this is a hint for phases
    /// that leave no trace.
    pub from: Option<String>,
    /// How long the call may take.
    pub budget: Duration,
    /// Ends waits.
    pub stop: CancellationToken,
    /// The delivery is gone: touch nothing any more.
    pub lost: CancellationToken,
    /// Where progress goes.
    pub progress: ProgressSink,
}

impl Call {
    /// Makes a call in the name of a running slice.
    pub fn of(ctx: &Ctx, from: Option<String>, budget: Duration) -> Self {
        Self {
            job: ctx.job().id,
            epoch: ctx.epoch(),
            attempt: ctx.attempt(),
            worker: ctx.worker().to_owned(),
            from,
            budget,
            stop: ctx.stop().clone(),
            lost: ctx.lost().clone(),
            progress: ctx.progress().clone(),
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// It will never work as asked.
    #[error("the request cannot be fulfilled: {0}")]
    Invalid(String),
    /// There is no room for it.
    #[error("a quota is exhausted: {0}")]
    Quota(String),
    /// Something is in the way.
    #[error("conflict: {0}")]
    Conflict(String),
    /// It may work later.
    #[error("{what}")]
    Transient {
        /// What failed, for clients.
        what: String,
        /// Why, for the log.
        #[source]
        source: Option<BoxError>,
    },
    /// Our credential is refused there.
    #[error("the provisioner refuses the worker's credential")]
    Auth,
    /// The machine was deleted.
    #[error("the machine was deleted")]
    Gone,
}
