//! Reference backends in memory.
pub mod bus;
pub mod identity;
pub mod store;
