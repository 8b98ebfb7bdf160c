//! The HTTP API: authenticates, checks, publishes, and answers from the view.
//!
//! What always holds here:
//!
//! - **202 means safe.** It is given after the broker has confirmed the command. Where that is not
//!   known, the answer says so.
//! - **The project comes from the token.** A job of another project is answered like one that does
//!   not exist, by the same lines of code.
//! - **The token ends here.** It is in no message, no record and no log line.
//! - **Absence is honest.** 404 is said only when the view is known to be caught up.
//! - **Every wait and every buffer has a bound**; all of them are in [`Limits`].
//!
//! ```text
//! edge (id, secrets, limits, problems) -> shed -> handler (routes/)
//!                                                  |  reads the request   (http/)
//!                                                  |  does what was asked (jobs/)
//!                                                  |  or streams events   (streams/)
//! background: marks, queue admission, the tail of the log, the progress feed
//! ```

mod app;
mod asyncapi;
mod audit;
mod config;
mod edge;
mod error;
mod http;
mod jobs;
mod logins;
mod openapi;
pub mod policy;
mod readiness;
mod routes;
mod server;
mod streams;
mod sync;
mod telemetry;
#[cfg(test)]
mod tests;
mod workers;

pub use config::{Backends, CompatPostStatus, CompatPostStatusError, Config, Limits, SyncConfig};
pub use openapi::document;
pub use readiness::{Check, CheckFn, CheckState, Readiness};
pub use server::{BuildError, RunError, Server};
