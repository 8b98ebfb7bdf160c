//! `GET /v1/kinds/{kind}`: one kind.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use vmctl_api_types::{KindInfo, Problem, ProblemType};

use crate::{app::App, error::ApiError, http::auth::Authenticated, openapi::SignedIn};

/// Look a kind up
///
/// With the JSON Schemas of its input and output, and what waits for its workers.
#[utoipa::path(
    get, path = "/v1/kinds/{kind}", tag = "catalog", operation_id = "get_kind",
    security(("token" = [])),
    params(("kind" = String, Path, description = "Its name", example = "vm.create")),
    responses(
        (status = 200, description = "The kind", body = KindInfo),
        (status = 404, description = "No such kind", body = Problem, content_type = "application/problem+json"),
        SignedIn,
    )
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    _: Authenticated,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<KindInfo>, ApiError> {
    let known = name
        .ok()
        .and_then(|Path(name)| name.parse().ok())
        .and_then(|kind| app.registry.info(&kind));
    let mut info = known
        .ok_or_else(|| ApiError::new(ProblemType::NotFound).detail("GET /v1/kinds lists them"))?;
    info.queue = app.admission.queue(&info.kind);
    Ok(Json(info))
}
