//! `GET /v1/quota`: what the project may use, and what it uses.

use std::sync::Arc;

use axum::{Json, extract::State};
use vmctl_api_types::{ActiveJobs, Quota, SubmitQuota};

use crate::{
    app::App, error::ApiError, http::auth::Permitted, jobs::list::is_incomplete, openapi::Guarded,
};

/// Show the project's quota
///
/// The same limits hold for the project on every server. Answers to submissions say what is left in the
/// fields `RateLimit-Policy` and `RateLimit`.
#[utoipa::path(
    get, path = "/v1/quota", tag = "jobs", operation_id = "get_quota",
    security(("token" = [])),
    responses((status = 200, description = "Limits and use", body = Quota), Guarded)
)]
pub(super) async fn quota(
    State(app): State<Arc<App>>,
    caller: Permitted,
) -> Result<Json<Quota>, ApiError> {
    let limits = app.config.limits.project;
    let project_id = caller.project.id.clone();
    let usage = app.bounded(app.store.usage(&project_id, limits)).await?;
    Ok(Json(Quota {
        project_id,
        submit: limits.rate.map(|rate| SubmitQuota {
            quota: rate.quota,
            window_seconds: rate.window.as_secs().max(1),
            remaining: usage.left,
        }),
        active_jobs: ActiveJobs {
            quota: limits.active,
            used: usage.active,
        },
        incomplete: is_incomplete(&app).await?,
    }))
}
