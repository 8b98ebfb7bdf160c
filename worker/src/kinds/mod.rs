//! Our own kinds: one module for each.

mod callback_deliver;
mod vm_create;
mod vm_delete;

use std::{sync::Arc, time::Duration};

use vmctl_core::{JobError, Kind, kinds::Registry};

pub use callback_deliver::CallbackDeliver;
pub use vm_create::VmCreate;
pub use vm_delete::VmDelete;

use crate::{
    Handler, Outcome,
    provisioner::{ProvisionError, Provisioner},
};

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
        .collect()
}

/// Returns the handler of the kind that delivers callbacks.
pub fn callbacks(handler: CallbackDeliver) -> Option<(Kind, Arc<dyn Handler>)> {
    // The word is a kind, which a test shows.
    Some((vmctl_core::callback::KIND.parse().ok()?, Arc::new(handler)))
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
