//! `DELETE /v1/vm/`: delete a machine by host name, in the original's words.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use vmctl_api_types::{Problem, VmAccepted, VmDeleteRequest};

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, body::JsonBody, request_id::RequestId},
    openapi::{Guarded, SubmissionProblems},
    routes::vm,
};

/// Delete a virtual machine by host name
///
/// Follow the job by `GET /v1/jobs/{id}`.
#[utoipa::path(
    delete, path = "/v1/vm/", tag = "vmmanagement", operation_id = "delete_vm",
    security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "A repetition with the same key and body is the same job")),
    request_body = VmDeleteRequest,
    responses(
        (status = 202, description = "Accepted", body = VmAccepted),
        (status = 400, description = "A field is not valid; `request_error` says which", body = Problem, content_type = "application/problem+json"),
        Guarded, SubmissionProblems,
    )
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    caller: Permitted,
    request_id: RequestId,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let accepted = vm::submit(&app, &caller, &request_id, &headers, vm::DELETE, body).await?;
    // Not under /v1/vm: there only creations can be looked up, as their eight fields.
    let location = format!("/v1/jobs/{}", accepted.id);
    Ok(vm::accepted(&app, &accepted, &location))
}
