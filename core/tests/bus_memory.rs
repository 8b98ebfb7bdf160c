//! The contract suite of the bus, on the broker in memory, with the clock paused.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use vmctl_core::{
    bus::Bus,
    clock::Clock,
    memory::bus::{InMemoryBus, Limits},
    testing::bus::{BusFixture, TokioClock},
};

struct InMemoryFixture {
    clock: TokioClock,
    broker: InMemoryBus,
}

#[async_trait]
impl BusFixture for InMemoryFixture {
    async fn set_up(_case: &str) -> Option<Self> {
        let clock = TokioClock::new();
        let broker = InMemoryBus::new(Arc::new(clock.clone()), Limits::default());
        Some(Self { clock, broker })
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
}

vmctl_core::bus_suite!(InMemoryFixture, #[tokio::test(start_paused = true)]);
