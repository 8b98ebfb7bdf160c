//! `POST /v1/testtoken`: whose token is it.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::Value;
use vmctl_api_types::{AccessResponse, FieldError, Problem, ProblemType, TestTokenRequest};
use vmctl_core::identity::Token;

use crate::{
    app::App,
    error::ApiError,
    http::{auth, body::JsonBody},
    openapi::Unavailable,
    routes::connect::access,
};

/// Check a token
#[utoipa::path(
    post, path = "/v1/testtoken", tag = "connect", operation_id = "test_token",
    request_body = TestTokenRequest,
    responses(
        (status = 200, description = "The token is valid", body = AccessResponse),
        (status = 400, description = "The body is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = Problem, content_type = "application/problem+json"),
        Unavailable,
    )
)]
pub(super) async fn testtoken(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let text = match body.get("token") {
        Some(Value::String(text)) => text,
        given => {
            let (code, detail) = match given {
                None => ("required", "is missing"),
                Some(_) => ("type", "must be a string"),
            };
            return Err(ApiError::bad_fields(vec![FieldError {
                pointer: "/token".to_owned(),
                code: code.to_owned(),
                detail: detail.to_owned(),
            }]));
        }
    };
    let token = Token::parse(text).map_err(|_| ApiError::new(ProblemType::TokenInvalid))?;
    let context = auth::validate(&app, &token).await?;
    Ok(access(&token, context))
}
