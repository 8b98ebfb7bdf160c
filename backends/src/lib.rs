//! RabbitMQ, Redis and Keystone behind the ports of `vmctl-core`.
//!
//! One module and one feature each. No adapter fails because its service is absent at start: each
//! connects when it is needed, again when it was lost, and bounds every call.

#[cfg(feature = "keystone")]
pub mod keystone;
#[cfg(feature = "links")]
pub mod links;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
