//! `GET /v1/kinds`: what may be asked for.

use std::sync::Arc;

use axum::{Json, extract::State};
use vmctl_api_types::KindList;

use crate::{app::App, http::auth::Authenticated, openapi::SignedIn};

/// List the kinds of job
#[utoipa::path(
    get, path = "/v1/kinds", tag = "catalog", operation_id = "list_kinds",
    security(("token" = [])),
    responses((status = 200, description = "All kinds, by name", body = KindList), SignedIn)
)]
pub(super) async fn list(State(app): State<Arc<App>>, _: Authenticated) -> Json<KindList> {
    let items = app.registry.infos();
    Json(KindList { items })
}
