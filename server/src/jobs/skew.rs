//! Whether this server's clock can be trusted.
//!
//! Marks and ids carry times. A reader does not believe a mark that is ahead of its own clock, so a server
//! whose clock is ahead never sees its marks in the view and answers 503 for all that lives. It must say why.
//! The clock that all share is the store's.

use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;
use vmctl_core::clock::DIFFERENCE;

/// How far this server's clock is ahead of the store's, when it was asked last.
#[derive(Default)]
pub(crate) struct Skew(Mutex<SignedDuration>);

impl Skew {
    /// Remembers it, and says so when the clock becomes wrong or right.
    pub fn note(&self, ahead: SignedDuration) {
        metrics::gauge!("server_clock_ahead_seconds").set(ahead.as_secs_f64());
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was = std::mem::replace(&mut *noted, ahead);
        match (is_wrong(was), is_wrong(ahead)) {
            (false, true) => tracing::error!(
                clock.ahead_seconds = ahead.as_secs_f64(),
                "the clock here and the store's differ: marks of this server may not be believed"
            ),
            (true, false) => tracing::info!("the clock here and the store's agree again"),
            _ => {}
        }
    }

    /// Says what is wrong with the clock, if something is.
    pub fn trouble(&self) -> Option<String> {
        let ahead = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let direction = if ahead.is_negative() {
            "behind"
        } else {
            "ahead of"
        };
        let seconds = ahead.unsigned_abs().as_secs();
        is_wrong(ahead)
            .then(|| format!("this server's clock is {seconds} s {direction} the store's"))
    }
}

fn is_wrong(ahead: SignedDuration) -> bool {
    ahead.unsigned_abs() > DIFFERENCE
}
