//! The id by which a request is found in the log.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};
use vmctl_core::clock::{self, Clock};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a client.
const MAX_LEN: usize = 128;

/// Identifies one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// Takes the client's id if it is visible ASCII of bounded length, else draws one.
    pub fn of(headers: &HeaderMap, clock: &dyn Clock) -> Self {
        let given = headers.get(X_REQUEST_ID).filter(|value| {
            let bytes = value.as_bytes();
            (1..=MAX_LEN).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
        });
        let value = given.cloned().unwrap_or_else(|| {
            let text = format!("req-{}", clock::new_uuid(clock).simple());
            // Letters, digits and a hyphen are always a header value.
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("req"))
        });
        Self(value)
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or(Self(HeaderValue::from_static("req"))))
    }
}

#[cfg(test)]
mod tests {
    use vmctl_core::clock::SystemClock;

    use super::*;

    fn id(given: &[u8]) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
        RequestId::of(&headers, &SystemClock)
    }

    #[test]
    fn a_usable_id_is_kept_and_another_one_replaced() {
        assert_eq!(id(b"abc-1").as_str(), "abc-1");
        assert_eq!(id(&[b'a'; 128]).as_str().len(), 128);
        for bad in [&b""[..], b"a b", b"\xff", &[b'a'; 129]] {
            assert!(id(bad).as_str().starts_with("req-"));
        }
    }
}
