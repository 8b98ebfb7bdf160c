//! What to do after each answer while a job is followed. Pure: time and randomness are passed in.
//!
//! ```text
//!             job, live / 304                    job, ended
//!   read ------------------> wait for a change -------------> ended
//!    |  ^                      |        |  ^
//!    |  +--- 404 soon after ---+   lost |  | answer
//!    |       our own 202                v  |
//!    |                          again with backoff, for ever: the caller has the deadline
//!    +-- 404, 410 --> missing (never seen) or unknown (seen)
//!    +-- 401, 403, … --> denied
//! ```

use std::time::Duration;

use vmctl_api_types::Job;

use super::model::{self, Outcome};
use crate::{error::CliError, retry::Backoff};

/// How long after our own 202 a 404 may only mean that the view is behind.
const GRACE: Duration = Duration::from_secs(5);

/// Pause between polls of a server that neither waits nor says when to come back.
const IDLE: Duration = Duration::from_secs(1);

/// Shortest pause between two polls of one job, whatever the server answers.
const FLOOR: Duration = Duration::from_millis(100);

/// What the server said.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The job, in a state that may be new.
    Current {
        /// The job.
        job: Box<Job>,
        /// Whether the server held the request as we asked: it then sets the pace itself.
        held: bool,
        /// What `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// Nothing new.
    Unchanged {
        /// As above.
        held: bool,
        /// As above.
        retry_after: Option<Duration>,
    },
    /// 404 or 410.
    Missing(CliError),
    /// A refusal that the next request would meet too.
    Denied(CliError),
    /// No answer, or one that says "later".
    Away {
        /// Why, for people.
        why: String,
        /// What `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
}

/// How the following of one job ended.
#[derive(Debug, Clone)]
pub enum End {
    /// The job ended, or its record is gone after it was seen.
    Outcome(Outcome),
    /// There is no such job.
    Missing(CliError),
    /// The server refuses; nothing is known about the job's end.
    Denied(CliError),
}

/// What to do next.
#[derive(Debug, Clone)]
pub enum Next {
    /// Ask again after this pause.
    After(Duration),
    /// Stop.
    End(End),
}

/// What to tell the person about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It was lost just now.
    Lost(String),
    /// It is back.
    Back,
}

/// The memory of one followed job.
#[derive(Debug)]
pub struct Poll {
    seen: bool,
    submitted: bool,
    lost: bool,
    backoff: Backoff,
}

impl Poll {
    /// Starts to follow; `submitted` says that this very command got the 202.
    pub const fn new(submitted: bool) -> Self {
        Self {
            seen: submitted,
            submitted,
            lost: false,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(10)),
        }
    }

    /// Goes on where another way of following has come to.
    #[must_use]
    pub const fn after(mut self, seen: bool, lost: bool) -> Self {
        self.seen |= seen;
        self.lost = lost;
        self
    }

    /// Decides. `age` is the time since following began, `took` how long the answer took,
    /// `random` is drawn from 0 to 1.
    pub fn decide(
        &mut self,
        answer: &Answer,
        age: Duration,
        took: Duration,
        random: f64,
    ) -> (Option<Link>, Next) {
        match answer {
            Answer::Current {
                job,
                held,
                retry_after,
            } => {
                self.seen = true;
                let next = match model::outcome(job) {
                    Some(outcome) => Next::End(End::Outcome(outcome)),
                    None => Next::After(pause(*held, *retry_after, took)),
                };
                (self.back(), next)
            }
            Answer::Unchanged { held, retry_after } => {
                (self.back(), Next::After(pause(*held, *retry_after, took)))
            }
            Answer::Missing(error) => {
                let next = if self.submitted && age < GRACE {
                    Next::After(self.backoff.delay(random))
                } else if self.seen {
                    Next::End(End::Outcome(Outcome::Unknown))
                } else {
                    Next::End(End::Missing(error.clone()))
                };
                (None, next)
            }
            Answer::Denied(error) => (None, Next::End(End::Denied(error.clone()))),
            Answer::Away { why, retry_after } => {
                let told = self.lost;
                self.lost = true;
                let delay = self.backoff.delay(random);
                let pause = retry_after.map_or(delay, |asked| asked.max(delay));
                let link = (!told).then(|| Link::Lost(why.clone()));
                (link, Next::After(pause))
            }
        }
    }

    fn back(&mut self) -> Option<Link> {
        self.backoff.reset();
        std::mem::take(&mut self.lost).then_some(Link::Back)
    }
}

fn pause(held: bool, retry_after: Option<Duration>, took: Duration) -> Duration {
    if held {
        FLOOR.saturating_sub(took)
    } else {
        retry_after.unwrap_or(IDLE).max(FLOOR)
    }
}

/// How hard one invocation leans on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long the server is asked to hold a request; none = not at all.
    pub wait: Option<Duration>,
    /// Least pause between two polls of one job.
    pub every: Duration,
}

/// Requests that one invocation has under way at most.
pub const AT_ONCE: usize = 16;

