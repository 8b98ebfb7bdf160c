//! Taking messages from a queue and answering each with others, at least once.

use std::{future::Future, sync::Arc};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    bus::{Consumer, Delivery, Message, Publisher},
    error::chain,
    event::Event,
    topology::Tier,
};

use crate::Backoff;

/// Most deliveries of a queue that are in hand at once.
const PREFETCH: u16 = 64;

/// Processes the deliveries of a queue side by side, for ever. What is in hand when this is dropped
/// goes back to the queue.
pub(crate) async fn take<F: Future<Output = ()> + Send + 'static>(
    consumer: &Arc<dyn Consumer>,
    queue: &str,
    process: impl Fn(Delivery) -> F,
) {
    let mut backoff = Backoff::default();
    loop {
        match consumer.consume(queue, PREFETCH).await {
            Ok(mut deliveries) => {
                backoff.reset();
                // The prefetch bounds it. Dropped with this future, and then everything in it.
                let mut in_hand = JoinSet::new();
                loop {
                    tokio::select! {
                        delivery = deliveries.next() => match delivery {
                            Some(delivery) => { in_hand.spawn(process(delivery)); }
                            None => break,
                        },
                        Some(_) = in_hand.join_next() => {}
                    }
                }
            }
            Err(error) => {
                tracing::warn!(bus.queue = queue, error = %chain(&error), "cannot take from the queue yet");
            }
        }
        backoff.wait().await;
    }
}

/// Publishes until the broker has confirmed it; false when the delivery that it answers was lost
/// before.
pub(crate) async fn publish(
    publisher: &Arc<dyn Publisher>,
    event: &Event,
    lost: &CancellationToken,
) -> bool {
    confirm(publisher, event, Event::to_message, lost).await
}

/// The same, through a delay tier.
pub(crate) async fn publish_delayed(
    publisher: &Arc<dyn Publisher>,
    event: &Event,
    tier: Tier,
    lost: &CancellationToken,
) -> bool {
    let delayed = |event: &Event| event.to_delayed_message(tier);
    confirm(publisher, event, delayed, lost).await
}

async fn confirm(
    publisher: &Arc<dyn Publisher>,
    event: &Event,
    message: impl Fn(&Event) -> Message,
    lost: &CancellationToken,
) -> bool {
    let mut backoff = Backoff::default();
    loop {
        if lost.is_cancelled() {
            return false;
        }
        match publisher.publish(message(event)).await {
            Ok(()) => return true,
            Err(error) => {
                tracing::warn!(
                    job.id = %event.subject,
                    error = %chain(&error),
                    "not confirmed; the same event is published again"
                );
            }
        }
        tokio::select! {
            () = lost.cancelled() => return false,
            () = backoff.wait() => {}
        }
    }
}
