//! `/openapi.json` and `/docs`: the contract, and a page to try it. Nothing is loaded from elsewhere.

use axum::{
    Router,
    http::{HeaderValue, header},
    middleware::map_response,
    response::Response,
};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// The page runs its own scripts and asks its own server, nothing else. Styles are inline because
/// Swagger UI sets them so.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'none'; \
     base-uri 'none'; frame-ancestors 'none'",
);

/// Serves the document and the page.
pub(super) fn router(document: OpenApi) -> Router {
    let config = Config::from("/openapi.json")
        .persist_authorization(false)
        .try_it_out_enabled(true)
        .validator_url("none");
    let page = SwaggerUi::new("/docs")
        .url("/openapi.json", document)
        .config(config);
    Router::from(page).route_layer(map_response(async |mut response: Response| {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }))
}
