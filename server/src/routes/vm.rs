//! What the routes under `/v1/vm` share: the original service's words over ordinary jobs.

use std::sync::Arc;

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use vmctl_api_types::{ProblemType, VmAccepted};
use vmctl_core::kinds::KindSpec;

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, request_id::RequestId},
    jobs::{
        request,
        submit::{self, Accepted},
    },
    routes::job_submit,
};

/// The kind that creates a machine.
pub(super) const CREATE: &str = "vm.create";
/// The kind that deletes one.
pub(super) const DELETE: &str = "vm.delete";

/// Submits a job of this kind with the body as its input.
pub(super) async fn submit(
    app: &Arc<App>,
    caller: &Permitted,
    request_id: &RequestId,
    headers: &HeaderMap,
    kind: &'static str,
    body: Value,
) -> Result<Accepted, ApiError> {
    let kind = find(app, kind)?;
    caller.trail.kind(&kind.kind);
    caller.require(&kind.required_role)?;
    let request = request::check_compat(kind, body, app.now())?;
    let submission =
        job_submit::submission(kind_route(kind), request, caller, request_id, headers)?;
    let accepted = submit::submit(app, submission).await.map_err(|error| {
        if error.is(ProblemType::Duplicate) {
            return error.request_error("duplicate hostname");
        }
        error
    })?;
    caller.trail.job(accepted.id);
    Ok(accepted)
}

fn find<'a>(app: &'a App, kind: &str) -> Result<&'a KindSpec, ApiError> {
    kind.parse()
        .ok()
        .and_then(|kind| app.registry.get(&kind))
        .ok_or_else(|| ProblemType::UnknownKind.into())
}

fn kind_route(kind: &KindSpec) -> &'static str {
    if kind.kind.as_str() == DELETE {
        "DELETE /v1/vm"
    } else {
        "POST /v1/vm"
    }
}

/// Answers as the original did, with the headers of a job beside it.
pub(super) fn accepted(app: &App, accepted: &Accepted, location: &str) -> Response {
    let id = accepted.id;
    let body = VmAccepted {
        status: "OK".to_owned(),
        uuid: id.to_string(),
    };
    let status = app.config.compat_post_status.status();
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::LOCATION, location.to_owned()),
        (header::LINK, format!("</v1/jobs/{id}>; rel=\"monitor\"")),
    ] {
        // Both are ASCII: a path and a UUID.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    job_submit::submission_headers(headers, accepted);
    response
}
