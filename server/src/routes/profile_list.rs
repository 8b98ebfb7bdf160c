//! `GET /v1/profiles`: sizes of machines.

use std::sync::Arc;

use axum::{Json, extract::State};
use vmctl_api_types::ProfileList;

use crate::{app::App, http::auth::Authenticated, openapi::SignedIn};

/// List the profiles
#[utoipa::path(
    get, path = "/v1/profiles", tag = "catalog", operation_id = "list_profiles",
    security(("token" = [])),
    responses((status = 200, description = "All profiles, smallest first", body = ProfileList), SignedIn)
)]
pub(super) async fn list(State(app): State<Arc<App>>, _: Authenticated) -> Json<ProfileList> {
    Json(ProfileList {
        items: app.registry.profiles().to_vec(),
    })
}
