//! `POST /v1/jobs/{id}/cancel`: ask to cancel a job.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde_json::Value;
use vmctl_api_types::{CancelRequest, FieldError, Job, JobState, Problem, ProblemType};
use vmctl_core::pointer;

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, body::OptionalJsonBody, path::JobPath, prefer::Prefer},
    jobs::cancel,
    openapi::{Absent, Guarded},
    routes::{answer, change},
};

const MAX_REASON: usize = 256;

/// Ask to cancel a job
///
/// The job goes on until a worker has cleaned up; `cancel_requested_at` says that it was asked. One that
/// is scheduled more than a minute ahead is cancelled at once.
/// Asking twice is the same as asking once.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "jobs", operation_id = "cancel_job",
    security(("token" = [])),
    params(
        ("id" = String, Path, format = Uuid, description = "The job's id"),
        ("If-Match" = Option<String>, Header, description = "Only if the job is still as this `ETag` says"),
    ),
    request_body = Option<CancelRequest>,
    responses(
        (status = 202, description = "Asked", body = Job),
        (status = 200, description = "Cancelled: before, or at once because it was not due", body = Job),
        (status = 400, description = "Not a job id, or not one JSON document", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The job has ended otherwise", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The job has changed since `If-Match`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
    )
)]
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    caller: Permitted,
    JobPath(id): JobPath,
    headers: HeaderMap,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, ApiError> {
    let prefer = Prefer::of(&headers)?.without_wait();
    let reason = reason(body, prefer.lenient)?;
    let record = change::find(&app, &caller, id, &headers).await?;
    match record.state() {
        Some(JobState::Cancelled) => return answer::job(id, &record, StatusCode::OK, None),
        Some(state) if state.is_terminal() => {
            return Err(ApiError::new(ProblemType::AlreadyTerminal)
                .job(id)
                .detail(format!("the job has {state}")));
        }
        _ => {}
    }
    let published = cancel::cancel(&app, id, record, reason).await?;
    change::accepted(id, &published, prefer)
}

fn reason(body: Option<Value>, lenient: bool) -> Result<Option<String>, ApiError> {
    let error = |pointer: &str, code: &str, detail: &str| FieldError {
        pointer: pointer.to_owned(),
        code: code.to_owned(),
        detail: detail.to_owned(),
    };
    let refuse = |problem, error| Err(ApiError::new(problem).errors(vec![error]));
    let fields = match body {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            return refuse(
                ProblemType::Validation,
                error("", "type", "must be an object"),
            );
        }
    };
    if let Some(name) = fields.keys().find(|name| *name != "reason" && !lenient) {
        let name: String = name.chars().take(64).collect();
        let pointer = pointer::member("", &name);
        return refuse(
            ProblemType::UnknownField,
            error(&pointer, "unknown-field", "is not known"),
        );
    }
    match fields.get("reason") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text))
            if text.chars().count() <= MAX_REASON && !text.chars().any(char::is_control) =>
        {
            Ok(Some(text.clone()))
        }
        Some(Value::String(_)) => refuse(
            ProblemType::Validation,
            error(
                "/reason",
                "pattern",
                "has more than 256 characters, or control characters",
            ),
        ),
        Some(_) => refuse(
            ProblemType::Validation,
            error("/reason", "type", "must be a string"),
        ),
    }
}
