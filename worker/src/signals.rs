//! What a running handler is told.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Why a handler is asked to end its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelReason {
    /// Somebody asked for it: clean up and say [`crate::Outcome::Cancelled`].
    Requested(Option<String>),
    /// The job's time is over: stop and leave everything as it is.
    Deadline,
    /// The attempt's time is over: stop and leave everything as it is; the next one goes on.
    AttemptTimeout,
    /// The handler gave no sign of life, or its slice took too long: as for `AttemptTimeout`.
    Stalled,
}

/// A wish to cancel a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CancelWish {
    /// Why, if somebody said so.
    pub(crate) reason: Option<String>,
}

/// The tokens of one slice. `stop` fires together with any of the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    cancel: CancellationToken,
    lost: CancellationToken,
    drain: CancellationToken,
    stop: CancellationToken,
    reason: Arc<OnceLock<CancelReason>>,
}

impl Signals {
    /// Asks the handler to end the job. The first reason stays.
    pub(crate) fn ask_to_cancel(&self, reason: CancelReason) {
        // A reason that is already there is the earlier one.
        let _ = self.reason.set(reason);
        self.cancel.cancel();
        self.stop.cancel();
    }

    pub(crate) fn say_lost(&self) {
        self.lost.cancel();
        self.stop.cancel();
    }

    pub(crate) fn ask_to_hand_over(&self) {
        self.drain.cancel();
        self.stop.cancel();
    }

    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(crate) fn reason(&self) -> Option<&CancelReason> {
        self.reason.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_and_every_signal_stops() {
        let signals = Signals::default();
        signals.ask_to_cancel(CancelReason::Deadline);
        signals.ask_to_cancel(CancelReason::Requested(None));
        assert_eq!(signals.reason(), Some(&CancelReason::Deadline));
        assert!(signals.stop().is_cancelled());
        assert!(!signals.lost().is_cancelled());
        for signal in [Signals::say_lost, Signals::ask_to_hand_over] {
            let signals = Signals::default();
            signal(&signals);
            assert!(signals.stop().is_cancelled());
            assert!(!signals.cancel().is_cancelled());
        }
    }
}
