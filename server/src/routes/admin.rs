//! For whose jobs the routes of those who run the service are.

use vmctl_api_types::ProblemType;

use crate::{error::ApiError, http::auth::Permitted, policy::ALL_PROJECTS};

/// Returns the one project whose jobs the caller may see and run, or `None` when it may for all.
pub(super) fn scope(caller: &Permitted) -> Option<String> {
    (!caller.access.has(ALL_PROJECTS)).then(|| caller.project.id.clone())
}

/// Refuses a question about another project than the own one.
pub(super) fn check_project(own: Option<&str>, asked: Option<&str>) -> Result<(), ApiError> {
    match (own, asked) {
        (Some(own), Some(asked)) if own != asked => Err(ApiError::new(ProblemType::Forbidden)
            .detail(format!("the policy does not allow {ALL_PROJECTS}"))),
        _ => Ok(()),
    }
}
