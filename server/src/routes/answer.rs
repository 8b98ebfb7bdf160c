//! Answers that describe a job.

use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use vmctl_api_types::{Job, JobId, JobState, ProblemType};
use vmctl_core::record::Record;

use crate::{
    error::ApiError,
    http::{
        conditional::{Tags, etag_header},
        prefer::{PREFERENCE_APPLIED, Prefer},
    },
};

/// Answers with the job, or 304 when the caller has it already.
pub(super) fn job(
    id: JobId,
    record: &Record,
    status: StatusCode,
    known: Option<&Tags>,
) -> Result<Response, ApiError> {
    Ok(conditional(record, status, known, body(id, record)?))
}

/// The job as its record shows it.
pub(super) fn body(id: JobId, record: &Record) -> Result<Job, ApiError> {
    record
        .to_job()
        .ok_or_else(|| ApiError::new(ProblemType::JobNotFound).job(id))
}

/// Answers with a body that shows the record, or 304.
pub(super) fn conditional(
    record: &Record,
    status: StatusCode,
    known: Option<&Tags>,
    body: impl serde::Serialize,
) -> Response {
    let etag = record.etag();
    let unchanged = known
        .zip(etag.as_ref())
        .is_some_and(|(tags, etag)| tags.contains(etag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (status, Json(body)).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if let Some(etag) = etag.as_deref().and_then(etag_header) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(seconds) = retry_after(record) {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// When to look again, in seconds; `None` when the job has ended.
pub(super) fn retry_after(record: &Record) -> Option<u64> {
    match record.state()? {
        state if state.is_terminal() => None,
        JobState::Running => Some(1),
        JobState::Queued => Some(2),
        _ => Some(3),
    }
}

/// Says that the view does not have the change yet.
pub(super) fn degraded(headers: &mut HeaderMap, degraded: bool) {
    if degraded {
        let name = HeaderName::from_static("x-degraded");
        headers.insert(name, HeaderValue::from_static("cache"));
    }
}

/// Says which preferences were honoured.
pub(super) fn preferences(headers: &mut HeaderMap, prefer: Prefer) {
    if let Some(applied) = prefer.applied() {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
}
