//! Time and the ids that carry it, passed in so that tests own them.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use uuid::{ContextV7, Uuid};
use vmctl_api_types::JobId;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the current instant, to the millisecond.
    fn now(&self) -> Timestamp;

    /// Returns what counts the ids of this clock.
    fn ids(&self) -> &Ids;
}

/// Makes ids that are drawn inside one millisecond of a clock count up, so that no process draws them out of order.
#[derive(Debug, Default)]
pub struct Ids(Mutex<Option<ContextV7>>);

static MACHINE: Ids = Ids(Mutex::new(None));

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        truncate(Timestamp::now())
    }

    fn ids(&self) -> &Ids {
        &MACHINE
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
    ids: Ids,
}

impl ManualClock {
    /// Starts at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now: Mutex::new(truncate(now)),
            ids: Ids::default(),
        }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = add(*now, by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> &Ids {
        &self.ids
    }
}

/// How far the clocks of honest processes differ at most. One that differs by more says so itself.
pub const DIFFERENCE: Duration = Duration::from_secs(10);

/// Says whether an instant lies further ahead than clocks differ: whoever said it has a wrong clock, or
/// means harm.
pub fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    at > add(now, DIFFERENCE)
}

/// Adds a duration; an instant that leaves the calendar becomes its last one.
pub fn add(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Returns the instant of `ms` milliseconds since the Unix epoch, kept inside the calendar.
pub fn from_unix_ms(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

fn truncate(at: Timestamp) -> Timestamp {
    from_unix_ms(at.as_millisecond())
}

/// Draws a version 7 UUID that carries the clock's time (RFC 9562, section 5.7).
///
/// After a clock was set back, ids go on from where they were, but never more than [`DIFFERENCE`] ahead.
pub fn new_uuid(clock: &dyn Clock) -> Uuid {
    let now = clock.now();
    let mut context = clock.ids().0.lock().unwrap_or_else(PoisonError::into_inner);
    let id = draw(context.get_or_insert_with(ContextV7::new), now);
    let latest = add(now, DIFFERENCE).as_millisecond();
    if JobId::from_uuid(id).unix_ms().is_none_or(|ms| ms <= latest) {
        return id;
    }
    draw(context.insert(ContextV7::new()), now)
}

fn draw(context: &ContextV7, now: Timestamp) -> Uuid {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(context, seconds, nanos))
}

/// Draws a job id.
pub fn new_job_id(clock: &dyn Clock) -> JobId {
    JobId::from_uuid(new_uuid(clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_the_time_and_count_up() {
        let clock = ManualClock::new(from_unix_ms(1_795_000_000_123));
        let ids: Vec<_> = (0..1000).map(|_| new_job_id(&clock)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(ids[0].unix_ms(), Some(1_795_000_000_123));
        clock.advance(std::time::Duration::from_millis(2));
        assert_eq!(new_job_id(&clock).unix_ms(), Some(1_795_000_000_125));
    }

    /// A clock that is set back, as the machine's may be.
    struct SetBack(ManualClock, Mutex<i64>);

    impl Clock for SetBack {
        fn now(&self) -> Timestamp {
            from_unix_ms(self.0.now().as_millisecond() - *self.1.lock().unwrap())
        }

        fn ids(&self) -> &Ids {
            self.0.ids()
        }
    }

    #[test]
    fn ids_follow_a_clock_that_is_set_back_far() {
        let start = 1_795_000_000_000;
        let clock = SetBack(ManualClock::new(from_unix_ms(start)), Mutex::new(0));
        let first = new_job_id(&clock);
        *clock.1.lock().unwrap() = 10_000;
        assert!(new_job_id(&clock) > first);
        *clock.1.lock().unwrap() = 3_600_000;
        assert_eq!(new_job_id(&clock).unix_ms(), Some(start - 3_600_000));
    }
}
