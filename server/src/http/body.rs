//! Reads a request body: declared as JSON, bounded in size and in time.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::Value;
use vmctl_api_types::ProblemType;

use crate::{app::App, config::Limits, error::ApiError, http::json};

/// A body that must be there.
pub(crate) struct JsonBody(pub Value);

/// A body that must be there, also as it came.
pub(crate) struct RawJsonBody {
    pub value: Value,
    pub bytes: Bytes,
}

/// A body that may be left out.
pub(crate) struct OptionalJsonBody(pub Option<Value>);

impl FromRequest<Arc<App>> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        check_content_type(request.headers())?;
        let bytes = read(request, &app.config.limits).await?;
        json::parse(&bytes).map(Self)
    }
}

impl FromRequest<Arc<App>> for RawJsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        check_content_type(request.headers())?;
        let bytes = read(request, &app.config.limits).await?;
        let value = json::parse(&bytes)?;
        Ok(Self { value, bytes })
    }
}

impl FromRequest<Arc<App>> for OptionalJsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let declared = check_content_type(request.headers());
        let bytes = read(request, &app.config.limits).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        declared?;
        json::parse(&bytes).map(|value| Self(Some(value)))
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if is_json(declared) {
        return Ok(());
    }
    Err(ApiError::new(ProblemType::UnsupportedMediaType).header(
        axum::http::HeaderName::from_static("accept-post"),
        HeaderValue::from_static("application/json"),
    ))
}

/// `application/json` or `application/<any>+json`, in UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    json && utf8
}

async fn read(request: Request, limits: &Limits) -> Result<Bytes, ApiError> {
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let limit = limits.body_bytes;
    if declared.is_some_and(|n| n > limit as u64) {
        // Nothing was read, so the connection cannot be used again.
        return Err(closing(too_large(limit)));
    }
    tokio::time::timeout(limits.body_deadline, collect(request.into_body(), limit))
        .await
        .unwrap_or_else(|_| {
            Err(closing(ApiError::new(ProblemType::RequestTimeout).detail(
                format!("the body did not arrive within {:?}", limits.body_deadline),
            )))
        })
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| {
            closing(ApiError::new(ProblemType::MalformedJson).detail("the body broke off"))
                .because(e)
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if collected.len() + data.len() > limit {
            return Err(closing(too_large(limit)));
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(ProblemType::BodyTooLarge).detail(format!("a body has at most {limit} bytes"))
}

fn closing(error: ApiError) -> ApiError {
    error.header(header::CONNECTION, HeaderValue::from_static("close"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/merge-patch+json",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonp",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-16",
            "text/json",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn exactly_the_limit_is_taken() {
        let body = |n: usize| Body::from(vec![b' '; n]);
        assert_eq!(collect(body(100), 100).await.unwrap().len(), 100);
        let error = collect(body(101), 100).await.unwrap_err();
        assert_eq!(error.problem().status, 413);
    }
}
