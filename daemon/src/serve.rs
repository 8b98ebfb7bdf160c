//! The small HTTP server of health and metrics.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::task::JoinHandle;

use crate::settings::Listen;

/// A client has this long to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// More headers than any probe sends.
const MAX_HEADERS: usize = 64;

/// A listener for health and metrics, bound and not yet served.
pub struct HealthServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HealthServer {
    /// Binds the address; `None` if the setting says `off`.
    pub fn bind(listen: Listen) -> anyhow::Result<Option<Self>> {
        let Listen::On(wanted) = listen else {
            return Ok(None);
        };
        let bound = || -> io::Result<Self> {
            let listener = TcpListener::bind(wanted)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bound()
            .map(Some)
            .with_context(|| format!("cannot listen on {wanted} for health and metrics"))
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves in a task, until the task is aborted or the runtime ends: probes are answered during
    /// a drain too.
    pub fn serve(self, router: Router) -> io::Result<JoinHandle<()>> {
        let mut server = axum_server::from_tcp(self.listener)?
            .http1_only()
            .first_request_timeout(HEAD_DEADLINE);
        server
            .http_builder()
            .http1()
            .header_read_timeout(HEAD_DEADLINE)
            .max_headers(MAX_HEADERS);
        let address = self.address;
        tracing::info!(%address, "health and metrics are served");
        Ok(tokio::spawn(async move {
            if let Err(error) = server.serve(router.into_make_service()).await {
                tracing::error!(%error, "health and metrics are no longer served");
            }
        }))
    }
}
