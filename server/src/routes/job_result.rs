//! `GET /v1/jobs/{id}/result`: what came out of a job.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde_json::Value;
use vmctl_api_types::{Job, JobState, Problem, ProblemType};
use vmctl_core::record::Record;

use crate::{
    app::App,
    edge::slot::Slot,
    error::ApiError,
    http::{auth::Permitted, conditional::Tags, path::JobPath, prefer::Prefer},
    jobs::{view, wait::Until},
    openapi::{Absent, Guarded},
    routes::{answer, held},
};

/// Fetch a job's output
///
/// The output alone, once the job has succeeded. Before that 202 with the job; with `Prefer: wait=N`
/// the answer is held until the job has ended.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/result", tag = "jobs", operation_id = "get_job_result",
    security(("token" = [])),
    params(
        ("id" = String, Path, format = Uuid, description = "The job's id"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` that the caller has"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` holds the answer, at most N (60) seconds"),
    ),
    responses(
        (status = 200, description = "The output, as the kind's output schema describes it", body = Value),
        (status = 202, description = "Not yet; `Retry-After` says when to ask again", body = Job),
        (status = 304, description = "Not changed since `If-None-Match`"),
        (status = 400, description = "Not a job id, or a header that cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The job has failed or was cancelled", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
    )
)]
pub(super) async fn result(
    State(app): State<Arc<App>>,
    caller: Permitted,
    JobPath(id): JobPath,
    slot: Slot,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let prefer = Prefer::of(&headers)?.without_handling();
    let known = Tags::of(&headers, header::IF_NONE_MATCH);
    let mut record = view::find(&app, &caller.access, id).await?;
    let until = Until::Terminal;
    let prefer = held::hold(&app, &slot, &caller, id, &until, prefer, &mut record).await?;
    let mut response = match record.state() {
        Some(JobState::Succeeded) => {
            answer::conditional(&record, StatusCode::OK, known.as_ref(), output(&record))
        }
        Some(state) if state.is_terminal() => {
            let why = error(&record).map_or_else(|| format!("the job is {state}"), str::to_owned);
            return Err(ApiError::new(ProblemType::JobNotSucceeded)
                .job(id)
                .detail(why));
        }
        _ => answer::job(id, &record, StatusCode::ACCEPTED, known.as_ref())?,
    };
    answer::preferences(response.headers_mut(), prefer);
    Ok(response)
}

fn output(record: &Record) -> Option<&Value> {
    record.winner.as_ref()?.body.output.as_ref()
}

fn error(record: &Record) -> Option<&str> {
    let error = record.winner.as_ref()?.body.error.as_ref()?;
    Some(&error.title)
}
