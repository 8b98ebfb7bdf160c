//! `GET /v1/regions`: where machines can be.

use std::sync::Arc;

use axum::{Json, extract::State};
use vmctl_api_types::RegionList;

use crate::{app::App, http::auth::Authenticated, openapi::SignedIn};

/// List the regions
#[utoipa::path(
    get, path = "/v1/regions", tag = "catalog", operation_id = "list_regions",
    security(("token" = [])),
    responses((status = 200, description = "All regions", body = RegionList), SignedIn)
)]
pub(super) async fn list(State(app): State<Arc<App>>, _: Authenticated) -> Json<RegionList> {
    Json(RegionList {
        items: app.registry.regions().to_vec(),
    })
}
