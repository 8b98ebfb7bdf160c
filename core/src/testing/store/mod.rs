//! What every store backend must do.

pub mod sample;
