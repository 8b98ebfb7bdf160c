//! `GET /v1/admin/workers`: which workers live, and what they do.

use std::sync::Arc;

use axum::{Json, extract::State};
use vmctl_api_types::{Problem, WorkerList};

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, query::Query},
    openapi::Guarded,
    routes::{admin, job_list},
};

/// Show which workers live and what they do
///
/// What each has said in the last 30 seconds: which kinds it consumes, how many deliveries it has in hand,
/// and which jobs run in it. A server knows what it has heard itself; `since` says from when on it has
/// listened, and `complete` is false until every worker that lives has had its turn. An admin sees
/// jobs of the own project; admins of the project that the operator has named see all.
#[utoipa::path(
    get, path = "/v1/admin/workers", tag = "admin", operation_id = "list_workers",
    security(("token" = [])),
    params(("kind" = Option<String>, Query, description = "Only workers that serve this kind")),
    responses(
        (status = 200, description = "The workers, by name", body = WorkerList),
        (status = 400, description = "A parameter that cannot be used", body = Problem, content_type = "application/problem+json"),
        Guarded,
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Permitted,
    query: Query,
) -> Result<Json<WorkerList>, ApiError> {
    let project = admin::scope(&caller);
    query.only(&["kind"])?;
    let kind = query.one("kind")?.map(job_list::kind).transpose()?;
    let mut workers = app.workers.list(project.as_deref(), app.now());
    if let Some(kind) = kind {
        let serves = |presence: &vmctl_api_types::Presence| {
            presence.kinds.iter().any(|served| served.kind == kind)
        };
        workers.items.retain(|worker| serves(&worker.presence));
    }
    Ok(Json(workers))
}
