//! The wall clock, read in one place.

use jiff::Timestamp;

/// Returns the time. What decides with it takes it as an argument, so that tests own the clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge of the program is where the clock is read"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}
