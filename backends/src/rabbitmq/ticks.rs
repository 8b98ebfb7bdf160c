//! Publishing without confirms: progress and control. Losing one is harmless, so this waits for
//! nobody; what does not fit into a bounded queue is refused.

use std::{sync::Arc, time::Duration};

use lapin::{Channel, options::BasicPublishOptions};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::timeout,
};
use tokio_util::task::TaskTracker;
use vmctl_core::bus::PublishError;

use super::{config::Config, link::Link, metrics, publisher::Outgoing};

/// How many messages wait to be written.
const WAITING: usize = 1024;

/// The entrance of the queue.
pub(super) struct Ticks(mpsc::Sender<Outgoing>);

impl Ticks {
    /// Starts the task that writes. It ends when this is dropped, or with the link.
    pub fn start(link: Link, config: &Arc<Config>, tasks: &TaskTracker) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING);
        let writer = Writer {
            link,
            within: config.call_timeout,
            waiting,
        };
        tasks.spawn(writer.run());
        Self(sender)
    }

    /// Queues one message.
    pub fn send(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        self.0.try_send(outgoing).map_err(|error| match error {
            TrySendError::Full(_) => {
                metrics::ticked("busy");
                PublishError::Busy
            }
            TrySendError::Closed(_) => PublishError::Unavailable(None),
        })
    }
}

struct Writer {
    link: Link,
    within: Duration,
    waiting: mpsc::Receiver<Outgoing>,
}

impl Writer {
    async fn run(mut self) {
        let mut channel = None;
        while let Some(outgoing) = self.next().await {
            // While the broker blocks publishers, the queue fills up and callers are told.
            let Some(live) = self.link.up().await else {
                return;
            };
            let usable = channel
                .take()
                .filter(|(id, channel): &(u64, Channel)| {
                    *id == live.id() && channel.status().connected()
                })
                .map(|(_, channel)| channel);
            let open = match usable {
                Some(channel) => Ok(channel),
                None => live.channel(self.within).await,
            };
            let written = match open {
                Ok(open) if self.write(&open, outgoing).await => {
                    channel = Some((live.id(), open));
                    true
                }
                _ => false,
            };
            metrics::ticked(if written { "sent" } else { "lost" });
        }
    }

    /// Waits for the next message; `None` when nobody can send any more, or the adapter is shut
    /// down while somebody still could.
    async fn next(&mut self) -> Option<Outgoing> {
        tokio::select! {
            outgoing = self.waiting.recv() => outgoing,
            () = self.link.closed() => None,
        }
    }

    /// Says whether the message is on its way; the channel is of no use otherwise.
    async fn write(&self, channel: &Channel, outgoing: Outgoing) -> bool {
        let publish = channel.basic_publish(
            outgoing.exchange,
            outgoing.routing_key,
            // Not mandatory: nobody may be listening.
            BasicPublishOptions::default(),
            &outgoing.message.body,
            outgoing.properties,
        );
        matches!(timeout(self.within, publish).await, Ok(Ok(_)))
    }
}
