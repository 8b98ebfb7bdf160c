//! `vm.delete`: first find out which machine is meant, then delete exactly that one.
//!
//! What was found is in the checkpoint before anything is deleted. A repetition therefore deletes
//! the same machine again, which does nothing, and never the next one of that name. A delete that takes
//! back a creation names the machine by the job that makes it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use vmctl_core::{JobId, event::JobSpec};

use super::{SLICE, bad_input, outcome_of};
use crate::{
    Ctx, Handler, Outcome,
    provisioner::{Call, Observed, Provisioner, Vm},
};

/// Deletes machines by host name.
pub struct VmDelete {
    provisioner: Arc<dyn Provisioner>,
}

#[derive(Deserialize)]
struct Input {
    vm_hostname: String,
    /// The job that makes the machine, when one machine is meant and no other.
    machine: Option<JobId>,
}

/// What the first slice leaves to the second.
#[derive(Serialize, Deserialize)]
struct Checkpoint {
    /// The job that made the machine.
    machine: JobId,
}

impl VmDelete {
    /// Makes the handler.
    pub fn new(provisioner: Arc<dyn Provisioner>) -> Self {
        Self { provisioner }
    }

    async fn find(&self, ctx: &Ctx, hostname: &str, machine: Option<JobId>) -> Outcome {
        ctx.progress().report_step(0, "find", Some((1, 2)), None);
        let vms = match self.provisioner.list().await {
            Ok(vms) => vms,
            Err(error) => return outcome_of(&error),
        };
        let found = match machine {
            Some(machine) => named(&vms, ctx.job(), machine),
            None => resolve(&vms, ctx.job(), hostname, ctx.now()),
        };
        match found {
            Some(machine) => Outcome::Continue {
                after: Duration::ZERO,
                checkpoint: json!(Checkpoint { machine }),
            },
            None => done(hostname, false),
        }
    }

    /// Ends without deleting, unless an earlier run of this slice has done that already.
    async fn cancel(&self, ctx: &Ctx, hostname: &str, found: Option<Checkpoint>) -> Outcome {
        let Some(Checkpoint { machine }) = found else {
            return Outcome::Cancelled;
        };
        match self.provisioner.observe(machine).await {
            Ok(Observed::Deleted(deletion)) if deletion.by == ctx.job().id => done(hostname, true),
            Ok(_) => Outcome::Cancelled,
            Err(error) => outcome_of(&error),
        }
    }

    async fn delete(&self, ctx: &Ctx, hostname: &str, machine: JobId) -> Outcome {
        ctx.progress().report_step(50, "delete", Some((2, 2)), None);
        let call = Call::of(ctx, None, SLICE);
        match self.provisioner.delete(machine, &call).await {
            Ok(deletion) => done(hostname, deletion.existed && deletion.by == ctx.job().id),
            Err(error) => outcome_of(&error),
        }
    }
}

#[async_trait]
impl Handler for VmDelete {
    async fn run(&self, ctx: Ctx) -> Outcome {
        let (hostname, machine) = match Input::deserialize(&ctx.job().input) {
            Ok(input) => (input.vm_hostname, input.machine),
            Err(error) => return bad_input(error),
        };
        let found: Option<Checkpoint> = ctx.checkpoint();
        match found {
            _ if ctx.cancel().is_cancelled() => self.cancel(&ctx, &hostname, found).await,
            None => self.find(&ctx, &hostname, machine).await,
            Some(Checkpoint { machine }) => self.delete(&ctx, &hostname, machine).await,
        }
    }
}

fn done(hostname: &str, deleted: bool) -> Outcome {
    Outcome::Done(json!({"vm_hostname": hostname, "deleted": deleted}))
}

/// Returns the machine of a job, also when there is none yet: deleting it then stops its creation, however
/// late that comes. A machine of another project is none.
fn named(vms: &[Vm], delete: &JobSpec, machine: JobId) -> Option<JobId> {
    let owner = vms.iter().find(|vm| vm.spec.job == machine);
    let is_ours = owner.is_none_or(|vm| vm.spec.project_id == delete.auth.project_id);
    is_ours.then_some(machine)
}

/// Finds the machine that a delete means: the one that it has deleted already, or else the newest
/// living one of that project and name that existed before the delete was accepted. One that has waited
/// for its turn means what those before it have made meanwhile.
fn resolve(vms: &[Vm], delete: &JobSpec, hostname: &str, now: Timestamp) -> Option<JobId> {
    let waited = delete.unique.iter().any(|unique| unique.queue);
    let before = if waited { now } else { delete.created_at };
    let done = vms
        .iter()
        .find(|vm| vm.deleted.as_ref().is_some_and(|d| d.by == delete.id));
    let meant = |vm: &&Vm| {
        vm.deleted.is_none()
            && vm.spec.project_id == delete.auth.project_id
            && vm.spec.hostname.eq_ignore_ascii_case(hostname)
            && vm.created_at < before
    };
    done.or_else(|| {
        let meant = vms.iter().filter(meant);
        meant.max_by_key(|vm| (vm.created_at, vm.spec.job))
    })
    .map(|vm| vm.spec.job)
}
