//! What the routes that change a job have in common.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use vmctl_api_types::{JobId, ProblemType};
use vmctl_core::record::Record;

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, conditional::Tags, prefer::Prefer},
    jobs::{publish::Published, view},
    routes::answer,
};

/// Finds the job if the caller may change it and `If-Match` allows it.
pub(super) async fn find(
    app: &App,
    caller: &Permitted,
    id: JobId,
    headers: &HeaderMap,
) -> Result<Record, ApiError> {
    caller.trail.job(id);
    let record = view::find(app, &caller.access, id).await?;
    if let Some(submission) = &record.spec {
        caller.trail.kind(&submission.spec.kind);
    }
    caller.require(role(app, &record))?;
    check_precondition(headers, &record)?;
    Ok(record)
}

/// Answers with the job as it is now.
pub(super) fn accepted(
    id: JobId,
    published: &Published,
    prefer: Prefer,
) -> Result<Response, ApiError> {
    let status = if published.record.is_terminal() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let mut response = answer::job(id, &published.record, status, None)?;
    answer::preferences(response.headers_mut(), prefer);
    answer::degraded(response.headers_mut(), !published.stored);
    response
        .headers_mut()
        .extend(published.fields.iter().cloned());
    Ok(response)
}

/// Who may submit a kind may change its jobs; a kind that is not in the registry any more needs `member`.
fn role<'a>(app: &'a App, record: &Record) -> &'a str {
    record
        .spec
        .as_ref()
        .and_then(|submission| app.registry.get(&submission.spec.kind))
        .map_or("member", |kind| &kind.required_role)
}

fn check_precondition(headers: &HeaderMap, record: &Record) -> Result<(), ApiError> {
    let Some(tags) = Tags::of(headers, header::IF_MATCH) else {
        return Ok(());
    };
    match record.etag() {
        Some(etag) if tags.contains_strong(&etag) => Ok(()),
        _ => Err(ProblemType::PreconditionFailed.into()),
    }
}
