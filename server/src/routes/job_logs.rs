//! `GET /v1/jobs/{id}/logs`: the newest lines of a job's log, or the log as it is written.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use vmctl_api_types::{LogLine, Problem, ProblemType, is_unsafe};
use vmctl_core::lines::MOST;

use crate::{
    app::App,
    error::ApiError,
    http::{
        accept::{self, LogForm},
        auth::Permitted,
        path::JobPath,
        query::{Query, bad},
    },
    jobs::view,
    openapi::{Absent, Guarded},
    streams::{self, Place, Source, lines::LineStream},
};

/// Read a job's log, or follow it
///
/// The newest lines, at most 200 and 64 KiB, oldest first: as text, without control characters, or as
/// one JSON document a line (`LogLine`), as the worker sent them. A log is for people: lines may be
/// lost, and they are not rebuilt when the view is.
///
/// With `follow`, or if `Accept` prefers `text/event-stream`: a frame `log` for each line (a `LogLine`),
/// a frame `gap` where lines were dropped, and after the end of the job a frame `end` (a `LogEnd`).
/// A client that was cut sends the last `id` in `Last-Event-ID` and gets the lines behind it; 204 says
/// that nothing will follow.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/logs", tag = "jobs", operation_id = "get_job_logs",
    security(("token" = [])),
    params(
        ("id" = String, Path, format = Uuid, description = "The job's id"),
        ("tail" = Option<u32>, Query, description = "How many of the newest lines, 0 to 200; 200 when absent"),
        ("follow" = Option<bool>, Query, description = "Whether to go on until the job has ended"),
        ("Last-Event-ID" = Option<String>, Header, description = "For a stream: the last line that the caller has; wins over `tail`"),
    ),
    responses(
        (status = 200, description = "The lines, or a stream whose frames carry a `LogLine` (`log`), a `StreamGap` (`gap`) or a `LogEnd` (`end`)", content((String = "text/plain"), (LogLine = "application/jsonl"), (LogLine = "text/event-stream"))),
        (status = 204, description = "For a stream: the job has ended and the caller has had its lines"),
        (status = 400, description = "Not a job id, or a parameter that cannot be used", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
        (status = 406, description = "`Accept` has no room for what was asked for", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "For a stream: the project has too many", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn logs(
    State(app): State<Arc<App>>,
    caller: Permitted,
    JobPath(id): JobPath,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    query.only(&["tail", "follow"])?;
    let tail = query.one("tail")?.map_or(Ok(MOST), tail)?;
    let not_acceptable = |text| ApiError::new(ProblemType::NotAcceptable).detail(text);
    let form = accept::log(&headers);
    if query.flag("follow")? || form == Some(LogForm::Events) {
        if !accept::events(&headers) {
            return Err(not_acceptable("a log is followed as text/event-stream"));
        }
        let last = streams::last_event(&headers, None);
        // What names no line is no error: the client gets the newest ones.
        let last = last.and_then(|id| id.parse().ok());
        let place = Place::take(&app, &caller.project.id)?;
        let stream = LineStream::open(&app, &caller.access, id, last, tail).await?;
        return Ok(match stream {
            Some(stream) => streams::answer(&app, &caller, place, Source::Lines(stream)),
            None => StatusCode::NO_CONTENT.into_response(),
        });
    }
    let form = form.ok_or_else(|| {
        not_acceptable("answers are text/plain, application/jsonl or text/event-stream")
    })?;
    view::find(&app, &caller.access, id).await?;
    let mut lines = app.lines(id).await?;
    let lines = lines.split_off(lines.len().saturating_sub(tail));
    let (media, body) = match form {
        LogForm::Json => (
            "application/jsonl",
            lines.iter().map(json).collect::<String>(),
        ),
        LogForm::Text | LogForm::Events => (
            "text/plain; charset=utf-8",
            lines.iter().map(text).collect(),
        ),
    };
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::CACHE_CONTROL, "private, no-cache"),
    ];
    Ok((headers, body).into_response())
}

fn tail(text: &str) -> Result<usize, ApiError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<usize>() {
        Ok(tail) if digits => Ok(tail.min(MOST)),
        // Digits that do not fit are a very large number.
        Err(_) if digits => Ok(MOST),
        _ => Err(bad("tail is a whole number")),
    }
}

/// A line that steers no terminal.
fn text(line: &LogLine) -> String {
    let shown = line.text.chars().filter(|c| *c == '\t' || !is_unsafe(*c));
    shown.chain(['\n']).collect()
}

fn json(line: &LogLine) -> String {
    // Strings and numbers only, so this cannot fail.
    serde_json::to_string(line).unwrap_or_default() + "\n"
}
