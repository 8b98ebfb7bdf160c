//! RabbitMQ behind the ports of the bus.
//!
//! What must always hold:
//!
//! - **Two connections, one to publish and one for the rest**, each with a supervisor that opens it
//!   again for ever (`link`); the library's own recovery is off.
//! - **A confirm is the broker's, and belongs to its message** (`publisher`): one message in
//!   flight on a channel, success is a plain ack.
//! - **What a lost channel delivered is lost at once** (`consumer`, `delivery`), and everybody
//!   who holds some of it is told.
//! - **Every wait and every buffer has a bound**, and an attempt that is given up leaves no thread
//!   and no socket behind (`dial`).

mod admin;
mod config;
mod consumer;
mod convert;
mod delivery;
mod dial;
mod error;
mod feed;
mod link;
mod log;
mod metrics;
mod publisher;
#[cfg(test)]
mod tests;
mod ticks;

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vmctl_core::{
    bus::{Bus, BusError, BusState},
    clock::SystemClock,
    topology::Topology,
};

pub use config::{Config, InvalidUrl, SecretUrl};
pub use metrics::describe as describe_metrics;

use admin::AmqpAdmin;
use consumer::AmqpConsumer;
use link::{Link, Role};
use log::AmqpLog;
use publisher::AmqpPublisher;

/// How long [`RabbitMq::shutdown`] waits for publishes under way, besides their own deadline.
const GRACE: Duration = Duration::from_secs(2);

/// How long [`RabbitMq::reach`] tries to connect.
const REACH: Duration = Duration::from_secs(10);

/// How often [`RabbitMq::reach`] looks whether it is connected.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A RabbitMQ, or several nodes of one cluster.
pub struct RabbitMq {
    bus: Bus,
    config: Arc<Config>,
    stop: CancellationToken,
    work: TaskTracker,
    links: TaskTracker,
}

impl RabbitMq {
    /// Starts connecting in the background and returns at once, whether or not a broker is there.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn connect_lazy(config: Config) -> Self {
        let (stop, work, links) = (
            CancellationToken::new(),
            TaskTracker::new(),
            TaskTracker::new(),
        );
        let config = Arc::new(config);
        let link = |role| Link::start(role, config.clone(), stop.clone(), &links);
        let publish = link(Role::Publish);
        let consume = link(Role::Consume);
        let clock = Arc::new(SystemClock);
        let bus = Bus {
            publisher: Arc::new(AmqpPublisher::new(publish, &config, clock, &work)),
            consumer: Arc::new(AmqpConsumer::new(consume.clone(), &config, &work)),
            log: Arc::new(AmqpLog::new(consume.clone(), &config)),
            admin: Arc::new(AmqpAdmin::new(consume, &config)),
        };
        Self {
            bus,
            config,
            stop,
            work,
            links,
        }
    }

    /// Connects, looks whether all of the topology is there, and leaves again; returns a warning if the broker takes no
    /// publishes or something is missing. A broker that cannot be had is tried again for 10 s.
    ///
    /// # Errors
    ///
    /// [`BusError::Unavailable`], with the last reason, or why it could not be looked.
    pub async fn reach(config: Config, topology: &Topology) -> Result<Option<String>, BusError> {
        let rabbitmq = Self::connect_lazy(config);
        let Bus {
            publisher, admin, ..
        } = rabbitmq.bus();
        let connected = async {
            while matches!(publisher.state(), BusState::Down(_)) {
                sleep(LOOK_EVERY).await;
            }
        };
        // Late or not, what counts is the state.
        let _ = timeout(REACH, connected).await;
        let state = publisher.state();
        let missing = match state {
            BusState::Up => admin.missing(topology).await,
            BusState::Blocked(_) | BusState::Down(_) => Ok(Vec::new()),
        };
        rabbitmq.shutdown().await;
        match state {
            BusState::Up => {
                let missing = missing?;
                let all = topology.exchanges.len() + topology.queues.len();
                Ok(match missing.len() {
                    0 => None,
                    many if many == all => Some(
                        "nothing is declared yet; the program declares it, if its user may"
                            .to_owned(),
                    ),
                    _ => Some(format!("not there yet: {}", missing.join(", "))),
                })
            }
            BusState::Blocked(reason) => Ok(Some(format!("the broker is blocked: {reason}"))),
            BusState::Down(reason) => Err(BusError::Unavailable(Some(reason.into()))),
        }
    }

    /// Returns the ports. They go on after this handle is dropped, until the runtime ends.
    pub fn bus(&self) -> Bus {
        self.bus.clone()
    }

    /// Closes both connections. Streams and feeds end; what was in hand is lost to the broker's
    /// other consumers; calls fail from now on. To be called after the components have drained.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.links.close();
        self.work.close();
        let within = self.config.confirm_timeout + GRACE;
        let ended = async {
            self.links.wait().await;
            self.work.wait().await;
        };
        if timeout(within, ended).await.is_err() {
            tracing::warn!("the broker's connections did not close in time");
        }
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq")
            .field("urls", &self.config.urls)
            .finish_non_exhaustive()
    }
}
