//! When a callback is tried again: the schedule of Standard Webhooks 1.0, ten attempts over 75 h 35 min.

use std::time::Duration;

/// Between two attempts.
const SCHEDULE: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(20 * 3600),
    Duration::from_secs(24 * 3600),
];

/// Longest wait that a receiver may ask for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The longest jitter is this part of a wait.
const JITTER: f64 = 0.2;

/// Returns how long to wait after this attempt (from 1) has failed. `asked` is the receiver's
/// `Retry-After`, which is obeyed up to a day and never makes the wait shorter. `drawn`, from 0 to 1,
/// spreads deliveries that failed together over a fifth of their wait.
pub(crate) fn wait(attempt: u32, asked: Option<Duration>, drawn: f64) -> Duration {
    let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    let least = SCHEDULE[index.min(SCHEDULE.len() - 1)];
    let asked = asked.unwrap_or_default().min(LONGEST);
    least
        .max(asked)
        .mul_f64(1.0 + JITTER * drawn.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_are_those_of_the_specification() {
        let waits: Vec<_> = (1..=9).map(|attempt| wait(attempt, None, 0.0)).collect();
        let total: Duration = waits.iter().sum();
        assert_eq!(total, Duration::from_secs(75 * 3600 + 35 * 60 + 5));
        assert_eq!(wait(10, None, 0.0), waits[8]);
        assert_eq!(wait(0, None, 0.0), waits[0]);
        assert_eq!(wait(1, None, 1.0), Duration::from_secs(6));
    }

    #[test]
    fn a_receiver_may_ask_for_more_and_at_most_a_day() {
        let asked = |seconds| wait(1, Some(Duration::from_secs(seconds)), 0.0).as_secs();
        assert_eq!(asked(1), 5);
        assert_eq!(asked(90), 90);
        assert_eq!(asked(1_000_000_000), 24 * 3600);
    }
}
