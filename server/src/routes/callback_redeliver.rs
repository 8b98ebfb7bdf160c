//! `POST /v1/jobs/{id}/callbacks/{cid}/redeliver`: tell a receiver once more.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use vmctl_api_types::{CallbackDelivery, JobId, Problem, ProblemType};

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, trace},
    jobs::{callbacks, retry, view},
    openapi::{Absent, Guarded},
    routes::{answer, change},
};

/// Deliver a callback again
///
/// Whether it was delivered or given up. It begins at the first attempt, with the same body and the
/// same `webhook-id`: a receiver that has it already can tell.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/callbacks/{cid}/redeliver", tag = "jobs", operation_id = "redeliver_job_callback",
    security(("token" = [])),
    params(
        ("id" = String, Path, format = Uuid, description = "The job's id"),
        ("cid" = String, Path, format = Uuid, description = "The callback's id"),
    ),
    responses(
        (status = 202, description = "It is delivered again", body = CallbackDelivery),
        (status = 400, description = "Not a job id", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is being delivered", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
    )
)]
pub(super) async fn redeliver(
    State(app): State<Arc<App>>,
    caller: Permitted,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let bad = || ApiError::new(ProblemType::BadId);
    let Path((id, cid)) = path.map_err(|_| bad())?;
    let id: JobId = id.parse().map_err(|_| bad())?;
    let cid: JobId = cid.parse().map_err(|_| bad())?;
    let record = change::find(&app, &caller, id, &headers).await?;
    let absent = || {
        let absent = ApiError::new(ProblemType::JobNotFound).job(id);
        absent.detail("the job has no callback of that id")
    };
    let epoch = callbacks::run_of(&record, cid).ok_or_else(absent)?;
    let delivery = view::find(&app, &caller.access, cid).await?;
    let traceparent = trace::parent(&headers);
    let published = retry::redeliver(&app, cid, delivery, traceparent).await?;
    let callback = record.spec.as_ref().and_then(|s| s.spec.callback.as_ref());
    let status = callbacks::show(callback.ok_or_else(absent)?, Some(&published.record));
    let body = callbacks::delivery(cid, epoch, status, Some(&published.record));
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    answer::degraded(response.headers_mut(), !published.stored);
    Ok(response)
}
