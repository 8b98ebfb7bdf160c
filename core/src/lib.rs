//! The rules of a job, the messages that carry it, and the ports to the outside.
//!
//! Everything here is either pure (decisions, as functions without I/O) or a port with its
//! reference backend in memory. Adapters for RabbitMQ, Redis and Keystone live in
//! `vmctl-backends` and must pass the suites of [`testing`].
//!
//! Invariants that the rest of the project stands on:
//!
//! - **The message is the state.** A command carries all that a worker needs; no rule reads a store
//!   to be correct.
//! - **State only moves forward.** [`merge`] is a join: order, duplicates and parallel readers of
//!   the log give the same record.
//! - **A view keeps its position in the same write as its data** (see [`store::FoldStore`]).

pub mod audit;
pub mod belief;
pub mod bus;
pub mod callback;
pub mod children;
pub mod clock;
pub mod error;
pub mod event;
pub mod fact;
pub mod flow;
pub mod identity;
pub mod kept;
pub mod kinds;
pub mod lines;
pub mod memory;
pub mod merge;
pub mod partition;
pub mod pointer;
pub mod presence;
pub mod record;
pub mod report;
pub mod retry;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod topology;
pub mod turn;
pub mod unique;

pub use vmctl_api_types::{
    Compensation, JobError, JobId, JobState, Kind, LineId, LogLine, LogStream, Progress,
};
