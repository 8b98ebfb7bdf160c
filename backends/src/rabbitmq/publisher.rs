//! Publishing with confirms, one message in flight on a channel.
//!
//! The library matches confirms and returned messages to publishes by order; with two in flight on
//! one channel it mixes them up. A pool of channels gives the parallelism instead. A channel whose
//! publish did not end with the broker's answer is closed, never used again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::task::TaskTracker;
use vmctl_core::{
    bus::{BoxError, BusError, BusState, Message, PublishError, Publisher},
    clock::{Clock, new_uuid},
    event::Control,
};

use super::{
    config::Config,
    convert::{properties, short},
    error::{self, NoConnection, TooLong, bus_error, reply},
    link::{Link, Live, Obstacle},
    metrics,
    ticks::Ticks,
};

/// How many publishes may wait for each channel of the pool.
const WAITING_PER_CHANNEL: usize = 4;

/// AMQP's reply code for a mandatory message that no queue is bound for.
const NO_ROUTE: u16 = 312;

/// A message in AMQP's own types.
pub(super) struct Outgoing {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub message: Message,
}

impl TryFrom<Message> for Outgoing {
    type Error = PublishError;

    fn try_from(message: Message) -> Result<Self, PublishError> {
        let convert = || -> Result<_, TooLong> {
            Ok((
                short("the exchange's name", &message.exchange)?,
                short("the routing key", message.routing_key.as_str())?,
                properties(&message)?,
            ))
        };
        let (exchange, routing_key, properties) =
            convert().map_err(|error| PublishError::Returned(error.to_string()))?;
        Ok(Self {
            exchange,
            routing_key,
            properties,
            message,
        })
    }
}

/// Publishes over the connection that is there for it.
pub(super) struct AmqpPublisher {
    pool: Arc<Pool>,
    ticks: Ticks,
    clock: Arc<dyn Clock>,
}

impl AmqpPublisher {
    pub fn new(
        link: Link,
        config: &Arc<Config>,
        clock: Arc<dyn Clock>,
        tasks: &TaskTracker,
    ) -> Self {
        let channels = config.channels.clamp(1, 1024);
        Self {
            ticks: Ticks::start(link.clone(), config, tasks),
            clock,
            pool: Arc::new(Pool {
                link,
                config: config.clone(),
                tasks: tasks.clone(),
                admitted: Arc::new(Semaphore::new(channels * (1 + WAITING_PER_CHANNEL))),
                slots: Semaphore::new(channels),
                idle: Mutex::new(Vec::new()),
            }),
        }
    }

    fn check(&self) -> Result<(), PublishError> {
        self.pool.link.obstacle().map_or(Ok(()), |o| Err(o.into()))
    }
}

#[async_trait]
impl Publisher for AmqpPublisher {
    async fn publish(&self, message: Message) -> Result<(), PublishError> {
        let start = Instant::now();
        let outcome = async {
            self.check()?;
            let admitted = self.pool.admitted.clone().try_acquire_owned();
            let admitted = admitted.map_err(|_| PublishError::Busy)?;
            let outgoing = Outgoing::try_from(message)?;
            let pool = self.pool.clone();
            // In a task of its own: a caller that leaves must not leave a half-used channel.
            let task = self.pool.tasks.spawn(async move {
                let outcome = pool.publish(outgoing, start).await;
                drop(admitted);
                outcome
            });
            task.await
                .unwrap_or_else(|error| Err(PublishError::Lost(Some(Box::new(error)))))
        }
        .await;
        metrics::published(start.elapsed(), &outcome);
        outcome
    }

    async fn publish_tick(&self, message: Message) -> Result<(), PublishError> {
        self.check()?;
        self.ticks.send(message.try_into()?)
    }

    async fn broadcast(&self, control: Control) -> Result<(), PublishError> {
        let id = new_uuid(&*self.clock);
        self.publish_tick(control.to_message(id, self.clock.now()))
            .await
    }

    fn state(&self) -> BusState {
        self.pool.link.state()
    }
}

impl From<Obstacle> for PublishError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Blocked(reason) => Self::Blocked(reason),
            Obstacle::Down(reason) => Self::Unavailable(Some(Box::new(reason))),
        }
    }
}

struct Pool {
    link: Link,
    config: Arc<Config>,
    tasks: TaskTracker,
    /// Those that have a channel and those that wait for one.
    admitted: Arc<Semaphore>,
    slots: Semaphore,
    idle: Mutex<Vec<(u64, Channel)>>,
}

