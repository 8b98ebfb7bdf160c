//! When an upstream is left alone: a pure state machine, time passed in.
//!
//! ```text
//!            failures in a row                    time is over: one probe
//!  closed ---------------------> open ------------------------------------> probing
//!    ^                             ^                                          |  |
//!    |                             +------------- the probe failed -----------+  |
//!    +---------------------------- the probe succeeded --------------------------+
//! ```
//!
//! Answers that were asked for before it opened change nothing afterwards.

use std::time::Duration;

use tokio::time::Instant;

/// When it opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open before one request may try.
    pub open: Duration,
}

/// The state.
#[derive(Debug)]
pub(crate) struct Breaker {
    policy: Policy,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// What let a request through. It is given back with how the request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// One among many.
    Ordinary,
    /// The only one that may try.
    Probe,
}

/// How a request ended, as far as the upstream is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The upstream answered.
    Good,
    /// It did not, or with a server error.
    Bad,
    /// Nothing is known: the client left.
    None,
}

impl Breaker {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            state: State::Closed { failures: 0 },
        }
    }

    /// Lets a request through, or says how long the upstream is left alone.
    pub fn admit(&mut self, now: Instant) -> Result<Pass, Duration> {
        match self.state {
            State::Closed { .. } => Ok(Pass::Ordinary),
            State::Open { until } if now < until => Err(until - now),
            State::Open { .. } => {
                self.state = State::Probing;
                Ok(Pass::Probe)
            }
            // The probe ends within its own deadline.
            State::Probing => Err(Duration::from_secs(1)),
        }
    }

    /// Takes note of how a request ended.
    pub fn ended(&mut self, pass: Pass, verdict: Verdict, now: Instant) {
        let until = now + self.policy.open;
        self.state = match (self.state, pass, verdict) {
            (State::Probing, Pass::Probe, Verdict::Good)
            | (State::Closed { .. }, _, Verdict::Good) => State::Closed { failures: 0 },
            (State::Probing, Pass::Probe, Verdict::Bad) => State::Open { until },
            // The next request probes.
            (State::Probing, Pass::Probe, Verdict::None) => State::Open { until: now },
            (State::Closed { failures }, _, Verdict::Bad)
                if failures + 1 >= self.policy.failures =>
            {
                State::Open { until }
            }
            (State::Closed { failures }, _, Verdict::Bad) => State::Closed {
                failures: failures + 1,
            },
            (state, _, _) => state,
        };
    }

    /// Says whether requests are refused, a probe aside.
    pub const fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(state: State) -> Breaker {
        let policy = Policy {
            failures: 3,
            open: 10 * SECOND,
        };
        Breaker { policy, state }
    }

    #[test]
    fn every_end_in_every_state() {
        let now = Instant::now();
        let (open, again) = (
            State::Open {
                until: now + SECOND,
            },
            State::Open {
                until: now + 10 * SECOND,
            },
        );
        let closed = |failures| State::Closed { failures };
        for (before, pass, verdict, after) in [
            (closed(0), Pass::Ordinary, Verdict::Good, closed(0)),
            (closed(2), Pass::Ordinary, Verdict::Good, closed(0)),
            (closed(0), Pass::Ordinary, Verdict::Bad, closed(1)),
            (closed(2), Pass::Ordinary, Verdict::Bad, again),
            (closed(2), Pass::Ordinary, Verdict::None, closed(2)),
            (open, Pass::Ordinary, Verdict::Good, open),
            (open, Pass::Ordinary, Verdict::Bad, open),
            (
                State::Probing,
                Pass::Ordinary,
                Verdict::Good,
                State::Probing,
            ),
            (State::Probing, Pass::Ordinary, Verdict::Bad, State::Probing),
            (State::Probing, Pass::Probe, Verdict::Good, closed(0)),
            (State::Probing, Pass::Probe, Verdict::Bad, again),
            (
                State::Probing,
                Pass::Probe,
                Verdict::None,
                State::Open { until: now },
            ),
        ] {
            let mut breaker = breaker(before);
            breaker.ended(pass, verdict, now);
            assert_eq!(breaker.state, after, "{before:?} {pass:?} {verdict:?}");
        }
    }

    #[test]
    fn an_open_one_lets_one_probe_through_when_its_time_is_over() {
        let now = Instant::now();
        let mut breaker = breaker(State::Open {
            until: now + SECOND,
        });
        assert_eq!(breaker.admit(now), Err(SECOND));
        assert_eq!(breaker.admit(now + SECOND), Ok(Pass::Probe));
        assert!(breaker.admit(now + SECOND).is_err() && breaker.is_open());
        breaker.ended(Pass::Probe, Verdict::Good, now + SECOND);
        assert_eq!(breaker.admit(now + SECOND), Ok(Pass::Ordinary));
    }
}
