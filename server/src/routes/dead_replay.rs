//! `POST /v1/admin/dead/replay`: run jobs again that have failed for good.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method},
};
use serde_json::Value;
use vmctl_api_types::{
    Audit, AuditOutcome, FieldError, JobId, Kind, Problem, ProblemType, ReplayRequest,
    ReplayResult, Replayed,
};

use crate::{
    app::App,
    audit,
    error::ApiError,
    http::{auth::Permitted, body::JsonBody, request_id::RequestId, trace},
    jobs::dead,
    openapi::Guarded,
    routes::{admin, dead_list::MOST_TEXT},
};

const ROUTE: &str = "/v1/admin/dead/replay";
/// Most jobs of one request.
const MOST: usize = 100;

/// Run jobs again that have failed for good
///
/// Each opens its next epoch, for the user that has asked for it first and with as much time as before,
/// as a retry does. Named by their ids, or by what holds for them. The answer says for each job what
/// became of it: a message that no worker could read is nothing that could be published again.
#[utoipa::path(
    post, path = "/v1/admin/dead/replay", tag = "admin", operation_id = "replay_dead",
    security(("token" = [])),
    request_body = ReplayRequest,
    responses(
        (status = 200, description = "What became of each job", body = ReplayResult),
        (status = 400, description = "Not one JSON document", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid", body = Problem, content_type = "application/problem+json"),
        Guarded,
    )
)]
pub(super) async fn replay(
    State(app): State<Arc<App>>,
    caller: Permitted,
    request_id: RequestId,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Json<ReplayResult>, ApiError> {
    let own = admin::scope(&caller);
    let wanted = request(body)?;
    admin::check_project(own.as_deref(), wanted.project_id.as_deref())?;
    let (jobs, more) = named(&app, own.clone(), wanted).await?;
    let mut items = Vec::with_capacity(jobs.len());
    for (id, kind) in jobs {
        let traceparent = trace::parent(&headers);
        let outcome = dead::replay(&app, own.as_deref(), id, traceparent).await;
        let item = match outcome {
            Ok(epoch) => Replayed {
                id,
                epoch: Some(epoch),
                problem: None,
            },
            Err(error) => Replayed {
                id,
                epoch: None,
                problem: Some(error.problem().clone()),
            },
        };
        note(&app, &caller, &request_id, kind, &item);
        items.push(item);
    }
    Ok(Json(ReplayResult { items, more }))
}

/// Returns the jobs that are meant, and whether there may be more.
async fn named(
    app: &App,
    own: Option<String>,
    wanted: ReplayRequest,
) -> Result<(Vec<(JobId, Option<Kind>)>, bool), ApiError> {
    if !wanted.ids.is_empty() {
        let jobs = wanted.ids.into_iter().map(|id| (id, None));
        return Ok((jobs.collect(), false));
    }
    let filter = dead::Filter {
        project: own.or(wanted.project_id),
        kind: wanted.kind,
        error: wanted.error,
    };
    let limit = wanted.limit.map_or(MOST, |limit| limit as usize);
    let page = dead::page(app, &filter, None, limit).await?;
    // What cannot be replayed would be in the way for ever; whoever names its id is told.
    let jobs = page.items.into_iter().filter(|job| job.replayable);
    let jobs = jobs.map(|job| (job.id, job.kind)).collect();
    Ok((jobs, page.next.is_some()))
}

/// Audits one job: the job's own owner has not asked for this run.
fn note(
    app: &App,
    caller: &Permitted,
    request_id: &RequestId,
    kind: Option<Kind>,
    item: &Replayed,
) {
    let problem = item.problem.as_ref();
    let status = problem.map_or(202, |problem| problem.status);
    let problem_type = problem.map(|problem| problem.problem_type.clone());
    app.audit.record(
        app,
        Audit {
            what: "replay".to_owned(),
            outcome: match problem_type.as_deref().and_then(ProblemType::from_uri) {
                Some(ProblemType::OutcomeUnknown) => AuditOutcome::Unknown,
                Some(_) => AuditOutcome::Refused,
                None => AuditOutcome::Accepted,
            },
            status: Some(status),
            problem: problem_type,
            who: Some(audit::who(&caller.context)),
            route: format!("{} {ROUTE}", Method::POST),
            job_id: Some(item.id),
            kind,
            from: caller.trail.from(),
            request_id: request_id.as_str().to_owned(),
        },
    );
}

/// Reads a request: ids and nothing else, or something that jobs are chosen by.
fn request(body: Value) -> Result<ReplayRequest, ApiError> {
    // A list would do for the library too, as the members in their order.
    if !body.is_object() {
        return Err(refuse("", "type", "must be an object"));
    }
    let wanted: ReplayRequest =
        serde_json::from_value(body).map_err(|error| refuse("", "invalid", error.to_string()))?;
    let chooses = wanted.kind.is_some() || wanted.error.is_some() || wanted.project_id.is_some();
    if wanted.ids.is_empty() && !chooses {
        return Err(refuse(
            "",
            "required",
            "ids, kind, error or project_id says which jobs are meant",
        ));
    }
    if !wanted.ids.is_empty() && (chooses || wanted.limit.is_some()) {
        return Err(refuse("/ids", "conflict", "nothing else goes with ids"));
    }
    if wanted.ids.len() > MOST {
        return Err(refuse("/ids", "maxItems", format!("at most {MOST} jobs")));
    }
    if wanted
        .limit
        .is_some_and(|limit| !(1..=MOST).contains(&(limit as usize)))
    {
        return Err(refuse("/limit", "maximum", format!("1 to {MOST}")));
    }
    for (pointer, text) in [
        ("/error", &wanted.error),
        ("/project_id", &wanted.project_id),
    ] {
        let length = text.as_ref().map(|text| text.chars().count());
        if length.is_some_and(|length| !(1..=MOST_TEXT).contains(&length)) {
            return Err(refuse(
                pointer,
                "length",
                format!("1 to {MOST_TEXT} characters"),
            ));
        }
    }
    Ok(wanted)
}

fn refuse(pointer: &str, code: &str, detail: impl Into<String>) -> ApiError {
    ApiError::new(ProblemType::Validation).errors(vec![FieldError {
        pointer: pointer.to_owned(),
        code: code.to_owned(),
        detail: detail.into(),
    }])
}
