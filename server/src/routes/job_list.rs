//! `GET /v1/jobs`: a project's jobs.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use vmctl_api_types::{JobId, JobList, JobState, Kind, Problem, ProblemType};

use crate::{
    app::App,
    error::ApiError,
    http::{
        auth::Permitted,
        query::{Query, bad},
    },
    jobs::{
        list::{self, Filter, Order, Source},
        search::Search,
    },
    openapi::Guarded,
};

const PARAMETERS: [&str; 11] = [
    "q",
    "state",
    "kind",
    "label",
    "parent",
    "root",
    "created_after",
    "created_before",
    "order",
    "limit",
    "cursor",
];
const DEFAULT_LIMIT: usize = 50;
const MAX_LABELS: usize = 32;

/// List the project's jobs
///
/// Newest first, unless asked otherwise. All that is given must hold. A page may be short, or empty, and
/// have a `next_cursor`: one request looks at a bounded number of jobs.
///
/// With `q`, only jobs of which one event has all these words: in the input, in the error or its text, as id,
/// state, kind, worker, step or label (`key:value`). `a | b` is either, `"a b"` a phrase, `a*` a beginning. What
/// has just happened is found some seconds later; jobs whose record has expired are not found.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "list_jobs",
    security(("token" = [])),
    params(
        ("q" = Option<String>, Query, description = "Words to search for, 1 to 256 characters and at most 16 words"),
        ("state" = Option<String>, Query, description = "States, with commas between them"),
        ("kind" = Option<String>, Query, description = "One kind"),
        ("label" = Option<Vec<String>>, Query, description = "`key:value`; repeated, all must hold"),
        ("parent" = Option<String>, Query, description = "Jobs that this job has asked for, in any of its runs"),
        ("root" = Option<String>, Query, description = "This job, and all that were asked for below it"),
        ("created_after" = Option<String>, Query, description = "RFC 3339; later than this"),
        ("created_before" = Option<String>, Query, description = "RFC 3339; earlier than this"),
        ("order" = Option<String>, Query, description = "`-created_at`, newest first, or `created_at`, oldest first; `-created_at` when absent. The same on every page"),
        ("limit" = Option<u32>, Query, description = "Jobs on the page, 1 to 200; 50 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "One page", body = JobList),
        (status = 400, description = "A parameter that cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "`q` was given, and this service cannot search", body = Problem, content_type = "application/problem+json"),
        Guarded,
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Permitted,
    query: Query,
) -> Result<Response, ApiError> {
    query.only(&PARAMETERS)?;
    let filter = filter(&query)?;
    let limit = query.limit(DEFAULT_LIMIT, app.config.limits.page)?;
    let after = query.one("cursor")?.map(list::parse_cursor).transpose()?;
    let source = match query.one("q")? {
        Some(text) => Source::Search(Search::begin(&app, text)?),
        None => Source::Index,
    };
    let page = list::page(&app, &caller.project.id, &filter, &source, after, limit).await?;
    let next_cursor = page.next.as_ref().map(list::cursor);
    let link = next_cursor.as_ref().map(|cursor| {
        let query = query.with("cursor", cursor);
        format!("</v1/jobs?{query}>; rel=\"next\"")
    });
    let body = JobList {
        items: page.items,
        next_cursor,
        incomplete: !page.whole || list::is_incomplete(&app).await?,
    };
    let mut response = Json(body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    // Percent-encoded, hence ASCII.
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        headers.insert(header::LINK, link);
    }
    Ok(response)
}

fn filter(query: &Query) -> Result<Filter, ApiError> {
    let states = query.one("state")?.map(states).transpose()?;
    let kind = query.one("kind")?.map(kind).transpose()?;
    let mut labels = BTreeMap::new();
    for text in query.all("label") {
        let (key, value) = text
            .split_once(':')
            .ok_or_else(|| bad("label is written key:value"))?;
        labels.insert(key.to_owned(), value.to_owned());
        if labels.len() > MAX_LABELS {
            return Err(bad("more labels than a job can have"));
        }
    }
    Ok(Filter {
        states: states.unwrap_or_default(),
        kind,
        labels,
        parent: query.one("parent")?.map(id).transpose()?,
        root: query.one("root")?.map(id).transpose()?,
        created_after: instant(query, "created_after")?,
        created_before: instant(query, "created_before")?,
        order: query
            .one("order")?
            .map(order)
            .transpose()?
            .unwrap_or_default(),
    })
}

fn id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|e: vmctl_api_types::ParseIdError| {
        ApiError::new(ProblemType::BadId).detail(e.to_string())
    })
}

fn instant(query: &Query, name: &'static str) -> Result<Option<Timestamp>, ApiError> {
    let text = query.one(name)?;
    let parsed = text.map(|text| {
        // A plus that nobody has encoded is a space.
        let parsed = text.replace(' ', "+").parse();
        parsed.map_err(|_| bad(format!("{name} is an instant as in RFC 3339")))
    });
    parsed.transpose()
}

fn order(text: &str) -> Result<Order, ApiError> {
    match text {
        "-created_at" => Ok(Order::NewestFirst),
        // As above.
        "created_at" | "+created_at" | " created_at" => Ok(Order::OldestFirst),
        _ => Err(bad("order is created_at or -created_at")),
    }
}

/// Reads states with commas between them.
pub(super) fn states(text: &str) -> Result<Vec<JobState>, ApiError> {
    text.split(',')
        .map(|word| {
            word.trim()
                .parse()
                .map_err(|e: vmctl_api_types::ParseStateError| bad(e.to_string()))
        })
        .collect()
}

/// Reads a kind.
pub(super) fn kind(text: &str) -> Result<Kind, ApiError> {
    text.parse()
        .map_err(|e: vmctl_api_types::ParseIdError| bad(e.to_string()))
}
