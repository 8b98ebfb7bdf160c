//! The contract suite of the bus, on the broker in memory, with the clock paused.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::Instant;
use vmctl_core::{
    bus::Bus,
    clock::{Clock, add, from_unix_ms},
    memory::bus::{InMemoryBus, Limits},
    testing::bus::BusFixture,
};

/// A clock that goes as tokio's does, so that pausing one pauses both.
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        add(from_unix_ms(1_795_000_000_000), self.0.elapsed())
    }
}

struct InMemoryFixture {
    clock: Arc<PausedClock>,
    broker: InMemoryBus,
}

#[async_trait]
impl BusFixture for InMemoryFixture {
    async fn set_up(_case: &str) -> Option<Self> {
        let clock = Arc::new(PausedClock(Instant::now()));
        let broker = InMemoryBus::new(clock.clone(), Limits::default());
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
