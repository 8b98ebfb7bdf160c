//! Admission by number, and by what the client can read.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use vmctl_api_types::ProblemType;

use crate::{app::App, edge::slot::Slot, error::ApiError, http::accept};

/// The routes that have a stream of events.
const STREAMS: [&str; 2] = ["/v1/events", "/v1/jobs/{id}/events"];

/// The route that says itself what it can answer with.
const LOGS: &str = "/v1/jobs/{id}/logs";
/// The route whose answers are an upstream's.
const SYNC: &str = "/v1/sync/{name}";

/// Takes a place for the request, or refuses it at once.
pub(crate) async fn shed(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Ok(permit) = Arc::clone(&app.requests).try_acquire_owned() else {
        metrics::counter!("http_requests_shed_total").increment(1);
        return ApiError::new(ProblemType::Overloaded)
            .retry_after(1)
            .into_response();
    };
    if !is_acceptable(&request) {
        return ApiError::new(ProblemType::NotAcceptable)
            .detail("answers are application/json")
            .into_response();
    }
    // Kept here as well: a handler may drop the request's parts early.
    let slot = Slot::new(permit);
    request.extensions_mut().insert(slot.clone());
    let response = next.run(request).await;
    drop(slot);
    response
}

/// Says whether one of the representations that a route has can be read by the caller.
fn is_acceptable(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", |route| route.as_str());
    let streams = STREAMS.contains(&route);
    // What an upstream answers with is between it and the caller.
    if route == SYNC {
        return true;
    }
    let headers = request.headers();
    route == LOGS || accept::json(headers) || (streams && accept::events(headers))
}
