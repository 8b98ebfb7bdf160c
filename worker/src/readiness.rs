//! Whether a worker can do what it is there for.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use vmctl_core::bus::{Bus, BusState};

/// Tells whether a worker takes work; cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct Readiness {
    bus: Bus,
    declared: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

impl Readiness {
    pub(crate) fn new(bus: Bus) -> Self {
        Self {
            bus,
            declared: Arc::default(),
            draining: Arc::default(),
        }
    }

    pub(crate) fn set_declared(&self) {
        self.declared.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns the state of the bus.
    pub fn bus(&self) -> BusState {
        self.bus.publisher.state()
    }

    /// Says whether the worker takes work.
    ///
    /// # Errors
    ///
    /// Why not, in one line for people.
    pub fn check(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("the worker is stopping".to_owned());
        }
        match self.bus() {
            BusState::Down(reason) => Err(format!("no connection to the broker: {reason}")),
            BusState::Blocked(reason) => {
                Err(format!("the broker has blocked publishers: {reason}"))
            }
            BusState::Up if !self.declared.load(Ordering::Relaxed) => {
                Err("the queues are not declared yet".to_owned())
            }
            BusState::Up => Ok(()),
        }
    }
}
