//! Reference backends in memory.
