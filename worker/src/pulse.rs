//! When a handler was last heard of.
//!
//! A process that is alive says nothing about the handler in it, so the sign of life comes from the
//! handler itself: whatever it reports, and [`crate::Ctx::alive`].

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The last sign of life of one slice.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<Mutex<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Pulse {
    /// Says that the handler is alive.
    pub(crate) fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when it said so last; when the slice began if it has not.
    pub(crate) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
