//! The small HTTP server of health and metrics, and of what a component tells other components.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum_server::Server;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::task::JoinHandle;

use crate::settings::Listen;
use crate::tls::Tls;

/// A client has this long to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// More headers than any probe sends.
const MAX_HEADERS: usize = 64;

/// What most listeners are for.
const HEALTH: &str = "health and metrics";

/// A listener for health and metrics or another small service, bound and not yet served.
pub struct HealthServer {
    what: &'static str,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
}

impl HealthServer {
    /// Binds the address; `None` if the setting says `off`.
    pub fn bind(listen: Listen) -> anyhow::Result<Option<Self>> {
        Self::bind_for(HEALTH, listen)
    }

    /// Binds the address for a service of this name; `None` if the setting says `off`.
    pub fn bind_for(what: &'static str, listen: Listen) -> anyhow::Result<Option<Self>> {
        let Listen::On(wanted) = listen else {
            return Ok(None);
        };
        let bound = || -> io::Result<Self> {
            let listener = TcpListener::bind(wanted)?;
            let address = listener.local_addr()?;
            Ok(Self {
                what,
                listener,
                address,
                tls: None,
            })
        };
        bound()
            .map(Some)
            .with_context(|| format!("cannot listen on {wanted} for {what}"))
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Speaks TLS if the process does.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Serves in a task, until the task is aborted or the runtime ends: probes are answered during
    /// a drain too.
    pub fn serve(self, router: Router) -> io::Result<JoinHandle<()>> {
        let server = bounded(axum_server::from_tcp(self.listener)?);
        let (what, address) = (self.what, self.address);
        if what == HEALTH {
            tracing::info!(%address, "{what} are served");
        } else {
            // Another name: who looks for the probes finds one `address`.
            tracing::info!(service.address = %address, "{what} are served");
        }
        let service = router.into_make_service();
        Ok(tokio::spawn(async move {
            let ended = match self.tls {
                Some(tls) => {
                    let config = RustlsConfig::from_config(tls.server_config());
                    let shakes = RustlsAcceptor::new(config).handshake_timeout(HEAD_DEADLINE);
                    server.acceptor(shakes).serve(service).await
                }
                None => server.serve(service).await,
            };
            if let Err(error) = ended {
                tracing::error!(%error, "{what} are no longer served");
            }
        }))
    }
}

fn bounded(server: Server<SocketAddr>) -> Server<SocketAddr> {
    let mut server = server.http1_only().first_request_timeout(HEAD_DEADLINE);
    server
        .http_builder()
        .http1()
        .header_read_timeout(HEAD_DEADLINE)
        .max_headers(MAX_HEADERS);
    server
}
