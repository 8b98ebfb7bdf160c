//! A clock for tests that pause tokio's.

use jiff::Timestamp;
use tokio::time::Instant;

use crate::clock::{Clock, from_unix_ms};

/// A clock that goes as tokio's does, so that pausing one pauses both.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock(Instant);

const START_MS: i64 = 1_795_000_000_000;

impl TokioClock {
    /// Starts now, at an instant of 2026.
    pub fn new() -> Self {
        Self(Instant::now())
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
}
