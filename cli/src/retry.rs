//! When to try again: jittered backoff, and what `Retry-After` asks for. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// Longest pause that a server may impose; one that asks for more gets asked again earlier.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Delays that double up to a ceiling, each drawn between half of it and all of it, so that clients
/// that lost the same server do not come back at the same instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Starts at `first` and never exceeds `ceiling`.
    pub const fn new(first: Duration, ceiling: Duration) -> Self {
        Self {
            next: first,
            first,
            ceiling,
        }
    }

    /// Returns the next delay; `random` is drawn from 0 to 1.
    pub fn delay(&mut self, random: f64) -> Duration {
        let whole = self.next;
        self.next = (self.next * 2).min(self.ceiling);
        whole.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }

    /// Starts again from the first delay.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Reads a `Retry-After` value: seconds, or an HTTP date. A pause longer than
/// [`MAX_RETRY_AFTER`] is cut to it; what cannot be read is `None`.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let pause = if let Ok(seconds) = value.parse::<u32>() {
        Duration::from_secs(u64::from(seconds))
    } else {
        let at = http_date(value)?;
        Duration::try_from(at.duration_since(now)).unwrap_or_default()
    };
    Some(pause.min(MAX_RETRY_AFTER))
}

/// Reads an HTTP date (RFC 9110, section 5.6.7).
pub fn http_date(value: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(value)
        .ok()
        .map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_ceiling_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));
        let whole: Vec<u128> = (0..4).map(|_| backoff.delay(1.0).as_millis()).collect();
        assert_eq!(whole, [500, 1_000, 2_000, 2_000]);
        assert_eq!(backoff.delay(0.0).as_millis(), 1_000);
        backoff.reset();
        assert_eq!(backoff.delay(0.0).as_millis(), 250);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now: Timestamp = "2026-11-23T17:44:00Z".parse().unwrap();
        let at = |value| retry_after(value, now).map(|pause| pause.as_secs());
        assert_eq!(at("2"), Some(2));
        assert_eq!(at("86400"), Some(60));
        assert_eq!(at("Mon, 23 Nov 2026 17:44:07 GMT"), Some(7));
        assert_eq!(at("Mon, 23 Nov 2026 17:43:07 GMT"), Some(0));
        for bad in ["", "-1", "soon", "1.5", "99999999999"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
