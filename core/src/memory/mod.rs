//! Reference backends in memory.
pub mod identity;
