//! Which headers pass, in both directions: those of a list, and what the server says of the caller.
//!
//! A list of what passes, not of what does not: whatever header a client or a gateway puts a token
//! into, it stays here.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use vmctl_api_types::ProblemType;

use crate::{
    error::ApiError,
    http::{
        auth::Permitted,
        request_id::{RequestId, X_REQUEST_ID},
        trace,
    },
};

const TO_UPSTREAM: [HeaderName; 6] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
];

const TO_CLIENT: [HeaderName; 9] = [
    header::CONTENT_TYPE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_ENCODING,
    header::CONTENT_DISPOSITION,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::VARY,
];

/// Writes what goes to every address of an upstream.
pub(super) fn to_upstream(
    client: &HeaderMap,
    caller: &Permitted,
    request_id: &RequestId,
) -> Result<HeaderMap, ApiError> {
    let mut headers = passed(client, &TO_UPSTREAM);
    let text = |text: &str| {
        HeaderValue::from_str(text).map_err(|error| {
            // Ids and role names of Keystone are visible ASCII.
            ApiError::new(ProblemType::Internal).because(error)
        })
    };
    for (name, value) in [
        ("x-project-id", &caller.project.id),
        ("x-user-id", &caller.context.user_id),
        ("x-roles", &caller.context.roles.join(",")),
    ] {
        headers.insert(HeaderName::from_static(name), text(value)?);
    }
    headers.insert(X_REQUEST_ID, request_id.value());
    if let Some(parent) = vmctl_trace::current().or_else(|| trace::parent(client)) {
        headers.insert(HeaderName::from_static("traceparent"), text(&parent)?);
    }
    Ok(headers)
}

/// Adds the server's own credential.
pub(super) fn authorize(headers: &mut HeaderMap, token: &SecretString) -> Result<(), ApiError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        // The source would show the token.
        .map_err(|_| ApiError::new(ProblemType::Internal))?;
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

/// Keeps what a client may see of an upstream's headers.
pub(super) fn to_client(upstream: &HeaderMap) -> HeaderMap {
    passed(upstream, &TO_CLIENT)
}

fn passed(from: &HeaderMap, list: &[HeaderName]) -> HeaderMap {
    let mut to = HeaderMap::new();
    for name in list {
        for value in from.get_all(name) {
            to.append(name.clone(), value.clone());
        }
    }
    to
}
