//! `GET /v1/admin/audit`: what was asked of the servers lately.

use std::sync::Arc;

use axum::{Json, extract::State};
use vmctl_api_types::{AuditEntry, AuditList, Problem};

use crate::{
    app::App,
    audit::KEPT,
    error::ApiError,
    http::{auth::Permitted, query::Query},
    openapi::Guarded,
    policy::ALL_PROJECTS,
};

/// Entries when nobody says how many.
const DEFAULT: usize = 100;

/// Show who asked for changes lately
///
/// The newest entries that this server has read from the log, at most 1,000 of all servers; `since`
/// says from when on none is missing. The whole of it is in the log, and in whatever queue is bound to
/// `audit.#`. An admin sees the own project; admins of the project that the operator has named see all.
#[utoipa::path(
    get, path = "/v1/admin/audit", tag = "admin", operation_id = "list_audit",
    security(("token" = [])),
    params(("limit" = Option<u32>, Query, description = "At most so many, 100 unless told, at most 1,000")),
    responses(
        (status = 200, description = "Entries, newest first", body = AuditList),
        (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
        Guarded,
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Permitted,
    query: Query,
) -> Result<Json<AuditList>, ApiError> {
    query.only(&["limit"])?;
    let most = query.limit(DEFAULT, KEPT)?;
    let own = &caller.project.id;
    let sees_all = caller.access.has(ALL_PROJECTS);
    let is_own = |entry: &AuditEntry| {
        let who = entry.data.who.as_ref();
        who.is_some_and(|who| who.project_id.as_ref() == Some(own))
    };
    let seen = app.audit.newest(most, |entry| sees_all || is_own(entry));
    Ok(Json(AuditList {
        items: seen.items,
        since: seen.since,
    }))
}
