//! The loop of one work queue.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::JoinSet};
use vmctl_core::topology::work_queue;

use crate::{slice::Lane, worker::RunError};

/// Consumes the lane's queue until the shutdown, then waits until every slice has ended. At most
/// `slots` slices run at once, those of lost deliveries included.
pub(crate) async fn consume(lane: Arc<Lane>) -> Result<(), RunError> {
    let slots = lane.shared.config.slots();
    let queue = work_queue(&lane.kind);
    let consumer = &lane.shared.backends.bus.consumer;
    let mut deliveries = tokio::select! {
        biased;
        () = lane.shutdown.cancelled() => return Ok(()),
        deliveries = consumer.consume(&queue, slots) => deliveries?,
    };
    let free = Arc::new(Semaphore::new(usize::from(slots)));
    // Once for each lane.
    let _ = lane.attachment.set(deliveries.attachment());
    let mut slices = JoinSet::new();
    let result = loop {
        let next = async {
            // The semaphore is never closed.
            let slot = free.clone().acquire_owned().await.ok()?;
            Some((slot, deliveries.next().await?))
        };
        let (slot, delivery) = tokio::select! {
            biased;
            () = lane.shutdown.cancelled() => break Ok(()),
            Some(ended) = slices.join_next() => {
                report(ended);
                continue;
            }
            next = next => match next {
                Some(next) => next,
                None => break Err(RunError::ConsumerEnded(queue)),
            },
        };
        let lane = lane.clone();
        slices.spawn(async move {
            lane.process(delivery).await;
            drop(slot);
        });
    };
    deliveries.stop().await;
    while let Some(ended) = slices.join_next().await {
        report(ended);
    }
    result
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        // Its delivery was dropped, so the broker gives it to somebody.
        tracing::error!(error = &error as &dyn std::error::Error, "a slice broke");
    }
}
