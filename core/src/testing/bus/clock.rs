//! A clock for tests that pause tokio's.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::clock::{Clock, Ids, from_unix_ms};

/// A clock that goes as tokio's does, so that pausing one pauses both.
#[derive(Debug, Clone)]
pub struct TokioClock(Instant, Arc<Ids>);

const START_MS: i64 = 1_795_000_000_000;

impl TokioClock {
    /// Starts now, at an instant of 2026.
    pub fn new() -> Self {
        Self(Instant::now(), Arc::default())
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX);
        from_unix_ms(START_MS.saturating_add(elapsed))
    }

    fn ids(&self) -> &Ids {
        &self.1
    }
}
