//! `GET /v1/admin/dead`: jobs that have failed for good.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use vmctl_api_types::{DeadList, Problem};

use crate::{
    app::App,
    error::ApiError,
    http::{
        auth::Permitted,
        query::{Query, bad},
    },
    jobs::{dead, list},
    openapi::Guarded,
    routes::{admin, job_list},
};

const PARAMETERS: [&str; 5] = ["kind", "error", "project", "limit", "cursor"];
const DEFAULT_LIMIT: usize = 50;
/// Characters of an error's type, or of a project's id.
pub(super) const MOST_TEXT: usize = 128;

/// List jobs that have failed for good
///
/// Because their worker said so, or because the broker gave their command up: whatever is in the queue
/// `jobs.dead`. Newest first, as long as their records are kept, until they run again; of each of the 64
/// partitions of the view the newest 2,000. Listing takes nothing from the queue. An admin sees the own
/// project; admins of the project that the operator has named see all.
#[utoipa::path(
    get, path = "/v1/admin/dead", tag = "admin", operation_id = "list_dead",
    security(("token" = [])),
    params(
        ("kind" = Option<String>, Query, description = "One kind"),
        ("error" = Option<String>, Query, description = "One type of error: `delivery-limit`, `malformed`, …"),
        ("project" = Option<String>, Query, description = "Id of one project"),
        ("limit" = Option<u32>, Query, description = "Jobs on the page, 1 to 200; 50 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "One page", body = DeadList),
        (status = 400, description = "A parameter that cannot be used", body = Problem, content_type = "application/problem+json"),
        Guarded,
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Permitted,
    query: Query,
) -> Result<Response, ApiError> {
    let own = admin::scope(&caller);
    query.only(&PARAMETERS)?;
    let asked = text(&query, "project")?;
    admin::check_project(own.as_deref(), asked.as_deref())?;
    let filter = dead::Filter {
        project: own.or(asked),
        kind: query.one("kind")?.map(job_list::kind).transpose()?,
        error: text(&query, "error")?,
    };
    let limit = query.limit(DEFAULT_LIMIT, app.config.limits.page)?;
    let after = query.one("cursor")?.map(dead::parse_cursor).transpose()?;
    let page = dead::page(&app, &filter, after, limit).await?;
    let body = DeadList {
        items: page.items,
        next_cursor: page.next.as_ref().map(dead::cursor),
        incomplete: list::is_incomplete(&app).await?,
    };
    let mut response = Json(body).into_response();
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    Ok(response)
}

fn text(query: &Query, name: &str) -> Result<Option<String>, ApiError> {
    match query.one(name)? {
        Some(text) if text.is_empty() || text.chars().count() > MOST_TEXT => {
            Err(bad(format!("{name} has 1 to {MOST_TEXT} characters")))
        }
        text => Ok(text.map(str::to_owned)),
    }
}
