//! `POST /v1/jobs/{id}/retry`: run an ended job again.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use vmctl_api_types::{Job, Problem};

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, path::JobPath, prefer::Prefer, trace},
    jobs::retry,
    openapi::{Absent, Guarded},
    routes::change,
};

/// Run an ended job again
///
/// Only a job that has failed or was cancelled. It keeps its id and its input, begins at the first
/// attempt of the next epoch, and has as much time as before. What it has made by then is found
/// again by its id; a machine that was deleted stays deleted.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", tag = "jobs", operation_id = "retry_job",
    security(("token" = [])),
    params(
        ("id" = String, Path, format = Uuid, description = "The job's id"),
        ("If-Match" = Option<String>, Header, description = "Only if the job is still as this `ETag` says"),
    ),
    responses(
        (status = 202, description = "It runs again", body = Job),
        (status = 400, description = "Not a job id", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The job is live, or has succeeded, or another job has its name", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The job has changed since `If-Match`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Its kind is not known any more", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
    )
)]
pub(super) async fn retry(
    State(app): State<Arc<App>>,
    caller: Permitted,
    JobPath(id): JobPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let prefer = Prefer::of(&headers)?.without_wait();
    let record = change::find(&app, &caller, id, &headers).await?;
    let published = retry::retry(&app, id, record, trace::parent(&headers)).await?;
    change::accepted(id, &published, prefer)
}
