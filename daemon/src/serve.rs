//! The small HTTP server of health and metrics, and of what a component tells other components.

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

/// What most listeners are for.
const HEALTH: &str = "health and metrics";

/// A listener for health and metrics or another small service, bound and not yet served.
pub struct HealthServer {
    what: &'static str,
    listener: TcpListener,
    address: SocketAddr,
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
        let (what, address) = (self.what, self.address);
        if what == HEALTH {
            tracing::info!(%address, "{what} are served");
        } else {
            // Another name: who looks for the probes finds one `address`.
            tracing::info!(service.address = %address, "{what} are served");
        }
        Ok(tokio::spawn(async move {
            if let Err(error) = server.serve(router.into_make_service()).await {
                tracing::error!(%error, "{what} are no longer served");
            }
        }))
    }
}
