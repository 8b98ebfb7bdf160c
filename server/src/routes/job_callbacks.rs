//! `GET /v1/jobs/{id}/callbacks`: what was told of a job's ends, and how that went.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use vmctl_api_types::{CallbackList, Problem};

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, path::JobPath},
    jobs::{callbacks, view},
    openapi::{Absent, Guarded},
};

/// List a job's callbacks
///
/// One for each run, the newest first; empty for a job without a callback. Each is a job of kind
/// `callback.deliver`, and its id is the `webhook-id` that the receiver sees.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/callbacks", tag = "jobs", operation_id = "list_job_callbacks",
    security(("token" = [])),
    params(("id" = String, Path, format = Uuid, description = "The job's id")),
    responses(
        (status = 200, description = "Its callbacks", body = CallbackList),
        (status = 400, description = "Not a job id", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Permitted,
    JobPath(id): JobPath,
) -> Result<Response, ApiError> {
    let record = view::find(&app, &caller.access, id).await?;
    let items = callbacks::list(&app, &record).await?;
    let mut response = Json(CallbackList { items }).into_response();
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    Ok(response)
}
