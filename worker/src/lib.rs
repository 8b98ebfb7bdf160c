//! The worker: takes commands from work queues, runs handlers, and says what came out.
//!
//! A command is run in *slices*. One slice is one delivery: it is taken, its handler runs, the
//! [`Outcome`] is published, the broker confirms it, and only then the delivery is acknowledged.
//! What must always hold:
//!
//! - **Confirm, then ack.** A crash anywhere gives the command to another worker. Handlers are
//!   therefore safe to repeat, with the job id as the key of every effect.
//! - **The message is the state.** Everything that a slice needs is in its command. The store only
//!   makes copies cheap and cancels early; work goes on without it.
//! - **A lost delivery is silent.** Whoever has lost it publishes nothing and touches nothing: the
//!   redelivery decides.
//! - **One bad job never stops a worker.** A panic is a failed attempt, a slice has a time limit,
//!   and as many slices run as there are slots.
//!
//! ```text
//! delivery --> readable? --> due? --> in time? --> overtaken? cancelled? a copy?
//!                 |            |         |              |
//!               reject     delay again  deadline     ack, or cancelled
//!
//!          --> started --> handler --> outcome published and confirmed --> ack
//! ```
//!
//! The crate has two halves: the kit (this module's types) and our own kinds ([`kinds`]) on a
//! [`provisioner`].

mod admission;
mod author;
pub mod callbacks;
mod children;
mod config;
mod consume;
mod handler;
#[cfg(feature = "testing")]
pub mod harness;
pub mod kinds;
mod limits;
mod logs;
pub mod machines;
mod names;
mod presence;
mod progress;
pub mod provisioner;
mod pulse;
mod readiness;
mod running;
mod signals;
mod slice;
mod telemetry;
mod worker;

pub use children::{ChildOutcome, Spawn};
pub use config::{Backends, Config};
pub use handler::{Ctx, Handler, Outcome};
pub use logs::LogSink;
pub use progress::ProgressSink;
pub use readiness::Readiness;
pub use signals::CancelReason;
pub use telemetry::describe as describe_metrics;
pub use worker::{BuildError, RunError, Worker, WorkerBuilder};
