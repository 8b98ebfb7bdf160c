//! `/openapi.json`, `/asyncapi.json` and `/docs`: the contracts with clients and with workers, and a
//! page to try the first. Nothing is loaded from elsewhere.

use axum::{
    Router,
    http::{HeaderValue, header},
    middleware::map_response,
    response::Response,
    routing,
};
use bytes::Bytes;
use serde_json::Value;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// The page runs its own scripts and asks its own server, nothing else. Styles are inline because
/// Swagger UI sets them so.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'none'; \
     base-uri 'none'; frame-ancestors 'none'",
);

/// Serves the documents and the page.
pub(super) fn router(document: OpenApi, asyncapi: &Value) -> Router {
    let asyncapi = Bytes::from(asyncapi.to_string());
    let config = Config::from("/openapi.json")
        .persist_authorization(false)
        .try_it_out_enabled(true)
        .validator_url("none");
    let page = SwaggerUi::new("/docs")
        .url("/openapi.json", document)
        .config(config);
    let json = [(header::CONTENT_TYPE, "application/json")];
    let contract = routing::get(async move || (json, asyncapi));
    let router = Router::from(page).route("/asyncapi.json", contract);
    router.route_layer(map_response(async |mut response: Response| {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }))
}
