//! What the tests stand on: services, programs, and ways to look at both.

pub mod api;
pub mod asking;
pub mod balancer;
pub mod broker;
pub mod browser;
#[path = "../../../../backends/tests/rabbitmq_support/relay.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "another crate's tests use it too"
)]
pub mod cut;
pub mod effects;
pub mod environment;
pub mod frames;
pub mod group;
pub mod polling;
pub mod population;
pub mod process;
#[path = "../../../../worker/tests/suite/support/receiver.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "another crate's tests use it too"
)]
pub mod receiver;
pub mod redis;
pub mod relay;
pub mod suite;
pub mod users;
pub mod wait;
