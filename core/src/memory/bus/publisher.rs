//! [`Publisher`] in memory.

use async_trait::async_trait;

use super::{InMemoryBus, journal::Recorder};
use crate::{
    bus::{BusState, Message, PublishError, Publisher},
    clock,
    event::Control,
};

#[async_trait]
impl Publisher for InMemoryBus {
    async fn publish(&self, message: Message) -> Result<(), PublishError> {
        let (outcome, batch) = self.0.with(|broker, now| {
            let before = broker.journal.as_ref().map_or(0, Recorder::noted);
            let outcome = broker.publish(message, now);
            let journal = broker.journal.as_ref();
            let noted = journal.filter(|journal| journal.noted() > before);
            (outcome, noted.map(Recorder::open))
        });
        // After the message is in, so that dropping the call changes nothing.
        tokio::task::coop::consume_budget().await;
        match (outcome, batch) {
            (Ok(()), Some(batch)) => self.0.wait_kept(batch).await,
            (outcome, _) => outcome,
        }
    }

    async fn publish_tick(&self, message: Message) -> Result<(), PublishError> {
        let outcome = self.0.with(|broker, now| broker.accept(message, now));
        tokio::task::coop::consume_budget().await;
        outcome.map(drop)
    }

    async fn broadcast(&self, control: Control) -> Result<(), PublishError> {
        let message = self.0.with(|broker, _| {
            let clock = &*broker.clock;
            control.to_message(clock::new_uuid(clock), clock.now())
        });
        self.publish_tick(message).await
    }

    fn state(&self) -> BusState {
        self.0.with(|broker, _| broker.state())
    }
}
