//! The routes, one handler to a file.

mod admin;
mod answer;
mod audit_list;
mod callback_redeliver;
mod change;
mod connect;
mod dead_list;
mod dead_replay;
mod discovery;
mod docs;
mod event_stream;
mod held;
mod job_callbacks;
mod job_cancel;
mod job_children;
mod job_events;
mod job_get;
mod job_list;
mod job_logs;
mod job_result;
mod job_retry;
mod job_submit;
mod kind_get;
mod kind_list;
mod problem_get;
mod profile_list;
mod queue_list;
mod quota;
mod region_list;
mod sync;
mod testtoken;
pub(crate) mod ui;
mod vm;
mod vm_create;
mod vm_delete;
mod vm_get;
mod worker_list;

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn_with_state, map_response},
    response::Response,
    routing,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    asyncapi, audit,
    edge::{self, AsItIs},
    openapi,
};

/// The documented routes.
pub(crate) fn api() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(discovery::discovery))
        .routes(routes!(connect::connect))
        .routes(routes!(testtoken::testtoken))
        .routes(routes!(vm_create::create, vm_delete::delete))
        .routes(routes!(vm_get::get))
        .routes(routes!(job_submit::submit, job_list::list))
        .routes(routes!(job_get::get))
        .routes(routes!(job_cancel::cancel))
        .routes(routes!(job_children::children))
        .routes(routes!(job_result::result))
        .routes(routes!(job_retry::retry))
        .routes(routes!(job_callbacks::list))
        .routes(routes!(callback_redeliver::redeliver))
        .routes(routes!(job_events::events))
        .routes(routes!(job_logs::logs))
        .routes(routes!(event_stream::stream))
        .routes(routes!(kind_list::list))
        .routes(routes!(kind_get::get))
        .routes(routes!(profile_list::list))
        .routes(routes!(region_list::list))
        .routes(routes!(
            sync::get,
            sync::post,
            sync::put,
            sync::patch,
            sync::delete
        ))
        .routes(routes!(audit_list::list))
        .routes(routes!(dead_list::list))
        .routes(routes!(queue_list::list))
        .routes(routes!(worker_list::list))
        .routes(routes!(dead_replay::replay))
        .routes(routes!(problem_get::get))
        .routes(routes!(quota::quota))
}

/// Everything that is served. `mounted` is served beside it, without admission by number: health
/// must answer when the server is full.
pub(crate) fn router(app: &Arc<App>, mounted: Router) -> Router {
    let (api, document) = api().split_for_parts();
    let api = api
        // The other spelling of two documented paths.
        .route("/v1", routing::get(discovery::discovery))
        .route(
            "/v1/vm",
            routing::post(vm_create::create).delete(vm_delete::delete),
        );
    #[cfg(test)]
    let api = api.route("/test/panic", routing::get(panic));
    // Layers on routes only: a layer on a whole router would also be on the fallback, which is shared.
    // What is refused for lack of room is not audited: it would take room.
    let api = api
        .route_layer(from_fn_with_state(Arc::clone(app), audit::layer))
        .route_layer(from_fn_with_state(Arc::clone(app), edge::shed::shed));
    let mounted = if mounted.has_routes() {
        mounted.route_layer(map_response(as_it_is))
    } else {
        mounted
    };
    Router::new()
        .merge(api.with_state(Arc::clone(app)))
        .merge(docs::router(document, &asyncapi::document(&app.registry)))
        .merge(ui::router())
        .merge(mounted)
        .layer(from_fn_with_state(Arc::clone(app), edge::edge))
}

async fn as_it_is(mut response: Response) -> Response {
    response.extensions_mut().insert(AsItIs);
    response
}

#[cfg(test)]
async fn panic() -> &'static str {
    panic!("the panic of a test")
}
