//! Counts login attempts by name and address.
//!
//! The state is bounded: past its capacity the cache forgets somebody, so a flood of names costs
//! memory only up to there.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use moka::future::Cache;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);
const CAPACITY: u64 = 100_000;

/// Attempts of the last minute.
pub(crate) struct Logins {
    per_minute: u32,
    windows: Cache<[u8; 32], Arc<Window>>,
}

struct Window {
    opened: Instant,
    attempts: AtomicU32,
}

/// Too many attempts; how long the window stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub retry_after: Duration,
}

impl Logins {
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            windows: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(WINDOW)
                .build(),
        }
    }

    /// Counts one attempt.
    pub async fn attempt(&self, login: &str, from: IpAddr) -> Result<(), TooMany> {
        let mut hash = Sha256::new();
        hash.update(from.to_string());
        hash.update([0]);
        hash.update(login);
        let key: [u8; 32] = hash.finalize().into();
        let now = Instant::now();
        let open = || {
            Arc::new(Window {
                opened: now,
                attempts: AtomicU32::new(0),
            })
        };
        let mut window = self.windows.get_with(key, async { open() }).await;
        if now.duration_since(window.opened) >= WINDOW {
            window = open();
            self.windows.insert(key, Arc::clone(&window)).await;
        }
        // Saturates far above any limit: a window lives a minute.
        if window.attempts.fetch_add(1, Ordering::Relaxed) < self.per_minute {
            return Ok(());
        }
        Err(TooMany {
            retry_after: WINDOW.saturating_sub(now.duration_since(window.opened)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_sixth_attempt_of_a_minute_waits_for_the_next() {
        let logins = Logins::new(5);
        let here = IpAddr::from([127, 0, 0, 1]);
        for _ in 0..5 {
            assert_eq!(logins.attempt("joe", here).await, Ok(()));
        }
        let too_many = logins.attempt("joe", here).await.unwrap_err();
        assert!(too_many.retry_after <= WINDOW);
        assert_eq!(logins.attempt("ann", here).await, Ok(()));
        assert_eq!(logins.attempt("joe", [10, 0, 0, 1].into()).await, Ok(()));
        tokio::time::advance(WINDOW).await;
        assert_eq!(logins.attempt("joe", here).await, Ok(()));
    }
}
