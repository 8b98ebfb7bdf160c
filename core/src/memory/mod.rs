//! Reference backends in memory.
pub mod bus;
pub mod identity;
