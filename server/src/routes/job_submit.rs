//! `POST /v1/jobs`: accept a job.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use vmctl_api_types::{Job, Problem, SubmitRequest};
use vmctl_core::event::Caller;

use crate::{
    app::App,
    edge::slot::Slot,
    error::ApiError,
    http::{
        auth::Permitted, body::JsonBody, key::IdempotencyKey, prefer::Prefer, query::Query,
        request_id::RequestId, trace,
    },
    jobs::{
        callbacks,
        request::{self, JobRequest},
        submit::{self, Accepted, Submission},
        wait::Until,
    },
    openapi::{Guarded, SubmissionProblems},
    routes::{answer, held},
};

const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Submit a job
///
/// 202 means safe: the broker has confirmed the command, and the job will reach a final state. After
/// a 503 `outcome-unknown` repeat the request with the same `Idempotency-Key`.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", operation_id = "submit_job",
    security(("token" = [])),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A repetition with the same key and body is the same job"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` holds the answer until the job has ended, at most N (60) seconds; `handling=lenient` ignores unknown fields"),
        ("validate_only" = Option<bool>, Query, description = "Check and answer with the normalised request; nothing is accepted"),
    ),
    request_body = SubmitRequest,
    responses(
        (status = 202, description = "Accepted", body = Job),
        (status = 200, description = "Ended already: a repetition, or `wait` saw the end; or the other job, with `on_conflict` `return`", body = Job),
        (status = 400, description = "Not one JSON document, a key twice, or a header that cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid; `errors` lists all of them", body = Problem, content_type = "application/problem+json"),
        Guarded, SubmissionProblems,
    )
)]
pub(super) async fn submit(
    State(app): State<Arc<App>>,
    caller: Permitted,
    request_id: RequestId,
    slot: Slot,
    query: Query,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    query.only(&["validate_only"])?;
    let validate_only = query.flag("validate_only")?;
    if validate_only {
        caller.trail.changes_nothing();
    }
    let prefer = Prefer::of(&headers)?;
    let kind = request::kind_of(&app.registry, &body)?;
    caller.trail.kind(&kind.kind);
    caller.require(&kind.required_role)?;
    let request = request::check(&app.registry, kind, body, app.now(), prefer.lenient)?;
    for role in &request.roles {
        caller.require(role)?;
    }
    callbacks::check(&app, request.callback.as_ref()).await?;
    let submission = submission("POST /v1/jobs", request, &caller, &request_id, &headers)?;
    if validate_only {
        let body = Json(submit::normalised(&submission.request));
        let mut response = body.into_response();
        answer::preferences(response.headers_mut(), prefer.without_wait());
        return Ok(response);
    }
    let mut accepted = submit::submit(&app, submission).await?;
    let (id, record) = (accepted.id, &mut accepted.record);
    caller.trail.job(id);
    let held = held::hold(&app, &slot, &caller, id, &Until::Terminal, prefer, record).await;
    // The job is accepted, so whatever goes wrong while waiting does not change the answer.
    let prefer = held.unwrap_or(prefer);
    respond(&accepted, prefer)
}

/// Puts a submission together from the parts of a request.
pub(super) fn submission(
    route: &'static str,
    request: JobRequest,
    caller: &Permitted,
    request_id: &RequestId,
    headers: &HeaderMap,
) -> Result<Submission, ApiError> {
    Ok(Submission {
        route,
        request,
        key: IdempotencyKey::of(headers)?,
        caller: Caller {
            user_id: caller.context.user_id.clone(),
            user_name: caller.context.user_name.clone(),
            project_id: caller.project.id.clone(),
            domain_id: caller.project.domain_id.clone(),
            roles: caller.context.roles.clone(),
            request_id: Some(request_id.as_str().to_owned()),
        },
        traceparent: trace::parent(headers),
    })
}

fn respond(accepted: &Accepted, prefer: Prefer) -> Result<Response, ApiError> {
    let status = if accepted.is_other || accepted.record.is_terminal() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let mut response = answer::job(accepted.id, &accepted.record, status, None)?;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/jobs/{}", accepted.id)) {
        headers.insert(header::LOCATION, location);
    }
    submission_headers(headers, accepted);
    answer::preferences(headers, prefer);
    Ok(response)
}

/// The headers of every accepted submission.
pub(super) fn submission_headers(headers: &mut HeaderMap, accepted: &Accepted) {
    let replayed = if accepted.replayed { "true" } else { "false" };
    headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static(replayed));
    answer::degraded(headers, accepted.degraded);
    headers.extend(accepted.fields.iter().cloned());
    if let Some(seconds) = answer::retry_after(&accepted.record) {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
}
