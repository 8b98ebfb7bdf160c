//! `GET /v1/jobs/{id}/children`: the jobs that a job has asked for.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use vmctl_api_types::{JobList, Problem};
use vmctl_core::children::child_id;

use crate::{
    app::App,
    error::ApiError,
    http::{
        auth::Permitted,
        path::JobPath,
        query::{Query, bad},
    },
    jobs::view,
    openapi::{Absent, Guarded},
};

const DEFAULT_LIMIT: usize = 50;

/// List the jobs that a job has asked for
///
/// In the order in which its current run asked for them: the steps of a flow, then what undoes them.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/children", tag = "jobs", operation_id = "list_job_children",
    security(("token" = [])),
    params(
        ("id" = String, Path, format = Uuid, description = "The job's id"),
        ("limit" = Option<u32>, Query, description = "Jobs on the page, 1 to 200; 50 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "One page; `incomplete` while a child is not known yet", body = JobList),
        (status = 400, description = "Not a job id, or a parameter that cannot be used", body = Problem, content_type = "application/problem+json"),
        Guarded, Absent,
    )
)]
pub(super) async fn children(
    State(app): State<Arc<App>>,
    caller: Permitted,
    JobPath(id): JobPath,
    query: Query,
) -> Result<Response, ApiError> {
    query.only(&["limit", "cursor"])?;
    let limit = query.limit(DEFAULT_LIMIT, app.config.limits.page)?;
    let from = query.one("cursor")?.map(cursor).transpose()?.unwrap_or(0);
    let record = view::find(&app, &caller.access, id).await?;
    let (epoch, names) = match &record.winner {
        Some(winner) => (winner.epoch, &winner.body.children[..]),
        None => (0, &[][..]),
    };
    let page = names.iter().skip(from).take(limit);
    let ids: Vec<_> = page.map(|name| child_id(id, epoch, name)).collect();
    let end = from.saturating_add(ids.len());
    let lookups = app.bounded(app.store.get_many(&ids)).await?;
    let items: Vec<_> = lookups
        .into_iter()
        .filter_map(|lookup| lookup.record?.to_job())
        .filter(|job| record.project() == Some(&job.project_id) && job.parent_id == Some(id))
        .collect();
    let body = JobList {
        incomplete: items.len() < ids.len(),
        items,
        next_cursor: (end < names.len()).then(|| end.to_string()),
    };
    let mut response = Json(body).into_response();
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    Ok(response)
}

fn cursor(text: &str) -> Result<usize, ApiError> {
    text.parse()
        .map_err(|_| bad("cursor is not one of this list"))
}
