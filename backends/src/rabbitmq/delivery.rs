//! Settling deliveries, and knowing when that is not ours to do any more.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lapin::{
    Acker, Channel,
    options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions},
};
use tokio::{runtime::Handle, time::timeout};
use tokio_util::sync::CancellationToken;
use vmctl_core::bus::{Delivery, Settle, SettleError, Settlement};

use super::{convert::received, metrics};

/// A channel that deliveries came over. It stays open until the last of them is settled.
pub(super) struct Source {
    channel: Channel,
    lost: CancellationToken,
    within: Duration,
}

impl Source {
    /// Takes a channel. `lost` fires when its connection is gone, and when the channel is.
    pub fn new(channel: Channel, lost: CancellationToken, within: Duration) -> Arc<Self> {
        Arc::new(Self {
            channel,
            lost,
            within,
        })
    }

    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    pub const fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Wraps a delivery of this channel.
    pub fn delivery(self: &Arc<Self>, delivery: lapin::message::Delivery) -> Delivery {
        let settle = AmqpSettle {
            acker: delivery.acker.clone(),
            source: self.clone(),
            open: true,
        };
        Delivery::new(received(delivery), self.lost.clone(), Box::new(settle))
    }

    /// Settles one delivery. An answer that it was not sent, or none, means that the channel is
    /// gone: then all that came over it is lost.
    pub async fn settle(&self, acker: &Acker, how: Settlement) -> Result<(), SettleError> {
        if self.lost.is_cancelled() {
            metrics::settled("lost");
            return Err(SettleError);
        }
        let send = async {
            match how {
                Settlement::Ack => acker.ack(BasicAckOptions::default()).await,
                // Not processed, so somebody else may.
                Settlement::Requeue => {
                    let requeue = BasicNackOptions {
                        requeue: true,
                        multiple: false,
                    };
                    acker.nack(requeue).await
                }
                // Given up: without requeue it is dead-lettered.
                Settlement::Reject => acker.reject(BasicRejectOptions { requeue: false }).await,
            }
        };
        if matches!(timeout(self.within, send).await, Ok(Ok(true))) {
            metrics::settled(match how {
                Settlement::Ack => "acked",
                Settlement::Requeue => "requeued",
                Settlement::Reject => "rejected",
            });
            return Ok(());
        }
        self.lost.cancel();
        metrics::settled("lost");
        Err(SettleError)
    }
}

struct AmqpSettle {
    acker: Acker,
    source: Arc<Source>,
    open: bool,
}

#[async_trait]
impl Settle for AmqpSettle {
    async fn settle(mut self: Box<Self>, how: Settlement) -> Result<(), SettleError> {
        self.open = false;
        self.source.settle(&self.acker, how).await
    }
}

impl Drop for AmqpSettle {
    /// Gives back what nobody settled. If that fails, the end of the channel does it.
    fn drop(&mut self) {
        if !self.open || self.source.lost.is_cancelled() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let (acker, source) = (self.acker.clone(), self.source.clone());
            runtime.spawn(async move { source.settle(&acker, Settlement::Requeue).await });
        }
    }
}
