//! Requests that tell a receiver of a job's end, as Standard Webhooks 1.0 describes them.
//!
//! What must always hold:
//!
//! - A request goes only where [`vmctl_egress`] lets it, to the very addresses that were checked; no
//!   redirect is followed and no proxy of the environment is used.
//! - A request is signed over the exact bytes that are sent. A secret is in no message and no log.
//! - Every attempt is bounded in time, and what is read of an answer in size. Nothing of an answer
//!   but its status reaches a user.
//! - One host has at most so many requests at once, so that it cannot hold every slot of a worker.

mod client;
mod places;
mod schedule;
mod secrets;
mod sign;

pub(crate) use client::{Answer, SendError, Webhook};
pub use client::{Client, ClientConfig};
pub(crate) use places::wait_for_place;
pub use schedule::Schedule;
pub use secrets::{SecretError, Secrets};
pub(crate) use sign::signature;
