//! Admission by number, and by what the client can read.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use vmctl_api_types::ProblemType;

use crate::{app::App, edge::slot::Slot, error::ApiError};

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
    if !accepts_json(request.headers()) {
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

/// Says whether `Accept` (RFC 9110, section 12.5.1) leaves room for JSON.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut texts = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .peekable();
    if texts.peek().is_none() {
        return true;
    }
    // The most specific range that covers JSON decides.
    texts
        .flat_map(|text| text.split(','))
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let rank = match parts.next()?.to_ascii_lowercase().as_str() {
                "application/json" | "application/problem+json" => 3,
                "application/*" => 2,
                "*/*" => 1,
                _ => return None,
            };
            let refused = parts
                .filter_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")))
                .any(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0));
            Some((rank, !refused))
        })
        .max()
        .is_some_and(|(_, accepted)| accepted)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn accept_is_read_as_clients_send_it() {
        let accepts = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(text));
            accepts_json(&headers)
        };
        assert!(accepts_json(&HeaderMap::new()));
        for good in [
            "*/*",
            "application/json",
            "text/html, application/*;q=0.8",
            "text/html,application/xhtml+xml,*/*;q=0.1",
            "application/problem+json",
            "application/json;q=1, */*;q=0",
        ] {
            assert!(accepts(good), "{good}");
        }
        for bad in [
            "text/html",
            "application/xml",
            "application/json;q=0",
            "",
            "*/*;q=0",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
