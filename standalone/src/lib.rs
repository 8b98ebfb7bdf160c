//! Server, worker and reader in one process, on the backends in memory.
//!
//! It is the code that runs in production, on other backends: what works here works there. With a
//! [data directory](Builder::data_dir) it keeps its jobs and machines, also through a crash; without
//! one everything is gone when it stops, and tokens always are. Tests use it as a fixture:
//!
//! ```no_run
//! # async fn example() -> Result<(), vmctl_standalone::Error> {
//! use std::time::Duration;
//! use vmctl_standalone::Standalone;
//!
//! let running = Standalone::builder()
//!     .user("joe", "1234", "demo")
//!     .simulated_duration(Duration::ZERO)
//!     .start()
//!     .await?;
//! println!("{}", running.url());
//! running.stop().await?;
//! # Ok(())
//! # }
//! ```

mod builder;
pub mod data;
mod running;
pub mod users;

pub use builder::{Builder, Standalone};
pub use running::Running;
pub use vmctl_core::memory::identity::User;
pub use vmctl_worker::{kinds::AnsibleConfig, provisioner::simulated::FailRule};

/// Why a standalone could not start, or did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A kind cannot be used.
    #[error("the kinds cannot be used")]
    Kinds(#[source] vmctl_core::kinds::RegistryError),
    /// The data directory cannot be used.
    #[error("the data directory cannot be used")]
    Data(#[from] data::DataError),
    /// A user cannot be understood.
    #[error("cannot tell who may log in")]
    Users(#[from] users::UserError),
    /// The directory of the machines cannot be used.
    #[error("the directory of the machines cannot be used")]
    Machines(#[source] std::io::Error),
    /// Callbacks cannot be sent.
    #[error("callbacks cannot be sent")]
    Callbacks(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The worker's own API cannot be served.
    #[error("the machines cannot be served")]
    Api(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The directory of the playbooks cannot be used.
    #[error("the directory of the playbooks cannot be used")]
    Playbooks(#[source] std::io::Error),
    /// The socket could not be bound.
    #[error("the server could not be built")]
    Server(#[from] vmctl_server::BuildError),
    /// The worker could not be built.
    #[error("the worker could not be built")]
    Worker(#[from] vmctl_worker::BuildError),
    /// The components did not become ready.
    #[error("not ready in time: {0}")]
    NotReady(String),
    /// A component stopped by itself.
    #[error("the {component} stopped")]
    Stopped {
        /// Which one.
        component: &'static str,
        /// Why, if it says.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}
