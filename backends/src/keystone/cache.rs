//! Remembers what Keystone said about a token, under the token's SHA-256.

use std::{
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache};
use vmctl_core::{
    clock::Clock,
    identity::{AuthContext, IdentityError},
};

/// How long a valid answer is believed, at most.
const VALID: Duration = Duration::from_secs(60);
/// How long an invalid one is.
const INVALID: Duration = Duration::from_secs(5);
/// Most answers kept.
const CAPACITY: u64 = 100_000;

type Key = [u8; 32];

/// What Keystone said.
#[derive(Debug, Clone)]
pub(super) enum Cached {
    /// Whose token it is.
    Valid(Arc<AuthContext>),
    /// Unknown, expired or revoked.
    Invalid,
}

pub(super) struct TokenCache {
    answers: Cache<Key, Cached>,
    clock: Arc<dyn Clock>,
}

impl TokenCache {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let answers = Cache::builder()
            .max_capacity(CAPACITY)
            .expire_after(Life(Arc::clone(&clock)))
            .build();
        Self { answers, clock }
    }

    /// Returns the answer that is known, or the one that `ask` gives. Callers with one key share one
    /// call; a failure is not remembered.
    pub(super) async fn get_or_ask(
        &self,
        key: Key,
        ask: impl Future<Output = Result<Cached, IdentityError>>,
    ) -> Result<Cached, IdentityError> {
        let known = self.answers.contains_key(&key);
        let result = if known { "hit" } else { "miss" };
        metrics::counter!("auth_cache_total", "result" => result).increment(1);
        let answer = self
            .answers
            .try_get_with(key, ask)
            .await
            .map_err(|shared| match *shared {
                IdentityError::Unavailable(_) => {
                    IdentityError::Unavailable(Box::new(Shared(shared)))
                }
                IdentityError::Invalid => IdentityError::Invalid,
                IdentityError::Refused => IdentityError::Refused,
            })?;
        Ok(match answer {
            // The life of an entry is counted in another clock than the token's.
            Cached::Valid(context) if context.expires_at <= self.clock.now() => Cached::Invalid,
            answer => answer,
        })
    }

    pub(super) async fn forget(&self, key: &Key) {
        self.answers.invalidate(key).await;
    }
}

/// A failure that several callers share: speaks as its cause does.
#[derive(Debug)]
struct Shared(Arc<IdentityError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            IdentityError::Unavailable(cause) => cause.fmt(f),
            other => other.fmt(f),
        }
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            IdentityError::Unavailable(cause) => cause.source(),
            _ => None,
        }
    }
}

struct Life(Arc<dyn Clock>);

impl Expiry<Key, Cached> for Life {
    fn expire_after_create(&self, _: &Key, value: &Cached, _: Instant) -> Option<Duration> {
        Some(match value {
            Cached::Invalid => INVALID,
            Cached::Valid(context) => {
                let left = context.expires_at.duration_since(self.0.now());
                Duration::try_from(left).unwrap_or_default().min(VALID)
            }
        })
    }
}
