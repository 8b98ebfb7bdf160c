//! `GET /v1/admin/queues`: what waits on the broker.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use futures::{StreamExt as _, stream};
use tokio::time::timeout;
use vmctl_api_types::{Problem, QueueInfo, QueueList, QueueState};
use vmctl_core::topology::{QueueSpec, Topology};

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, query::Query},
    openapi::Guarded,
};

/// How long a look at one queue may take.
const LOOK: Duration = Duration::from_secs(5);

/// Queues that are looked at at once.
const AT_ONCE: usize = 8;

/// Show every queue of the broker
///
/// Those of the topology: one for each kind, the delays, the log, what follows the end of a job, and dead
/// messages. Asked of the broker now, without its management plugin; queues that each process has for
/// itself are not among them.
#[utoipa::path(
    get, path = "/v1/admin/queues", tag = "admin", operation_id = "list_queues",
    security(("token" = [])),
    responses(
        (status = 200, description = "The queues", body = QueueList),
        (status = 400, description = "A parameter that is not known", body = Problem, content_type = "application/problem+json"),
        Guarded,
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    _: Permitted,
    query: Query,
) -> Result<Json<QueueList>, ApiError> {
    query.only(&[])?;
    let topology = Topology::new(app.registry.kinds().map(|spec| &spec.kind));
    let looks = topology.queues.into_iter();
    let looks = looks.map(|queue| look(Arc::clone(&app), queue));
    let items = stream::iter(looks).buffered(AT_ONCE).collect().await;
    Ok(Json(QueueList { items }))
}

async fn look(app: Arc<App>, queue: QueueSpec) -> QueueInfo {
    let found = timeout(LOOK, app.bus.admin.inspect(&queue.name)).await;
    let (state, seen) = match found {
        Ok(Ok(Some(stats))) => (QueueState::Present, Some(stats)),
        Ok(Ok(None)) => (QueueState::Missing, None),
        Ok(Err(_)) | Err(_) => (QueueState::Unknown, None),
    };
    QueueInfo {
        name: queue.name,
        state,
        ready: seen.as_ref().map(|stats| stats.ready),
        consumers: seen.as_ref().map(|stats| stats.consumers),
        max_length: queue.max_length,
    }
}
