//! Contract suites, one for each port.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic is a failed test"
)]

pub mod bus;
pub mod identity;
pub mod store;
