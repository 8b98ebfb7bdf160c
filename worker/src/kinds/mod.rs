//! Our own kinds: one module for each.

mod ansible;
mod callback_deliver;
mod flow;
mod vm_create;
mod vm_delete;

use std::{sync::Arc, time::Duration};

use vmctl_core::{JobError, Kind, kinds::Registry};

pub use ansible::{AnsibleConfig, AnsibleRun};
pub use callback_deliver::CallbackDeliver;
pub use flow::{Flow, STUCK_AFTER};
pub use vm_create::VmCreate;
pub use vm_delete::VmDelete;

use crate::{
    Handler, Outcome,
    provisioner::{ProvisionError, Provisioner},
};

/// The kind that runs playbooks.
pub const ANSIBLE: &str = "ansible.run";

/// The longest slice of our kinds.
const SLICE: Duration = Duration::from_secs(5 * 60);

/// Returns the handlers of the built-in kinds that need a provisioner.
pub fn built_in(
    provisioner: &Arc<dyn Provisioner>,
    registry: &Arc<Registry>,
) -> Vec<(Kind, Arc<dyn Handler>)> {
    let create: Arc<dyn Handler> = Arc::new(VmCreate::new(provisioner.clone(), registry.clone()));
    let delete: Arc<dyn Handler> = Arc::new(VmDelete::new(provisioner.clone()));
    [("vm.create", create), ("vm.delete", delete)]
        .into_iter()
        // Both words are kinds, which a test shows.
        .filter_map(|(kind, handler)| Some((kind.parse().ok()?, handler)))
        .chain(flows(registry))
        .collect()
}

/// Returns the handler of the kind that delivers callbacks.
pub fn callbacks(handler: CallbackDeliver) -> Option<(Kind, Arc<dyn Handler>)> {
    // The word is a kind, which a test shows.
    Some((vmctl_core::callback::KIND.parse().ok()?, Arc::new(handler)))
}

/// Returns the handlers of all flows of a registry: every kind with steps, and the one whose input
/// is the flow.
pub fn flows(registry: &Registry) -> Vec<(Kind, Arc<dyn Handler>)> {
    registry
        .kinds()
        .filter(|kind| kind.steps.is_some() || kind.kind.as_str() == vmctl_core::flow::KIND)
        .map(|kind| {
            let flow: Arc<dyn Handler> = Arc::new(Flow::of(kind));
            (kind.kind.clone(), flow)
        })
        .collect()
}

/// Returns the handler of `ansible.run`; none without a configuration.
///
/// # Errors
///
/// The directory of playbooks cannot be read.
pub fn ansible(config: Option<AnsibleConfig>) -> std::io::Result<Vec<(Kind, Arc<dyn Handler>)>> {
    let Some(config) = config else {
        return Ok(Vec::new());
    };
    let handler: Arc<dyn Handler> = Arc::new(AnsibleRun::new(config)?);
    // Both words are a kind, which a test shows.
    let kind = ANSIBLE.parse().ok();
    Ok(kind.map(|kind| (kind, handler)).into_iter().collect())
}

/// Turns a provisioner's error into its verdict.
fn outcome_of(error: &ProvisionError) -> Outcome {
    let word = match error {
        ProvisionError::Invalid(_) => "invalid",
        ProvisionError::Quota(_) => "quota",
        ProvisionError::Conflict(_) => "conflict",
        ProvisionError::Transient { .. } => "provisioner",
        ProvisionError::Auth => "provisioner-auth",
        ProvisionError::Gone => "gone",
    };
    let may_pass = matches!(
        error,
        ProvisionError::Transient { .. } | ProvisionError::Auth
    );
    let mut job_error = failure(word, &error.to_string());
    job_error.retryable = may_pass || matches!(error, ProvisionError::Quota(_));
    if may_pass {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "the provisioner failed"
        );
        job_error.detail = Some("what was made so far is left as it is".to_owned());
        return Outcome::Retry {
            after: None,
            error: job_error,
        };
    }
    Outcome::Fail(job_error)
}

fn failure(error_type: &str, title: &str) -> JobError {
    JobError {
        error_type: error_type.to_owned(),
        title: title.to_owned(),
        detail: None,
        retryable: false,
        attempt: None,
        worker: None,
    }
}

/// Says that an input is not what the kind's schema promises.
fn bad_input(error: impl std::fmt::Display) -> Outcome {
    Outcome::Fail(JobError {
        detail: Some(error.to_string()),
        ..failure("invalid", "the input cannot be used")
    })
}
