//! Whether a worker can do what it is there for.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use vmctl_core::bus::{Bus, BusState};

/// Tells whether a worker takes work; cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct Readiness {
    bus: Bus,
    declared: Arc<Mutex<Declared>>,
    draining: Arc<AtomicBool>,
}

/// What the broker has of what the worker uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Declared {
    /// Nothing is known yet.
    #[default]
    NotYet,
    /// All but what is not the worker's to declare: why it waits.
    AllBut(String),
    All,
}

impl Readiness {
    pub(crate) fn new(bus: Bus) -> Self {
        Self {
            bus,
            declared: Arc::default(),
            draining: Arc::default(),
        }
    }

    /// Says whether this is news.
    pub(crate) fn set_declared(&self, declared: Declared) -> bool {
        let mut now = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *now != declared;
        *now = declared;
        news
    }

    pub(crate) fn declared(&self) -> Declared {
        let now = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        now.clone()
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
            BusState::Up => match self.declared() {
                Declared::NotYet => Err("the queues are not declared yet".to_owned()),
                Declared::AllBut(why) => Err(why),
                Declared::All => Ok(()),
            },
        }
    }
}
