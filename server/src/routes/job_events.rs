//! `GET /v1/jobs/{id}/events`: a job's history, as a list or as a stream that goes on.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use vmctl_api_types::{JobEvent, JobEventList, JobId, Problem, StreamEvent};

use crate::{
    app::App,
    error::ApiError,
    http::{accept, auth::Permitted, path::JobPath, query::Query},
    jobs::view,
    openapi::{Absent, Guarded},
    routes::event_stream,
    streams,
};

const DEFAULT_LIMIT: usize = 100;

/// Read a job's history, or follow it
///
/// As JSON: oldest first, in the order of the log. Only the first and the last events of a long
/// history are kept. An event appears when the view has read it from the log, shortly after it
/// happened.
///
/// As `text/event-stream`, if `Accept` names it: a frame `snapshot` with the job, then each event once
/// and in order, in a frame named after what happened (`started`, `succeeded`, …), and at most once a
/// second a frame `progress`. After the event that ends the job the stream ends. A client that was cut
/// sends the last `id` in `Last-Event-ID` and gets what came after; an id that is not known gets a
/// snapshot again; 204 says that nothing will follow.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/events", tag = "jobs", operation_id = "list_job_events",
    security(("token" = [])),
    params(
        ("id" = String, Path, format = Uuid, description = "The job's id"),
        ("after" = Option<String>, Query, description = "The last event that the caller has; unknown means from the start"),
        ("limit" = Option<u32>, Query, description = "Events on the page, 1 to 200; 100 when absent; not for a stream"),
        ("Last-Event-ID" = Option<String>, Header, description = "For a stream: the last event that the caller has; wins over `after`"),
    ),
    responses(
        (status = 200, description = "One page, or a stream whose frames carry a `Job` (`snapshot`) or a `StreamEvent`", content((JobEventList = "application/json"), (StreamEvent = "text/event-stream"))),
        (status = 204, description = "For a stream: the job has ended and the caller has had its end"),
        (status = 400, description = "Not a job id, or a parameter that cannot be used", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
        (status = 429, description = "For a stream: the project has too many", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn events(
    State(app): State<Arc<App>>,
    caller: Permitted,
    JobPath(id): JobPath,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if accept::prefers_events(&headers) {
        query.only(&["after"])?;
        let last = streams::last_event(&headers, query.one("after")?);
        return event_stream::of_jobs(&app, &caller, &[id], last).await;
    }
    list(&app, &caller, id, &query).await
}

async fn list(
    app: &App,
    caller: &Permitted,
    id: JobId,
    query: &Query,
) -> Result<Response, ApiError> {
    query.only(&["after", "limit"])?;
    let limit = query.limit(DEFAULT_LIMIT, app.config.limits.page)?;
    let after = query.one("after")?;
    let told = view::tell(app, &caller.access, id).await?;
    let events = told.history.iter().map(|entry| entry.event.clone());
    let body = page(events.collect(), after, limit);
    let headers = [(header::CACHE_CONTROL, "private, no-cache")];
    Ok((headers, Json(body)).into_response())
}

fn page(mut events: Vec<JobEvent>, after: Option<&str>, limit: usize) -> JobEventList {
    let known = after.and_then(|id| events.iter().position(|event| event.id == id));
    let mut items = events.split_off(known.map_or(0, |at| at + 1));
    let more = items.len() > limit;
    items.truncate(limit);
    let next_after = items.last().filter(|_| more).map(|event| event.id.clone());
    JobEventList { items, next_after }
}

#[cfg(test)]
mod tests {
    use vmctl_api_types::JobState;

    use super::*;

    fn event(id: &str) -> JobEvent {
        JobEvent {
            id: id.to_owned(),
            event_type: "started".to_owned(),
            time: "2026-11-23T17:00:00Z".parse().unwrap(),
            state: JobState::Running,
            epoch: 0,
            attempt: 1,
            seq: 0,
            progress: None,
            output: None,
            error: None,
            worker: None,
        }
    }

    #[test]
    fn pages_follow_each_other() {
        let all = || ["a", "b", "c"].map(event).to_vec();
        let ids = |list: &JobEventList| list.items.iter().map(|e| e.id.clone()).collect::<String>();
        let first = page(all(), None, 2);
        assert_eq!(
            (ids(&first), first.next_after.as_deref()),
            ("ab".into(), Some("b"))
        );
        let second = page(all(), Some("b"), 2);
        assert_eq!((ids(&second), second.next_after), ("c".into(), None));
        assert_eq!(ids(&page(all(), Some("gone"), 5)), "abc");
    }
}
