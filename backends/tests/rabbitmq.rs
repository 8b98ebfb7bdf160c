//! The contract of the bus, on a real broker: each case in a virtual host of its own, behind a relay
//! that can cut the connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "rabbitmq_support/mod.rs"]
mod support;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use support::{MAIN, Vhost, relay::Relay};
use vmctl_backends::rabbitmq::{Config, RabbitMq};
use vmctl_core::{
    bus::{Bus, BusState},
    bus_suite,
    clock::{Clock as _, SystemClock},
    testing::bus::{BusFixture, patiently},
};

struct RabbitMqFixture {
    rabbitmq: RabbitMq,
    vhost: Vhost,
    relay: Relay,
    version: u32,
}

#[async_trait]
impl BusFixture for RabbitMqFixture {
    async fn set_up(case: &str) -> Option<Self> {
        let vhost = Vhost::create(MAIN, case).await?;
        let host = vhost.url.host_str().unwrap().to_owned();
        let relay = Relay::start((host, vhost.url.port().unwrap())).await;
        let mut url = vhost.url.clone();
        url.set_port(Some(relay.address.port())).unwrap();
        let mut config = Config::new(vec![url.as_str().parse().unwrap()]);
        // Within the patience of the suite: a queue that is deleted and declared again at once.
        config.idle_refresh = Duration::from_secs(1);
        let rabbitmq = RabbitMq::connect_lazy(config);
        let version = vhost.version().await;
        Some(Self {
            rabbitmq,
            vhost,
            relay,
            version,
        })
    }

    fn bus(&self) -> Bus {
        self.rabbitmq.bus()
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    /// A stream of RabbitMQ 3 drops `x-death`, which is not a plain header.
    fn log_keeps_traces(&self) -> bool {
        self.version > 3
    }

    async fn break_connections(&self) -> bool {
        // Away until the adapter has seen it: before that, a publish would be sent in vain, with an
        // unknown outcome.
        self.relay.set_down(true);
        let publisher = self.bus().publisher;
        patiently("loss of the connection", async {
            while publisher.state() == BusState::Up {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        self.relay.set_down(false);
        true
    }

    async fn set_down(&self, down: bool) -> bool {
        self.relay.set_down(down);
        true
    }

    async fn tear_down(self) {
        self.rabbitmq.shutdown().await;
        self.vhost.delete().await;
    }
}

bus_suite!(RabbitMqFixture, #[tokio::test]);
