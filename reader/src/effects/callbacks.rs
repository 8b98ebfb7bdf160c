//! A job that has a callback and has ended is followed by the job that delivers it.

use jiff::Timestamp;
use vmctl_core::{
    callback::{self, Policy},
    event::Event,
    fact::JobFact,
    kinds::Registry,
};

/// Asks for deliveries in the name of one reader.
pub(crate) struct Callbacks {
    /// `None` when the registry has no such kind: then nothing is delivered.
    policy: Option<Policy>,
    source: String,
}

impl Callbacks {
    pub(crate) fn new(registry: &Registry, reader: &str) -> Self {
        Self {
            policy: Policy::of(registry),
            source: format!("/reader/{reader}"),
        }
    }

    /// Returns the command that follows; `None` when the job has no callback.
    pub(crate) fn follow(&self, fact: &JobFact, now: Timestamp) -> Option<Event> {
        callback::delivery(fact, self.policy.as_ref()?, &self.source, now)
    }
}
