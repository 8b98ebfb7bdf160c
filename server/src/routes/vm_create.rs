//! `POST /v1/vm/`: create a machine, in the original's words.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use vmctl_api_types::{Problem, VmAccepted, VmRequest};

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, body::JsonBody, request_id::RequestId},
    openapi::{Guarded, SubmissionProblems},
    routes::vm,
};

/// Create a virtual machine
///
/// Fields that are not known are ignored. Follow the job by `GET /v1/vm/{uuid}`.
#[utoipa::path(
    post, path = "/v1/vm/", tag = "vmmanagement", operation_id = "create_vm",
    security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "A repetition with the same key and body is the same job")),
    request_body = VmRequest,
    responses(
        (status = 202, description = "Accepted", body = VmAccepted),
        (status = 400, description = "A field is not valid; `request_error` says which", body = Problem, content_type = "application/problem+json"),
        Guarded, SubmissionProblems,
    )
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Permitted,
    request_id: RequestId,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let accepted = vm::submit(&app, &caller, &request_id, &headers, vm::CREATE, body).await?;
    let location = format!("/v1/vm/{}", accepted.id);
    Ok(vm::accepted(&app, &accepted, &location))
}