impl Pool {
    async fn publish(&self, outgoing: Outgoing, start: Instant) -> Result<(), PublishError> {
        let deadline = start + self.config.confirm_timeout;
        // Half of the time for a channel, so that what is sent has time to be confirmed.
        let half = start + self.config.confirm_timeout / 2;
        let slot = async {
            // The pool never closes its semaphore.
            let slot = self.slots.acquire().await.ok();
            (slot, self.channel(half).await)
        };
        let (_slot, channel) = tokio::select! {
            biased;
            obstacle = self.link.obstructed() => return Err(obstacle.into()),
            slot = timeout_at(half, slot) => slot.map_err(|_| self.no_channel())?,
        };
        let (live, channel) = channel?;
        let confirm = tokio::select! {
            biased;
            confirm = timeout_at(deadline, send(&channel, outgoing)) => confirm,
            () = live.lost().cancelled() => {
                let lost = NoConnection::new("the connection was given up");
                return Err(PublishError::Lost(Some(Box::new(lost))));
            }
        };
        let Ok(confirm) = confirm else {
            live.suspect();
            return Err(PublishError::Timeout(self.config.confirm_timeout));
        };
        let (outcome, reusable) = verdict(confirm);
        if reusable {
            self.give_back(live.id(), channel);
        }
        outcome
    }

    /// Takes an idle channel of the present connection, or opens one.
    async fn channel(&self, until: Instant) -> Result<(Arc<Live>, Channel), PublishError> {
        let Some(live) = self.link.up().await else {
            return Err(PublishError::Unavailable(None));
        };
        while let Some((id, channel)) = self.take_idle() {
            if id == live.id() && channel.status().connected() {
                return Ok((live, channel));
            }
        }
        let within = until.saturating_duration_since(Instant::now());
        let channel = open(&live, within).await;
        let channel = channel.map_err(|error| PublishError::Unavailable(Some(Box::new(error))))?;
        Ok((live, channel))
    }

    fn take_idle(&self) -> Option<(u64, Channel)> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn give_back(&self, id: u64, channel: Channel) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((id, channel));
    }

    /// What a publish is told that waited for a channel in vain; nothing was sent.
    fn no_channel(&self) -> PublishError {
        match self.link.state() {
            BusState::Down(reason) => {
                let reason: BoxError = Box::new(NoConnection::new(reason));
                PublishError::Unavailable(Some(reason))
            }
            _ => PublishError::Busy,
        }
    }
}

async fn open(live: &Live, within: Duration) -> Result<Channel, BusError> {
    let channel = live.channel(within).await?;
    let select = channel.confirm_select(ConfirmSelectOptions::default());
    match timeout(within, select).await {
        Ok(selected) => selected.map(|()| channel).map_err(bus_error),
        Err(_) => Err(BusError::Timeout(within)),
    }
}

pub(super) async fn send(channel: &Channel, outgoing: Outgoing) -> lapin::Result<Confirmation> {
    channel
        .basic_publish(
            outgoing.exchange,
            outgoing.routing_key,
            // Mandatory: the log takes everything, so what is returned is held by nothing at all.
            // Not immediate: RabbitMQ does not have it.
            BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            },
            &outgoing.message.body,
            outgoing.properties,
        )
        .await?
        .await
}

/// Reads the broker's answer, and says whether the channel may be used again. Only a plain ack of a
/// confirm that was asked for is success.
pub(super) fn verdict(answer: lapin::Result<Confirmation>) -> (Result<(), PublishError>, bool) {
    match answer {
        Ok(Confirmation::Ack(None)) => (Ok(()), true),
        Ok(Confirmation::Nack(None)) => (Err(PublishError::Nacked), true),
        Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) => {
            let error = match returned.reply_code {
                NO_ROUTE => PublishError::Unroutable,
                _ => PublishError::Returned(returned.reply_text.to_string()),
            };
            (Err(error), false)
        }
        Ok(Confirmation::NotRequested) => {
            let text = "the channel does not confirm".to_owned();
            (Err(PublishError::Returned(text)), false)
        }
        Err(failure) => (Err(refused_or_lost(failure)), false),
    }
}

/// With one message in flight, a channel that the broker closes for a reason that lies in a message
/// tells about that message.
fn refused_or_lost(failure: lapin::Error) -> PublishError {
    match reply(&failure) {
        Some((error::ACCESS_REFUSED | error::NOT_FOUND | error::PRECONDITION_FAILED, text)) => {
            PublishError::Returned(text.to_owned())
        }
        _ => PublishError::Lost(Some(Box::new(failure))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_ack_is_success() {
        assert!(matches!(
            verdict(Ok(Confirmation::Ack(None))),
            (Ok(()), true)
        ));
        assert!(matches!(
            verdict(Ok(Confirmation::Nack(None))),
            (Err(PublishError::Nacked), true)
        ));
    }

    #[test]
    fn l2_a_confirm_that_was_not_requested_is_not_success() {
        let (outcome, reusable) = verdict(Ok(Confirmation::NotRequested));
        assert!(
            matches!(outcome, Err(PublishError::Returned(_))),
            "{outcome:?}"
        );
        assert!(!reusable);
    }

    #[test]
    fn a_broken_connection_leaves_the_outcome_unknown() {
        let failure = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let (outcome, reusable) = verdict(Err(failure.into()));
        assert!(outcome.unwrap_err().outcome_unknown());
        assert!(!reusable);
    }
}
