//! Whether a kind's work queue takes more.
//!
//! The broker's own limit is a far backstop: one full queue would stop a delay tier for every kind.
//! So the server looks at the queues every few seconds and refuses before it publishes.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval, timeout};
use vmctl_api_types::{Kind, ProblemType};
use vmctl_core::{
    bus::{BusError, BusState},
    topology::{Topology, work_queue},
};

use crate::{app::App, error::ApiError};

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);

/// What the last look found; a kind that could not be looked at is not there.
#[derive(Default)]
pub(crate) struct Admission(RwLock<HashMap<Kind, Queue>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Missing,
    Holds(u64),
}

impl Admission {
    /// Refuses a kind whose queue is full or missing. A queue that nobody could look at is left to
    /// the publish, which will say what is wrong.
    pub fn check(&self, kind: &Kind, limit: u64) -> Result<(), ApiError> {
        let queues = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match queues.get(kind) {
            Some(Queue::Missing) => Err(ApiError::new(ProblemType::KindUnavailable)
                .retry_after(10)
                .detail("this kind has no work queue; nothing was accepted")),
            Some(Queue::Holds(ready)) if *ready >= limit => {
                Err(ApiError::new(ProblemType::QueueFull)
                    .retry_after(10)
                    .detail("too many jobs of this kind are waiting; nothing was accepted"))
            }
            _ => Ok(()),
        }
    }

    fn set(&self, kind: &Kind, queue: Option<Queue>) {
        let mut queues = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match queue {
            Some(queue) => queues.insert(kind.clone(), queue),
            None => queues.remove(kind),
        };
    }
}

/// Declares what the server needs, then looks at the work queues for ever. Ends only with drift,
/// which waiting does not cure.
pub(crate) async fn watch(app: &App) -> BusError {
    let kinds: Vec<_> = app.registry.kinds().map(|spec| spec.kind.clone()).collect();
    let topology = Topology::new(&kinds);
    let mut ticks = interval(app.config.limits.inspect_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut declared = false;
    loop {
        ticks.tick().await;
        // A broker that was away may have come back empty.
        declared &= !matches!(app.bus.publisher.state(), BusState::Down(_));
        if !declared {
            match app.bus.admin.declare(&topology).await {
                Ok(()) => declared = true,
                Err(error @ BusError::Drift(_)) => return error,
                Err(error) => tracing::debug!(
                    error = crate::error::chain(&error),
                    "the topology is not declared yet"
                ),
            }
        }
        for kind in &kinds {
            look(app, kind).await;
        }
    }
}

async fn look(app: &App, kind: &Kind) {
    let name = work_queue(kind);
    let queue = match timeout(LOOK, app.bus.admin.inspect(&name)).await {
        Ok(Ok(Some(stats))) => {
            // Precise up to 2^52 messages.
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            metrics::gauge!("queue_messages_ready", "queue" => name.clone())
                .set(stats.ready as f64);
            metrics::gauge!("queue_consumers", "queue" => name).set(stats.consumers);
            Some(Queue::Holds(stats.ready))
        }
        Ok(Ok(None)) => Some(Queue::Missing),
        Ok(Err(_)) | Err(_) => None,
    };
    app.admission.set(kind, queue);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_admitted() {
        let admission = Admission::default();
        let kind: Kind = "vm.create".parse().unwrap();
        let slug = || {
            admission
                .check(&kind, 10)
                .err()
                .map(|e| e.problem().problem_type.clone())
        };
        assert_eq!(slug(), None);
        admission.set(&kind, Some(Queue::Holds(9)));
        assert_eq!(slug(), None);
        admission.set(&kind, Some(Queue::Holds(10)));
        assert_eq!(slug().as_deref(), Some("/problems/queue-full"));
        admission.set(&kind, Some(Queue::Missing));
        assert_eq!(slug().as_deref(), Some("/problems/kind-unavailable"));
        admission.set(&kind, None);
        assert_eq!(slug(), None);
    }
}
