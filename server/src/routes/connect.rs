//! `POST /v1/connect`: a name and a password for a token.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::Value;
use vmctl_api_types::{
    Access, AccessResponse, AccessRole, AccessTenant, AccessToken, AccessUser, ConnectRequest,
    FieldError, Problem, ProblemType,
};
use vmctl_core::identity::{AuthContext, IdentityError, Login, Token};

use crate::{
    app::App,
    audit::Trail,
    error::ApiError,
    http::{body::JsonBody, client::ClientAddress},
    openapi::Unavailable,
};

/// Longest accepted field.
const MAX_FIELD: usize = 1024;

/// Log in with a name and a password
///
/// The answer has the shape of Keystone v2; `access.token.id` goes into the header `X-TOKEN`.
#[utoipa::path(
    post, path = "/v1/connect", tag = "connect", operation_id = "connect",
    request_body = ConnectRequest,
    responses(
        (status = 200, description = "A token", body = AccessResponse),
        (status = 400, description = "The body is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Name or password refused", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many attempts", body = Problem, content_type = "application/problem+json"),
        Unavailable,
    )
)]
pub(super) async fn connect(
    State(app): State<Arc<App>>,
    ClientAddress(from): ClientAddress,
    trail: Trail,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let login = read(&body, app.config.connect_project.as_deref())?;
    app.logins
        .attempt(
            &login.user,
            from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        )
        .await
        .map_err(|too_many| {
            ApiError::new(ProblemType::TooManyLogins)
                .retry_after(too_many.retry_after.as_secs().max(1))
        })?;
    let outcome = app.identity.authenticate(&login).await;
    app.identity_answered(&outcome);
    let word = match &outcome {
        Ok(_) => "ok",
        Err(IdentityError::Unavailable(_)) => "unavailable",
        Err(_) => "refused",
    };
    metrics::counter!("logins_total", "result" => word).increment(1);
    let (token, context) = outcome?;
    trail.who(&context);
    Ok(access(&token, context))
}

fn read(body: &Value, default_project: Option<&str>) -> Result<Login, ApiError> {
    let mut errors = Vec::new();
    let mut text = |name: &str, required: bool| {
        let (code, detail) = match body.get(name) {
            Some(Value::String(text)) if text.len() <= MAX_FIELD && !text.contains('\0') => {
                return Some(text.clone());
            }
            Some(Value::String(_)) => ("pattern", "is too long or holds a NUL"),
            None | Some(Value::Null) if !required => return None,
            None => ("required", "is missing"),
            Some(_) => ("type", "must be a string"),
        };
        errors.push(FieldError {
            pointer: format!("/{name}"),
            code: code.to_owned(),
            detail: detail.to_owned(),
        });
        None
    };
    let login = Login {
        user: text("login", true).unwrap_or_default(),
        password: text("password", true).unwrap_or_default().into(),
        project: text("project", false).or_else(|| default_project.map(str::to_owned)),
        domain: text("domain", false),
    };
    if errors.is_empty() {
        Ok(login)
    } else {
        Err(ApiError::bad_fields(errors))
    }
}

/// Renders a token in the shape of Keystone v2.
pub(super) fn access(token: &Token, context: AuthContext) -> Response {
    let roles = context.roles.into_iter().map(|name| AccessRole { name });
    let body = AccessResponse {
        access: Access {
            token: AccessToken {
                id: token.expose().to_owned(),
                expires: context.expires_at.to_string(),
                issued_at: context.issued_at.map(|at| at.to_string()),
                tenant: context.project.map(|project| AccessTenant {
                    id: project.id,
                    name: project.name,
                }),
            },
            user: AccessUser {
                id: context.user_id,
                name: context.user_name,
                roles: roles.collect(),
            },
            service_catalog: Vec::new(),
        },
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
