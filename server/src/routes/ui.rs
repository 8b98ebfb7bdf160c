//! `/ui`: a page to look at jobs and at the service. It asks the same API as every other client.
//!
//! Its files are in `server/ui` and inside the program as they are: nothing is built, and nothing is
//! loaded from elsewhere.

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::http::conditional::{Tags, etag_header};

/// The page runs its own scripts and asks its own server, nothing else. A text from the API can become
/// a script nowhere: no sink of the browser takes one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page.
#[derive(Clone, Copy)]
pub(crate) struct Asset {
    pub path: &'static str,
    pub media: &'static str,
    pub text: &'static str,
}

macro_rules! assets {
    ($($path:literal: $file:literal, $media:ident;)+) => {
        /// All of them.
        pub(crate) const ASSETS: &[Asset] = &[$(Asset {
            path: concat!("/ui/", $path),
            media: $media,
            text: include_str!(concat!("../../ui/", $file)),
        }),+];
    };
}

assets! {
    "": "index.html", HTML;
    "ui.css": "ui.css", CSS;
    "icon.svg": "icon.svg", SVG;
    "api.mjs": "api.mjs", SCRIPT;
    "app.mjs": "app.mjs", SCRIPT;
    "dialog.mjs": "dialog.mjs", SCRIPT;
    "dom.mjs": "dom.mjs", SCRIPT;
    "format.mjs": "format.mjs", SCRIPT;
    "job.mjs": "job.mjs", SCRIPT;
    "jobs.mjs": "jobs.mjs", SCRIPT;
    "line.mjs": "line.mjs", SCRIPT;
    "list.mjs": "list.mjs", SCRIPT;
    "live.mjs": "live.mjs", SCRIPT;
    "log.mjs": "log.mjs", SCRIPT;
    "plot.mjs": "plot.mjs", SCRIPT;
    "reading.mjs": "reading.mjs", SCRIPT;
    "record.mjs": "record.mjs", SCRIPT;
    "series.mjs": "series.mjs", SCRIPT;
    "service.mjs": "service.mjs", SCRIPT;
    "signin.mjs": "signin.mjs", SCRIPT;
    "sse.mjs": "sse.mjs", SCRIPT;
    "stream.mjs": "stream.mjs", SCRIPT;
}

/// Serves the page and its files.
pub(super) fn router() -> Router {
    // Relative, so that it holds behind a proxy that puts the server below a path.
    let page = Router::new().route("/ui", routing::get(async || Redirect::permanent("ui/")));
    ASSETS.iter().fold(page, |router, asset| {
        let tag = tag(asset.text);
        let serve = async move |headers: HeaderMap| answer(*asset, &tag, &headers);
        router.route(asset.path, routing::get(serve))
    })
}

fn answer(asset: Asset, tag: &str, headers: &HeaderMap) -> Response {
    // On a 304 as well: what it says replaces what a browser has kept.
    let mut response = match Tags::of(headers, header::IF_NONE_MATCH) {
        Some(known) if known.contains(tag) => StatusCode::NOT_MODIFIED.into_response(),
        _ => ([(header::CONTENT_TYPE, asset.media)], asset.text).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(tag) = etag_header(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Half of the digest is more than enough to tell versions apart.
fn tag(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..16])
}
