//! The worker kit and the built-in kinds, in one program: one for each file would link the same libraries again each time.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod ansible;
mod callbacks;
mod children;
mod deliveries;
#[cfg(feature = "testing")]
mod flows;
#[cfg(all(feature = "backends", feature = "testing"))]
mod flows_rabbitmq;
#[cfg(feature = "backends")]
mod hostile_rabbitmq;
mod life;
mod model_copies;
mod names;
mod outcomes;
mod presence;
#[cfg(feature = "backends")]
mod rabbitmq;
mod receivers;
mod refusals;
mod support;
mod timing;
mod vm;
