//! `GET /v1/events`: events of some jobs, or of a project, as they happen.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use vmctl_api_types::{JobId, Problem, ProblemType, StreamEvent};

use crate::{
    app::App,
    error::ApiError,
    http::{
        accept,
        auth::Permitted,
        query::{Query, bad},
    },
    jobs::list::Filter,
    openapi::{Absent, Guarded},
    routes::job_list,
    streams::{self, Place, Source, jobs::JobStream, project::ProjectStream},
};

/// Follow jobs
///
/// With `job`, one or more: a frame `snapshot` for each, then their events in the order of the log and
/// their progress, until all of them have ended.
///
/// Without `job`: the project's jobs, at most 50 and newest first, in one frame `snapshot` (a
/// `JobList`), then the events of all its jobs and their progress. `kind` and `state` choose among
/// all of them; the state of an event is the one that it announces.
///
/// Frames and reconnection are as for one job (`GET /v1/jobs/{id}/events`). A stream of the project that
/// cannot go on behind `Last-Event-ID` says so in a frame `gap` before a new snapshot.
#[utoipa::path(
    get, path = "/v1/events", tag = "jobs", operation_id = "stream_events",
    security(("token" = [])),
    params(
        ("job" = Option<Vec<String>>, Query, description = "A job's id; repeated, at most 50"),
        ("kind" = Option<String>, Query, description = "One kind; not together with `job`"),
        ("state" = Option<String>, Query, description = "States, with commas between them; not together with `job`"),
        ("after" = Option<String>, Query, description = "The last event that the caller has, for who cannot set `Last-Event-ID`"),
        ("Last-Event-ID" = Option<String>, Header, description = "The last event that the caller has"),
    ),
    responses(
        (status = 200, description = "A stream whose frames carry a `Job` or a `JobList` (`snapshot`), a `StreamGap` (`gap`) or a `StreamEvent`", content((StreamEvent = "text/event-stream"))),
        (status = 204, description = "The jobs have ended and the caller has had the last event"),
        (status = 400, description = "Not a job id, or a parameter that cannot be used", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
        (status = 406, description = "`Accept` has no room for `text/event-stream`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The project has too many streams", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    caller: Permitted,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if !accept::events(&headers) {
        return Err(
            ApiError::new(ProblemType::NotAcceptable).detail("answers are text/event-stream")
        );
    }
    query.only(&["job", "kind", "state", "after"])?;
    let last = streams::last_event(&headers, query.one("after")?);
    let ids = jobs(&query, app.config.limits.stream_jobs)?;
    let filter = Filter {
        states: query
            .one("state")?
            .map(job_list::states)
            .transpose()?
            .unwrap_or_default(),
        kind: query.one("kind")?.map(job_list::kind).transpose()?,
        ..Filter::default()
    };
    if ids.is_empty() {
        return of_project(&app, &caller, filter, last).await;
    }
    if filter.kind.is_some() || !filter.states.is_empty() {
        return Err(bad("kind and state choose among all jobs: leave out job"));
    }
    of_jobs(&app, &caller, &ids, last).await
}

/// Reads the ids, each once.
fn jobs(query: &Query, most: usize) -> Result<Vec<JobId>, ApiError> {
    let mut ids: Vec<JobId> = Vec::new();
    for text in query.all("job") {
        let id = text.parse().map_err(|e: vmctl_api_types::ParseIdError| {
            ApiError::new(ProblemType::BadId).detail(e.to_string())
        })?;
        if !ids.contains(&id) {
            ids.push(id);
        }
        if ids.len() > most {
            return Err(bad(format!("one stream follows at most {most} jobs")));
        }
    }
    Ok(ids)
}

/// Answers with a stream of some jobs, or 204.
pub(super) async fn of_jobs(
    app: &Arc<App>,
    caller: &Permitted,
    ids: &[JobId],
    last: Option<&str>,
) -> Result<Response, ApiError> {
    let place = Place::take(app, &caller.project.id)?;
    let stream = JobStream::open(app, &caller.access, ids, last).await?;
    Ok(match stream {
        Some(stream) => streams::answer(app, caller, place, Source::Jobs(stream)),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

async fn of_project(
    app: &Arc<App>,
    caller: &Permitted,
    filter: Filter,
    last: Option<&str>,
) -> Result<Response, ApiError> {
    caller.access.check_project()?;
    let place = Place::take(app, &caller.project.id)?;
    let stream = ProjectStream::open(app, &caller.project.id, filter, last).await?;
    Ok(streams::answer(app, caller, place, Source::Project(stream)))
}
