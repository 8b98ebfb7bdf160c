//! When a callback is tried again: by default the schedule of Standard Webhooks 1.0, ten attempts over
//! 75 h 35 min.

use std::time::Duration;

/// Between two attempts, as the specification has it.
const STANDARD: [Duration; 9] = [
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

/// Shortest and longest wait, whoever asks for it.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

/// The longest jitter is this part of a wait.
const JITTER: f64 = 0.2;

/// The waits between the attempts of one delivery. How many attempts there are is the kind's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Default for Schedule {
    fn default() -> Self {
        Self(STANDARD.to_vec())
    }
}

impl Schedule {
    /// Waits so long after the first attempt, the second, …, and the last of these after all others.
    /// None of them is shorter than a second or longer than a day. No waits at all are no schedule.
    pub fn new(waits: &[Duration]) -> Option<Self> {
        let (shortest, longest) = BOUNDS;
        let waits = waits.iter().map(|wait| (*wait).clamp(shortest, longest));
        Some(Self(waits.collect())).filter(|schedule| !schedule.0.is_empty())
    }

    /// Returns how long to wait after this attempt (from 1) has failed. `asked` is the receiver's
    /// `Retry-After`, which is obeyed up to a day and never makes the wait shorter. `drawn`, from 0 to
    /// 1, spreads deliveries that failed together over a fifth of their wait.
    pub(crate) fn wait(&self, attempt: u32, asked: Option<Duration>, drawn: f64) -> Duration {
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        let least = self.0.get(index).or(self.0.last()).copied();
        let asked = asked.unwrap_or_default().min(BOUNDS.1);
        least
            .unwrap_or_default()
            .max(asked)
            .mul_f64(1.0 + JITTER * drawn.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(attempt: u32, asked: Option<Duration>, drawn: f64) -> Duration {
        Schedule::default().wait(attempt, asked, drawn)
    }

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

    #[test]
    fn an_operators_waits_are_bounded_and_the_last_repeats() {
        let seconds = [0, 7, 1_000_000].map(Duration::from_secs);
        let schedule = Schedule::new(&seconds).unwrap();
        let waits = [1, 2, 3, 9].map(|attempt| schedule.wait(attempt, None, 0.0).as_secs());
        assert_eq!(waits, [1, 7, 24 * 3600, 24 * 3600]);
        assert_eq!(Schedule::new(&[]), None);
    }
}
