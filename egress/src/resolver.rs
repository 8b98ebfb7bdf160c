//! Names to addresses.

use std::{
    net::{IpAddr, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// How long a name may take to resolve.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most names that are looked up at once. The system's resolver blocks a thread for each, for as
/// long as it pleases, and a user chooses the name.
const AT_ONCE: usize = 16;

/// Why a name has no address now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// It has none, as far as the resolver knows.
    #[error("the name has no address")]
    NotFound,
    /// The resolver did not say in time.
    #[error("the name could not be resolved in time")]
    Timeout,
}

/// Looks names up.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// Returns all addresses of a name, in the order to try them. Bounded in time.
    ///
    /// # Errors
    ///
    /// [`ResolveError`]; the same name may resolve later.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError>;
}

/// The system's resolver, with its hosts file and its search order, each question bounded to 2 s
/// and all of them together to 16 threads.
#[derive(Debug, Clone)]
pub struct SystemResolver(Arc<Semaphore>);

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let look_up = async {
            let permit = Arc::clone(&self.0).acquire_owned().await;
            let name = name.to_owned();
            let looked_up = spawn_blocking(move || {
                // Held until the thread is free, also when nobody waits for it any more.
                let _permit = permit;
                let sockets = (name.as_str(), 0).to_socket_addrs();
                sockets.map(|all| all.map(|socket| socket.ip()).collect())
            });
            match looked_up.await {
                Ok(Ok(addresses)) => Ok(addresses),
                _ => Err(ResolveError::NotFound),
            }
        };
        timeout(PATIENCE, look_up)
            .await
            .unwrap_or(Err(ResolveError::Timeout))
    }
}
