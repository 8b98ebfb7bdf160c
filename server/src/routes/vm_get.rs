//! `GET /v1/vm/{uuid}`: a creation, in the original's words.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use vmctl_api_types::{CompatState, Job, JobState, Problem, ProblemType, VmView};

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, conditional::Tags, path::JobPath},
    jobs::view,
    openapi::{Absent, Guarded},
    routes::{answer, vm},
};

/// Look a creation up
///
/// The six fields as submitted, the uuid and the state: `INPROGRESS`, `SUCCESSFULL` (spelled so),
/// `FAILED` or `CANCELLED`.
#[utoipa::path(
    get, path = "/v1/vm/{uuid}", tag = "vmmanagement", operation_id = "get_vm",
    security(("token" = [])),
    params(("uuid" = String, Path, format = Uuid, description = "The job's id")),
    responses(
        (status = 200, description = "The creation", body = VmView),
        (status = 304, description = "Not changed since `If-None-Match`"),
        (status = 400, description = "Not a job id", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
    )
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    caller: Permitted,
    JobPath(id): JobPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let record = view::find(&app, &caller.access, id).await?;
    let view = record
        .to_job()
        .and_then(compat)
        .ok_or_else(|| ApiError::new(ProblemType::JobNotFound).job(id))?;
    let known = Tags::of(&headers, header::IF_NONE_MATCH);
    Ok(answer::conditional(
        &record,
        StatusCode::OK,
        known.as_ref(),
        view,
    ))
}

/// Shows a creation; a job of another kind is not under this path.
fn compat(job: Job) -> Option<VmView> {
    if job.kind.as_str() != vm::CREATE {
        return None;
    }
    let field = |name: &str| {
        let text = job.input.get(name).and_then(serde_json::Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    Some(VmView {
        app_trigram: field("app_trigram"),
        uuid: job.id.to_string(),
        app_env: field("app_env"),
        vm_region: field("vm_region"),
        state: CompatState::from(job.state),
        vm_profile: field("vm_profile"),
        vm_desc: field("vm_desc"),
        vm_hostname: field("vm_hostname"),
        error: job.error.filter(|_| job.state == JobState::Failed),
    })
}
