//! The contract suite of the bus, on the broker in memory with a journal, with the clock
//! paused. Each case ends with a look at what the journal would give back.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use vmctl_core::{
    bus::Bus,
    clock::Clock,
    memory::bus::{InMemoryBus, Limits},
    testing::bus::{BusFixture, InMemoryJournal, TokioClock, assert_kept},
};

struct JournalledFixture {
    journal: InMemoryJournal,
    clock: TokioClock,
    broker: InMemoryBus,
}

#[async_trait]
impl BusFixture for JournalledFixture {
    async fn set_up(_case: &str) -> Option<Self> {
        let clock = TokioClock::new();
        let journal = InMemoryJournal::new();
        let kept = Arc::new(journal.clone());
        let broker =
            InMemoryBus::with_journal(Arc::new(clock.clone()), Limits::default(), kept).await;
        Some(Self {
            journal,
            clock,
            broker: broker.unwrap().0,
        })
    }

    fn bus(&self) -> Bus {
        self.broker.bus()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn break_connections(&self) -> bool {
        self.broker.break_connections();
        true
    }

    async fn set_blocked(&self, blocked: bool) -> bool {
        self.broker
            .set_blocked(blocked.then_some("the fixture says so"));
        true
    }

    async fn set_down(&self, down: bool) -> bool {
        self.broker.set_down(down);
        true
    }

    async fn tear_down(self) {
        assert_kept(&self.broker, self.clock, Arc::new(self.journal)).await;
    }
}

vmctl_core::bus_suite!(JournalledFixture, #[tokio::test(start_paused = true)]);
