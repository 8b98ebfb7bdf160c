//! The server's life: build (the socket is bound), run, drain, end.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use axum::Router;
use axum_server::Handle;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use vmctl_api_types::Kind;
use vmctl_core::bus::BusError;

use crate::{
    app::App,
    audit,
    config::{Backends, Config},
    edge::{handshake::Handshakes, stream::Bounded},
    jobs::{admission, doorbell, marks, view},
    readiness::Readiness,
    routes, telemetry,
};

/// Bytes that hyper buffers for one request's head. What our own limits refuse must fit, so that
/// the refusal is ours.
const HEAD_BUFFER: usize = 64 * 1024;

/// A server whose socket is bound.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    mounted: Router,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Why a server could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A kind is to be paused that the registry does not know as a kind of jobs.
    #[error("cannot pause {0}: there is no such kind of jobs")]
    UnknownKind(Kind),
}

/// Why a server ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The listening socket failed.
    #[error("the listening socket failed")]
    Listen(#[source] io::Error),
    /// The broker has queues or exchanges of another form.
    #[error("the broker's topology differs from this version's")]
    Topology(#[source] BusError),
    /// A task that never ends has ended.
    #[error("a background task ended")]
    Task(#[source] Option<tokio::task::JoinError>),
}

impl Config {
    /// Binds the socket. Neither the bus nor the store need to be there yet.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the address cannot be had, or a kind to be paused is not known.
    pub fn build(self, backends: Backends) -> Result<Server, BuildError> {
        let mut paused = self.paused_kinds.iter();
        if let Some(unknown) = paused.find(|kind| backends.registry.get(kind).is_none()) {
            return Err(BuildError::UnknownKind(unknown.clone()));
        }
        let wanted = self.listen;
        let bound = || {
            let listener = TcpListener::bind(wanted)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bound().map_err(|source| BuildError::Listen {
            address: wanted,
            source,
        })?;
        telemetry::describe();
        Ok(Server {
            app: Arc::new(App::new(self, backends)),
            listener,
            address,
            mounted: Router::new(),
        })
    }
}

impl Server {
    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what health endpoints look at.
    pub fn readiness(&self) -> Readiness {
        Readiness::new(Arc::clone(&self.app))
    }

    /// Serves more routes beside the API: `/health/*` and `/metrics`. They answer even when the
    /// server has as many requests as it can carry.
    #[must_use]
    pub fn mount(mut self, router: Router) -> Self {
        self.mounted = self.mounted.merge(router);
        self
    }

    /// Serves until `shutdown` fires, is not ready from then on, goes on for [`drain_delay`], then lets
    /// requests in work end, at most for the drain time.
    ///
    /// [`drain_delay`]: crate::Limits::drain_delay
    ///
    /// # Errors
    ///
    /// [`RunError`] when the server cannot go on; never after `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let Self {
            app,
            listener,
            address,
            mounted,
        } = self;
        let router = routes::router(&app, mounted);
        let handle = Handle::new();
        let mut background = background(&app);
        let mut serving = tokio::spawn(serve(listener, router, &app, handle.clone())?);
        let tls = app.config.tls.is_some();
        tracing::info!(server.address = %address, server.name = app.config.name, tls, "serving");
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            served = &mut serving => match served {
                Ok(Ok(())) => Err(RunError::Task(None)),
                Ok(Err(error)) => Err(RunError::Listen(error)),
                Err(panic) => Err(RunError::Task(Some(panic))),
            },
            Some(task) = background.join_next() => Err(match task {
                Ok(drift) => RunError::Topology(drift),
                Err(panic) => RunError::Task(Some(panic)),
            }),
        };
        app.leaving.cancel();
        if ended.is_ok() {
            tokio::select! {
                () = sleep(app.config.limits.drain_delay) => {}
                _ = &mut serving => {}
            }
        }
        // Waiting requests answer with what they have.
        app.stopping.cancel();
        let deadline = Instant::now() + app.config.limits.drain;
        handle.graceful_shutdown(Some(app.config.limits.drain));
        if !serving.is_finished() {
            // The handle keeps the bound, so this is only for a handle that does not.
            let _ = timeout_at(deadline + std::time::Duration::from_secs(1), serving).await;
        }
        app.tasks.close();
        if timeout_at(deadline, app.tasks.wait()).await.is_err() {
            tracing::warn!(
                publishes = app.tasks.len(),
                "stopped before the broker had confirmed everything"
            );
        }
        app.audit.wait_until_published(deadline).await;
        background.shutdown().await;
        tracing::info!("stopped");
        ended
    }
}

/// Starts what runs beside the requests. The only task that may end is the one that finds drift.
pub(crate) fn background(app: &Arc<App>) -> JoinSet<BusError> {
    let mut tasks = JoinSet::new();
    let shared = Arc::clone(app);
    tasks.spawn(async move { match doorbell::follow_log(&shared).await {} });
    for _ in 0..audit::LANES {
        let shared = Arc::clone(app);
        tasks.spawn(async move { match audit::publish(&shared).await {} });
    }
    let shared = Arc::clone(app);
    tasks.spawn(async move { match doorbell::follow_ticks(&shared).await {} });
    let shared = Arc::clone(app);
    tasks.spawn(async move { match marks::publish(&shared).await {} });
    let shared = Arc::clone(app);
    tasks.spawn(async move { match view::observe(&shared).await {} });
    let shared = Arc::clone(app);
    tasks.spawn(async move { admission::watch(&shared).await });
    tasks
}

fn serve(
    listener: TcpListener,
    router: Router,
    app: &App,
    handle: Handle<SocketAddr>,
) -> Result<impl Future<Output = io::Result<()>> + Send + 'static, RunError> {
    let limits = &app.config.limits;
    let deadline = limits.header_deadline;
    let handshakes = app
        .config
        .tls
        .clone()
        .map(|config| Handshakes::new(config, limits.handshakes, limits.handshake_deadline));
    // HTTP/1.1 only: a gateway in front speaks 1.1 to us, and so does TLS, which says so (ALPN).
    let mut server = axum_server::from_tcp(listener)
        .map_err(RunError::Listen)?
        .acceptor(Bounded::new(
            limits.connections,
            limits.write_deadline,
            handshakes,
        ))
        .accept_error_handler(|_, error| {
            tracing::debug!(
                error = crate::error::chain(error),
                "a connection was not accepted"
            );
        })
        .http1_only()
        .first_request_timeout(deadline)
        .handle(handle);
    server
        .http_builder()
        .http1()
        .header_read_timeout(deadline)
        .max_buf_size(HEAD_BUFFER);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    Ok(server.serve(service))
}
