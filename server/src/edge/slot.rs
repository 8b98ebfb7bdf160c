//! A request's place among those in work.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{extract::FromRequestParts, http::request::Parts};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Holds the place for as long as the request is in work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Slot {
    pub fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// Trades the place in work for a place among those that wait, so that waiting requests never
    /// keep others out. `None` when nobody else may wait; the request then stays in work.
    pub fn park(&self, waiters: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let waiting = Arc::clone(waiters).try_acquire_owned().ok()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(waiting)
    }
}

impl<S: Sync> FromRequestParts<S> for Slot {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