/// Chooses the pace for so many jobs. Up to [`AT_ONCE`] each has its own long poll; more take
/// turns with short ones, and many are polled plainly, so that every job gets its turn within
/// seconds.
pub fn pace(jobs: usize) -> Pace {
    match jobs {
        0..=AT_ONCE => Pace {
            wait: Some(Duration::from_secs(25)),
            every: Duration::ZERO,
        },
        17..=64 => Pace {
            wait: Some(Duration::from_secs(1)),
            every: Duration::ZERO,
        },
        _ => Pace {
            wait: None,
            every: Duration::from_secs(3),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::model::tests::job, *};
    use crate::exit::Exit;

    const QUICK: Duration = Duration::from_millis(5);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn current(state: &str, held: bool, retry_after: Option<u64>) -> Answer {
        Answer::Current {
            job: Box::new(job(&json!({ "state": state }))),
            held,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn missing() -> Answer {
        Answer::Missing(CliError::new(Exit::NotFound, "not found"))
    }

    fn away(retry_after: Option<u64>) -> Answer {
        Answer::Away {
            why: "gone".into(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[track_caller]
    fn waits(decision: (Option<Link>, Next), expected: Duration) {
        match decision.1 {
            Next::After(pause) => assert_eq!(pause, expected),
            Next::End(end) => panic!("{end:?}"),
        }
    }

    #[test]
    fn a_held_poll_is_repeated_at_once_and_another_when_the_server_says() {
        let mut poll = Poll::new(false);
        waits(
            poll.decide(&current("running", true, Some(3)), at(0), at(2), 0.0),
            Duration::ZERO,
        );
        waits(
            poll.decide(&current("running", true, None), at(0), QUICK, 0.0),
            FLOOR.saturating_sub(QUICK),
        );
        waits(
            poll.decide(&current("running", false, Some(3)), at(0), QUICK, 0.0),
            at(3),
        );
        waits(
            poll.decide(
                &Answer::Unchanged {
                    held: false,
                    retry_after: None,
                },
                at(0),
                QUICK,
                0.0,
            ),
            IDLE,
        );
        waits(
            poll.decide(
                &Answer::Unchanged {
                    held: false,
                    retry_after: Some(Duration::ZERO),
                },
                at(0),
                QUICK,
                0.0,
            ),
            FLOOR,
        );
        waits(
            poll.decide(
                &Answer::Unchanged {
                    held: true,
                    retry_after: Some(at(9)),
                },
                at(0),
                at(25),
                0.0,
            ),
            Duration::ZERO,
        );
    }

    #[test]
    fn the_end_of_the_job_is_the_end() {
        for (state, outcome) in [
            ("succeeded", Outcome::Succeeded),
            ("failed", Outcome::Failed),
            ("cancelled", Outcome::Cancelled),
        ] {
            let (_, next) = Poll::new(false).decide(&current(state, true, None), at(0), QUICK, 0.0);
            assert!(
                matches!(next, Next::End(End::Outcome(found)) if found == outcome),
                "{state}"
            );
        }
    }

    #[test]
    fn a_missing_job_is_not_found_unless_it_was_seen() {
        let (_, next) = Poll::new(false).decide(&missing(), at(0), QUICK, 0.0);
        assert!(matches!(next, Next::End(End::Missing(_))));

        let mut seen = Poll::new(false);
        seen.decide(&current("running", true, None), at(0), QUICK, 0.0);
        let (_, next) = seen.decide(&missing(), at(1), QUICK, 0.0);
        assert!(matches!(next, Next::End(End::Outcome(Outcome::Unknown))));
    }

    #[test]
    fn right_after_our_own_202_a_404_is_patience() {
        let mut poll = Poll::new(true);
        waits(
            poll.decide(&missing(), at(1), QUICK, 1.0),
            Duration::from_millis(500),
        );
        let (_, next) = poll.decide(&missing(), at(6), QUICK, 1.0);
        assert!(matches!(next, Next::End(End::Outcome(Outcome::Unknown))));
    }

    #[test]
    fn a_lost_server_is_said_once_and_never_ends_the_watch() {
        let mut poll = Poll::new(false);
        let (link, _) = poll.decide(&away(None), at(0), QUICK, 1.0);
        assert_eq!(link, Some(Link::Lost("gone".into())));
        for n in 0..1_000 {
            let (link, next) = poll.decide(&away(None), at(n), QUICK, 1.0);
            assert_eq!(link, None);
            assert!(matches!(next, Next::After(pause) if pause <= at(10)));
        }
        waits(poll.decide(&away(Some(30)), at(0), QUICK, 1.0), at(30));
        let (link, _) = poll.decide(
            &Answer::Unchanged {
                held: true,
                retry_after: None,
            },
            at(0),
            QUICK,
            0.0,
        );
        assert_eq!(link, Some(Link::Back));
        waits(
            poll.decide(&away(None), at(0), QUICK, 1.0),
            Duration::from_millis(500),
        );
    }

    #[test]
    fn a_refusal_ends_it() {
        let denied = Answer::Denied(CliError::new(Exit::NotAuthenticated, "not authenticated"));
        let (_, next) = Poll::new(true).decide(&denied, at(0), QUICK, 0.0);
        assert!(matches!(next, Next::End(End::Denied(_))));
    }

    #[test]
    fn every_job_gets_its_turn_within_seconds() {
        for jobs in [1, 16, 17, 64, 65, 200] {
            let pace = pace(jobs);
            let rounds = u32::try_from(jobs.div_ceil(AT_ONCE)).unwrap();
            let turn = if jobs <= AT_ONCE {
                Duration::ZERO
            } else {
                pace.wait.unwrap_or_default() * rounds
            };
            assert!(turn + pace.every <= at(5), "{jobs}");
        }
    }
}
