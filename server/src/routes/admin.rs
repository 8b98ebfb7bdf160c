//! Who may ask the routes of those who run the service, and for what.

use vmctl_api_types::ProblemType;

use crate::{app::App, error::ApiError, http::auth::ProjectReader};

/// The role that these routes need.
const ROLE: &str = "admin";

/// Refuses everybody else. Returns the one project whose jobs the caller may see and run, or `None` when
/// it is the project whose admins may for all.
pub(super) fn scope(app: &App, caller: &ProjectReader) -> Result<Option<String>, ApiError> {
    caller.require(ROLE)?;
    let own = &caller.project.id;
    let is_operator = app.config.admin_project.as_ref() == Some(own);
    Ok((!is_operator).then(|| own.clone()))
}

/// Refuses a question about another project than the own one.
pub(super) fn check_project(own: Option<&str>, asked: Option<&str>) -> Result<(), ApiError> {
    match (own, asked) {
        (Some(own), Some(asked)) if own != asked => Err(ApiError::new(ProblemType::Forbidden)
            .detail("only admins of the operator's project see other projects")),
        _ => Ok(()),
    }
}
