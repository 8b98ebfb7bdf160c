//! The edge of a long-running process: settings, logs, signals, health and metrics.
//!
//! Nothing here knows what the process is for. A component gives its [`Program`] and the type of
//! its settings to [`main`], and gets back a [`Process`]: the token that asks it to stop, and the
//! [`Health`] that its readiness checks are added to.
//!
//! What always holds:
//! - a process that was told to stop ends within its drain timeout, and at once when told twice;
//! - a setting is declared once, and a wrong one stops the start with the place it came from;
//! - a secret is never a flag and is never printed.

mod check;
mod crypto;
mod health;
mod lifecycle;
mod logging;
mod metrics;
mod private;
mod probe;
mod process;
pub mod reference;
mod serve;
pub mod settings;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod traces;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub use check::Check;
pub use crypto::install_crypto;
pub use health::{Health, POLL_DEADLINE, Report, Status};
pub use lifecycle::{Ended, Lifecycle, NotAsked, WrongSetting};
pub use logging::{LogFilter, LogFormat};
pub use metrics::Metrics;
pub use process::{Process, ProcessSettings, Program, Trial, grace_after, main, main_from};
pub use serve::HealthServer;
pub use settings::{Listen, Parsed, SecretUrl};
pub use tls::{MinVersion, Tls, TlsSettings, authorities};
