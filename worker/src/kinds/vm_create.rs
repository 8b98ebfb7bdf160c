//! `vm.create`: one slice for each phase of the provisioner.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vmctl_core::{event::JobSpec, kinds::Registry};

use super::{SLICE, bad_input, outcome_of};
use crate::{
    CancelReason, Ctx, Handler, Outcome,
    provisioner::{Call, Provisioner, Step, Vm, VmSpec},
};

/// Makes machines.
pub struct VmCreate {
    provisioner: Arc<dyn Provisioner>,
    registry: Arc<Registry>,
}

#[derive(Deserialize)]
struct Input {
    app_env: String,
    app_trigram: String,
    vm_desc: String,
    vm_hostname: String,
    vm_profile: String,
    vm_region: String,
}

/// What one slice leaves to the next.
#[derive(Serialize, Deserialize)]
struct Checkpoint {
    phase: String,
}

impl VmCreate {
    /// Makes the handler.
    pub fn new(provisioner: Arc<dyn Provisioner>, registry: Arc<Registry>) -> Self {
        Self {
            provisioner,
            registry,
        }
    }

    fn spec(&self, job: &JobSpec) -> Result<VmSpec, String> {
        let input = Input::deserialize(&job.input).map_err(|e| e.to_string())?;
        let profiles = self.registry.profiles();
        let profile = profiles.iter().find(|p| p.name == input.vm_profile);
        Ok(VmSpec {
            job: job.id,
            project_id: job.auth.project_id.clone(),
            hostname: input.vm_hostname,
            profile: profile
                .ok_or_else(|| format!("there is no profile {}", input.vm_profile))?
                .clone(),
            region: input.vm_region,
            environment: input.app_env,
            trigram: input.app_trigram,
            description: input.vm_desc,
        })
    }

    fn output(&self, vm: &Vm) -> Value {
        let mut output = json!({
            "vm_hostname": vm.spec.hostname,
            "provider": self.provisioner.name(),
        });
        if let Some(ip) = &vm.ip {
            output["ip"] = json!(ip);
        }
        output
    }

    /// Removes what was made. The tombstone stops late copies, also when nothing was.
    async fn clean_up(&self, ctx: &Ctx, call: &Call) -> Outcome {
        ctx.log("cancelled: removing what was made");
        match self.provisioner.delete(ctx.job().id, call).await {
            Ok(_) => Outcome::Cancelled,
            Err(error) => outcome_of(&error),
        }
    }
}

#[async_trait]
impl Handler for VmCreate {
    async fn run(&self, ctx: Ctx) -> Outcome {
        let spec = match self.spec(ctx.job()) {
            Ok(spec) => spec,
            Err(reason) => return bad_input(reason),
        };
        let from = ctx.checkpoint().map(|Checkpoint { phase }| phase);
        let call = Call::of(&ctx, from, SLICE);
        if call.from.is_none() && !is_cancelled(&ctx) {
            ctx.log(plan(&spec));
        }
        let step = if is_cancelled(&ctx) {
            None
        } else {
            Some(self.provisioner.create(&spec, &call).await)
        };
        match step {
            Some(Ok(Step::Ready(vm))) => {
                let ip = vm.ip.as_deref().unwrap_or("none yet");
                ctx.log(format!("{} is ready, address {ip}", vm.spec.hostname));
                Outcome::Done(self.output(&vm))
            }
            _ if is_cancelled(&ctx) => self.clean_up(&ctx, &call).await,
            Some(Ok(Step::Next { phase, after })) => {
                ctx.log(format!("next phase: {phase}"));
                go_on(phase, after)
            }
            // Handed over: another worker goes on at once.
            Some(Ok(Step::Stopped { phase })) => go_on(phase, Duration::ZERO),
            Some(Err(error)) => {
                ctx.log(format!("attempt {}: {error}", ctx.attempt()));
                outcome_of(&error)
            }
            None => Outcome::Cancelled,
        }
    }
}

/// Says whether somebody wants the machine gone. A deadline leaves it.
fn is_cancelled(ctx: &Ctx) -> bool {
    matches!(ctx.cancel_reason(), Some(CancelReason::Requested(_))) && !ctx.lost().is_cancelled()
}

/// Says what is going to be made.
fn plan(spec: &VmSpec) -> String {
    let profile = &spec.profile;
    format!(
        "creating {}: profile {} ({} vCPU, {} MiB memory, {} GiB disk), region {}",
        spec.hostname, profile.name, profile.vcpus, profile.ram_mib, profile.disk_gib, spec.region
    )
}

fn go_on(phase: &str, after: Duration) -> Outcome {
    Outcome::Continue {
        after,
        checkpoint: json!(Checkpoint {
            phase: phase.to_owned()
        }),
    }
}
