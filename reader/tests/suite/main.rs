//! The reader in memory, in one program: one for each file would link the same libraries again each time.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod effects;
mod fold;
mod lag;
mod model;
mod parents;
mod pressure;
mod reports;
mod search;
mod silence;
mod support;
mod trust;
mod turns;
