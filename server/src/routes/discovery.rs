//! `GET /v1`: what a client must know before it can log in.

use std::sync::Arc;

use axum::{Json, extract::State};
use vmctl_api_types::Discovery;

use crate::app::App;

/// Introduce the server
///
/// Needs no token. `auth` says how to log in: with Keystone, or by `POST /v1/connect`.
#[utoipa::path(
    get, path = "/v1/", tag = "connect", operation_id = "discover",
    responses((status = 200, description = "The server", body = Discovery))
)]
pub(super) async fn discovery(State(app): State<Arc<App>>) -> Json<Discovery> {
    Json(Discovery {
        hello: "world".to_owned(),
        product: "vmctl".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        auth: app.config.auth.clone(),
        transports: ["event-stream", "long-poll", "poll"]
            .map(str::to_owned)
            .to_vec(),
    })
}
