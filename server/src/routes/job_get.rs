//! `GET /v1/jobs/{id}`: one job.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use vmctl_api_types::{Job, Problem};

use crate::{
    app::App,
    edge::slot::Slot,
    error::ApiError,
    http::{auth::Permitted, conditional::Tags, path::JobPath, prefer::Prefer},
    jobs::{callbacks, in_line, view, wait::Until},
    openapi::{Absent, Guarded},
    routes::{answer, held},
};

/// Look a job up
///
/// 200 whatever the job's state, failed too. With `If-None-Match` and `Prefer: wait=N` the answer is
/// held until the job has changed; with `Prefer: wait=N` alone until it has ended.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "get_job",
    security(("token" = [])),
    params(
        ("id" = String, Path, format = Uuid, description = "The job's id"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` that the caller has"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` holds the answer, at most N (60) seconds"),
    ),
    responses(
        (status = 200, description = "The job", body = Job),
        (status = 304, description = "Not changed since `If-None-Match`"),
        (status = 400, description = "Not a job id, or a header that cannot be used", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
    )
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    caller: Permitted,
    JobPath(id): JobPath,
    slot: Slot,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let prefer = Prefer::of(&headers)?.without_handling();
    let known = Tags::of(&headers, header::IF_NONE_MATCH);
    let mut record = view::find(&app, &caller.access, id).await?;
    let until = known.clone().map_or(Until::Terminal, Until::Changed);
    let prefer = held::hold(&app, &slot, &caller, id, &until, prefer, &mut record).await?;
    let told = record.is_terminal() && record.has_callback();
    let mut job = answer::body(id, &record)?;
    let mut response = if let Some(in_line) = &mut job.in_line {
        // How many are before it is not in the record's `ETag`, either.
        in_line.ahead = in_line::ahead(&app, &record).await;
        answer::conditional(&record, StatusCode::OK, None, job)
    } else if told {
        // How the callback stands is not in the record's `ETag`, so the whole job is sent.
        let callback = callbacks::status(&app, &record).await?;
        job.callback = callback;
        answer::conditional(&record, StatusCode::OK, None, job)
    } else {
        answer::conditional(&record, StatusCode::OK, known.as_ref(), job)
    };
    answer::preferences(response.headers_mut(), prefer);
    Ok(response)
}
