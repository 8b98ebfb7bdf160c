//! The outermost layer: everything that is true of every request and every answer.
//!
//! From the outside in: request id, sensitive headers, span, metrics, catch-panic, size limits; the
//! routes that do work have admission by number inside ([`shed`]). On the way back every error, the
//! framework's own included, becomes `application/problem+json`. What hyper refuses before there is
//! a request is completed in [`refusal`]; connections are bounded in [`stream`], below TLS.

pub(crate) mod handshake;
pub(crate) mod refusal;
pub(crate) mod shed;
pub(crate) mod slot;
pub(crate) mod stream;

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{self, Entry},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tokio::time::Instant;
use tracing::{Instrument, Span, field};
use vmctl_api_types::{Problem, ProblemType};

use crate::{
    app::App,
    config::Limits,
    error::{self, ApiError, Failure, PROBLEM_JSON},
    http::{
        auth::{X_AUTH_TOKEN, X_TOKEN},
        request_id::{RequestId, X_REQUEST_ID},
        trace,
    },
};

/// Most headers of one request. hyper stops at 100 by itself.
const MAX_HEADERS: usize = 64;

/// Marks an answer whose body is its own, whatever its status: health says 503 in its own words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AsItIs;

/// Runs one request.
pub(crate) async fn edge(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(request.headers(), &*app.clock);
    hide_secrets(request.headers_mut());
    drop_identity(request.headers_mut());
    request.extensions_mut().insert(id.clone());
    let path = request.uri().path().to_owned();
    let method = method_label(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched".to_owned(), |m| m.as_str().to_owned());
    let span = tracing::info_span!(
        "request",
        request.id = id.as_str(),
        http.request.method = method,
        http.route = route,
        http.response.status_code = field::Empty,
        trace.id = field::Empty,
        otel.kind = "server",
        otel.name = format!("{method} {route}"),
        otel.status_code = field::Empty,
    );
    vmctl_trace::enter(&span, trace::parent(request.headers()).as_deref());
    async {
        let started = Instant::now();
        let response = match check(&request, &app.config.limits) {
            Ok(()) => AssertUnwindSafe(next.run(request))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| panicked()),
            Err(refused) => refused.into_response(),
        };
        let mut response = finish(response, &id, &path);
        if app.leaving.is_cancelled() {
            // A pool that keeps the connection would ask again just when it is closed.
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let status = response.status().as_u16();
        let span = Span::current();
        span.record("http.response.status_code", status);
        if response.status().is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
        let duration = started.elapsed();
        metrics::histogram!(
            "http_server_request_duration_seconds",
            "route" => route.clone(),
            "method" => method,
            "status" => status.to_string(),
        )
        .record(duration.as_secs_f64());
        tracing::debug!(
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
        response
    }
    .instrument(span)
    .await
}

/// The payload may hold anything, a token too, so it is not logged; the panic hook has said where.
fn panicked() -> Response {
    metrics::counter!("http_handler_panics_total").increment(1);
    tracing::error!("a handler panicked");
    ApiError::new(ProblemType::Internal).into_response()
}

fn check(request: &Request, limits: &Limits) -> Result<(), ApiError> {
    let uri = request.uri();
    let uri_bytes = uri
        .path_and_query()
        .map_or(uri.path().len(), |whole| whole.as_str().len());
    if uri_bytes > limits.uri_bytes {
        return Err(ProblemType::UriTooLong.into());
    }
    let headers = request.headers();
    // Name, colon, space, value, line end.
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if bytes > limits.header_bytes || headers.len() > MAX_HEADERS {
        return Err(ProblemType::HeadersTooLarge.into());
    }
    Ok(())
}

/// Keeps tokens out of whatever prints headers.
fn hide_secrets(headers: &mut HeaderMap) {
    for name in [X_TOKEN, X_AUTH_TOKEN, header::AUTHORIZATION, header::COOKIE] {
        if let Entry::Occupied(mut entry) = headers.entry(name) {
            entry.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
}

/// Removes headers by which a proxy with Keystone's middleware would tell who calls: here only the
/// token does.
fn drop_identity(headers: &mut HeaderMap) {
    const PREFIXES: [&str; 6] = [
        "x-user",
        "x-project",
        "x-domain",
        "x-tenant",
        "x-role",
        "x-service",
    ];
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            PREFIXES
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix))
                || *name == "x-identity-status"
        })
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
}

/// Methods are the client's to invent; labels must not be.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn finish(mut response: Response, id: &RequestId, path: &str) -> Response {
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed && response.extensions().get::<AsItIs>().is_none() {
        response = problem(response, id, path);
    }
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id.value());
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Writes the body of an error. Headers that matter (`Allow`, `Retry-After`, …) stay.
fn problem(mut response: Response, id: &RequestId, path: &str) -> Response {
    let failure = response.extensions_mut().remove::<Failure>();
    let Failure {
        mut problem,
        source,
    } = failure.unwrap_or_else(|| Failure {
        problem: Problem::new(error::of_status(response.status())),
        source: None,
    });
    if let Some(source) = source {
        tracing::warn!(
            error = error::chain(&**source),
            problem = problem.problem_type,
            "the request failed"
        );
    }
    problem.request_id = Some(id.as_str().to_owned());
    problem.instance = Some(bounded(path).into_owned());
    if let Ok(status) = StatusCode::from_u16(problem.status) {
        *response.status_mut() = status;
    }
    // Strings and numbers only, so this cannot fail.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, PROBLEM_JSON);
    *response.body_mut() = Body::from(body);
    response
}

/// A path is the client's text: an answer does not repeat kilobytes of it.
fn bounded(path: &str) -> Cow<'_, str> {
    // A URI is ASCII.
    if path.len() <= 256 {
        return path.into();
    }
    path.chars().take(256).collect::<String>().into()
}
