//! How often a failed attempt is followed by another one, and how long before. Pure.
//!
//! A kind's registry file says it in its table `[retry]`, for all errors and for classes of errors.
//! Whatever errors come in whatever order, a job has at most [`RetryPolicy::max_attempts_limit`]
//! attempts, and never more than it was submitted with.

use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use vmctl_api_types::{JobId, RetryInfo, RetryRuleInfo};

use crate::kinds::{MAX_ATTEMPTS, duration};

/// Longest wait between two attempts that a registry file may ask for, before its jitter.
pub const MAX_BACKOFF: Duration = Duration::from_secs(24 * 3600);

/// Most rules that a policy has.
const MAX_RULES: usize = 64;

/// How many jitters there are.
const JITTER_STEPS: u32 = 1 << 16;

/// What is done when an attempt has failed.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// How many attempts a job gets unless its caller says otherwise.
    pub max_attempts: u32,
    /// How many attempts a caller may ask for at most.
    pub max_attempts_limit: u32,
    /// The longest jitter, as a share of the wait that it is added to: 0 to 1.
    jitter: f64,
    /// Least wait before attempt 2, 3, …; the last one repeats.
    backoff: Vec<Duration>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    errors: Matches,
    verdict: RuleVerdict,
}

#[derive(Debug, Clone, PartialEq)]
enum RuleVerdict {
    Never,
    Again {
        max_attempts: Option<u32>,
        backoff: Option<Vec<Duration>>,
    },
}

/// Which error types a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Matches {
    Exactly(String),
    Prefix(String),
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt, after this wait.
    Again(Duration),
    /// None: the job has failed.
    GiveUp,
}

/// A failed attempt.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// The job.
    pub job: JobId,
    /// The run.
    pub epoch: u32,
    /// The try inside the run, from 1.
    pub attempt: u32,
    /// How many attempts this job was submitted with.
    pub max_attempts: u32,
    /// The error's type: a word such as `provider-quota`.
    pub error_type: &'a str,
}

impl RetryPolicy {
    /// Decides. The same failure always gets the same answer, whoever asks.
    ///
    /// The first rule whose error matches decides; without one the policy's own waits count. A rule
    /// can give a job fewer attempts than it was submitted with, never more.
    pub fn after(&self, failed: Failed<'_>) -> Verdict {
        let rule = self.rule(failed.error_type).map(|rule| &rule.verdict);
        let (most, backoff) = match rule {
            Some(RuleVerdict::Never) => return Verdict::GiveUp,
            Some(RuleVerdict::Again {
                max_attempts,
                backoff,
            }) => (
                max_attempts.unwrap_or(u32::MAX),
                backoff.as_ref().unwrap_or(&self.backoff),
            ),
            None => (u32::MAX, &self.backoff),
        };
        let most = most.min(failed.max_attempts).min(MAX_ATTEMPTS);
        if failed.attempt >= most {
            return Verdict::GiveUp;
        }
        Verdict::Again(self.wait(backoff, failed))
    }

    fn rule(&self, error_type: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.errors.take(error_type))
    }

    /// Returns what the list says, and a share of it more, so that jobs that failed together do not
    /// come back together. How much more depends on the job, its run and the attempt alone.
    fn wait(&self, backoff: &[Duration], failed: Failed<'_>) -> Duration {
        let index = usize::try_from(failed.attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        let least = backoff.get(index).or(backoff.last()).copied();
        let least = least.unwrap_or(DEFAULT_BACKOFF);
        let draw = f64::from(draw(failed)) / f64::from(JITTER_STEPS);
        // Both factors are between 0 and 1.
        least.saturating_add(least.mul_f64(self.jitter * draw))
    }

    /// Describes the policy to clients.
    pub fn info(&self) -> RetryInfo {
        RetryInfo {
            max_attempts: self.max_attempts,
            max_attempts_limit: self.max_attempts_limit,
            backoff_seconds: seconds(&self.backoff),
            jitter: self.jitter,
            on: self.rules.iter().map(Rule::info).collect(),
        }
    }
}

const DEFAULT_BACKOFF: Duration = Duration::from_secs(1);

impl Matches {
    fn take(&self, error_type: &str) -> bool {
        match self {
            Self::Exactly(word) => error_type == word,
            Self::Prefix(start) => error_type.starts_with(start),
        }
    }
}

impl Rule {
    fn info(&self) -> RetryRuleInfo {
        let error = match &self.errors {
            Matches::Exactly(word) => word.clone(),
            Matches::Prefix(start) => format!("{start}*"),
        };
        match &self.verdict {
            RuleVerdict::Never => RetryRuleInfo {
                error,
                never: true,
                max_attempts: None,
                backoff_seconds: Vec::new(),
            },
            RuleVerdict::Again {
                max_attempts,
                backoff,
            } => RetryRuleInfo {
                error,
                never: false,
                max_attempts: *max_attempts,
                backoff_seconds: backoff.as_deref().map(seconds).unwrap_or_default(),
            },
        }
    }
}

fn seconds(waits: &[Duration]) -> Vec<f64> {
    waits.iter().map(Duration::as_secs_f64).collect()
}

/// Draws a number below [`JITTER_STEPS`].
fn draw(failed: Failed<'_>) -> u16 {
    let mut hash = Sha256::new();
    hash.update(failed.job.as_uuid().as_bytes());
    hash.update(failed.epoch.to_be_bytes());
    // The attempt that the wait comes before.
    hash.update(failed.attempt.saturating_add(1).to_be_bytes());
    let digest = hash.finalize();
    u16::from_be_bytes([digest[0], digest[1]])
}

/// The table `[retry]` of a registry file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryTable {
    max_attempts: Option<u32>,
    max_attempts_limit: Option<u32>,
    backoff: Option<Backoff>,
    jitter: Option<f64>,
    #[serde(default)]
    on: Vec<RuleTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    error: String,
    #[serde(default)]
    never: bool,
    max_attempts: Option<u32>,
    backoff: Option<Backoff>,
}

/// `["1s", "5s"]`, or `{ base = "1s", factor = 2.0, max = "10m" }`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Backoff {
    Steps(Vec<String>),
    Exponential(Exponential),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exponential {
    base: String,
    #[serde(default = "twice")]
    factor: f64,
    max: String,
}

const fn twice() -> f64 {
    2.0
}

impl RetryTable {
    /// Checks every rule of the table.
    pub(crate) fn read(self) -> Result<RetryPolicy, String> {
        let max_attempts = self.max_attempts.unwrap_or(5);
        let max_attempts_limit = self.max_attempts_limit.unwrap_or(max_attempts);
        for (name, number) in [
            ("retry.max_attempts", max_attempts),
            ("retry.max_attempts_limit", max_attempts_limit),
        ] {
            attempts(name, number)?;
        }
        if max_attempts_limit < max_attempts {
            return Err("retry.max_attempts_limit is less than retry.max_attempts".to_owned());
        }
        let jitter = self.jitter.unwrap_or(0.2);
        if !(0.0..=1.0).contains(&jitter) {
            return Err("retry.jitter must be 0 to 1".to_owned());
        }
        let backoff = match self.backoff {
            Some(backoff) => backoff.read("retry.backoff")?,
            None => vec![DEFAULT_BACKOFF],
        };
        if self.on.len() > MAX_RULES {
            return Err(format!("retry.on has more than {MAX_RULES} rules"));
        }
        let rules = self.on.into_iter().map(RuleTable::read);
        Ok(RetryPolicy {
            max_attempts,
            max_attempts_limit,
            jitter,
            backoff,
            rules: rules.collect::<Result<_, _>>()?,
        })
    }
}

fn attempts(name: &str, number: u32) -> Result<(), String> {
    if (1..=MAX_ATTEMPTS).contains(&number) {
        Ok(())
    } else {
        Err(format!("{name} must be 1 to {MAX_ATTEMPTS}"))
    }
}

impl RuleTable {
    fn read(self) -> Result<Rule, String> {
        let word = self.error.strip_suffix('*').unwrap_or(&self.error);
        if word.contains('*') || self.error.is_empty() || self.error.len() > 64 {
            return Err(format!(
                "retry.on: {:?} is no error type of 1 to 64 characters, with * at its end only",
                self.error
            ));
        }
        let errors = if word.len() < self.error.len() {
            Matches::Prefix(word.to_owned())
        } else {
            Matches::Exactly(word.to_owned())
        };
        let says_how = self.max_attempts.is_some() || self.backoff.is_some();
        let verdict = match (self.never, says_how) {
            (true, false) => RuleVerdict::Never,
            (false, true) => RuleVerdict::Again {
                max_attempts: self
                    .max_attempts
                    .map(|number| attempts("retry.on.max_attempts", number).map(|()| number))
                    .transpose()?,
                backoff: self
                    .backoff
                    .map(|backoff| backoff.read("retry.on.backoff"))
                    .transpose()?,
            },
            (true, true) => {
                return Err(format!(
                    "retry.on {:?}: never goes with nothing else",
                    self.error
                ));
            }
            (false, false) => {
                return Err(format!(
                    "retry.on {:?} says nothing: give never, max_attempts or backoff",
                    self.error
                ));
            }
        };
        Ok(Rule { errors, verdict })
    }
}

impl Backoff {
    fn read(self, name: &str) -> Result<Vec<Duration>, String> {
        let waits = match self {
            Self::Steps(steps) => steps
                .iter()
                .map(|text| duration(name, text))
                .collect::<Result<Vec<_>, _>>()?,
            Self::Exponential(curve) => curve.waits(name)?,
        };
        let most = usize::try_from(MAX_ATTEMPTS).unwrap_or(usize::MAX);
        if waits.is_empty() || waits.len() > most {
            return Err(format!("{name} must have 1 to {MAX_ATTEMPTS} steps"));
        }
        if waits.iter().any(|wait| *wait > MAX_BACKOFF) {
            return Err(format!("{name}: a wait is at most 24 h"));
        }
        Ok(waits)
    }
}

impl Exponential {
    /// Writes the curve as a list that ends with its first greatest wait.
    fn waits(&self, name: &str) -> Result<Vec<Duration>, String> {
        let base = duration(name, &self.base)?;
        let max = duration(name, &self.max)?.min(MAX_BACKOFF + Duration::from_secs(1));
        if !(1.0..=10.0).contains(&self.factor) {
            return Err(format!("{name}.factor must be 1 to 10"));
        }
        if base > max {
            return Err(format!("{name}.base is more than {name}.max"));
        }
        let mut waits = vec![base];
        for _ in 2..MAX_ATTEMPTS {
            let last = waits.last().copied().unwrap_or(base);
            // At most a day times 10.
            let next = last.mul_f64(self.factor).min(max);
            if next == last {
                break;
            }
            waits.push(next);
        }
        Ok(waits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(text: &str) -> Result<RetryPolicy, String> {
        toml::from_str::<RetryTable>(text)
            .map_err(|error| error.to_string())
            .and_then(RetryTable::read)
    }

    const RULES: &str = r#"
        max_attempts = 4
        max_attempts_limit = 9
        backoff = ["1s", "5s"]
        [[on]]
        error = "provider-quota"
        never = true
        [[on]]
        error = "provider-*"
        max_attempts = 3
        backoff = { base = "10s", factor = 3, max = "1m" }
    "#;

    fn failed(attempt: u32, max_attempts: u32, error_type: &str) -> Failed<'_> {
        Failed {
            job: JobId::from_uuid(uuid::Uuid::from_u128(7)),
            epoch: 0,
            attempt,
            max_attempts,
            error_type,
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = policy(RULES).unwrap();
        let least = |attempt, error| match policy.after(failed(attempt, 5, error)) {
            Verdict::Again(wait) => Some(wait.as_secs()),
            Verdict::GiveUp => None,
        };
        assert_eq!(least(1, "provider-quota"), None);
        assert!((10..12).contains(&least(1, "provider-down").unwrap()));
        assert!((30..36).contains(&least(2, "provider-down").unwrap()));
        assert_eq!(least(3, "provider-down"), None);
        assert!((5..6).contains(&least(4, "panic").unwrap()));
        assert_eq!(least(5, "panic"), None);
        assert_eq!(policy.after(failed(2, 2, "panic")), Verdict::GiveUp);
    }

    #[test]
    fn a_curve_is_shown_as_the_list_that_it_is() {
        let curve = "backoff = { base = \"10s\", max = \"1m\" }";
        let info = policy(curve).unwrap().info();
        assert_eq!(info.backoff_seconds, [10.0, 20.0, 40.0, 60.0]);
        let info = policy(RULES).unwrap().info();
        assert_eq!((info.max_attempts, info.max_attempts_limit), (4, 9));
        assert_eq!(info.on[0].error, "provider-quota");
        assert!(info.on[0].never);
        assert_eq!(info.on[1].error, "provider-*");
        assert_eq!(info.on[1].backoff_seconds, [10.0, 30.0, 60.0]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, reason) in [
            ("max_attempts = 0", "1 to 100"),
            ("max_attempts = 101", "1 to 100"),
            ("max_attempts_limit = 2", "less than"),
            ("jitter = 1.5", "jitter"),
            ("backoff = []", "steps"),
            ("backoff = [\"soon\"]", "not a duration"),
            ("backoff = [\"25h\"]", "24 h"),
            ("backoff = { base = \"2m\", max = \"1m\" }", "more than"),
            ("backoff = { base = \"1s\", max = \"2d\" }", "24 h"),
            (
                "backoff = { base = \"1s\", max = \"1m\", factor = 0.5 }",
                "factor",
            ),
            ("on = [{ error = \"a\" }]", "says nothing"),
            (
                "on = [{ error = \"a\", never = true, max_attempts = 1 }]",
                "nothing else",
            ),
            ("on = [{ error = \"a*b\", never = true }]", "no error type"),
            ("on = [{ error = \"\", never = true }]", "no error type"),
            ("retries = 3", "unknown field"),
        ] {
            let error = policy(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    fn errors() -> impl Strategy<Value = Vec<String>> {
        let word = prop_oneof![
            Just("provider-quota".to_owned()),
            Just("provider-down".to_owned()),
            Just("panic".to_owned()),
            "[a-z-]{0,12}",
        ];
        prop::collection::vec(word, 0..150)
    }

    proptest! {
        /// Whatever fails in whatever order, the job ends within its attempts, and each wait is
        /// between what the policy says and that with its jitter.
        #[test]
        fn any_sequence_of_errors_ends_within_the_attempts(
            errors in errors(),
            max_attempts in 1..=MAX_ATTEMPTS,
            job in any::<u128>(),
            epoch in 0..3_u32,
        ) {
            let policy = policy(RULES).unwrap();
            let mut attempt = 1;
            for error in &errors {
                let job = JobId::from_uuid(uuid::Uuid::from_u128(job));
                let failed = Failed { job, epoch, attempt, max_attempts, error_type: error };
                prop_assert_eq!(policy.after(failed), policy.after(failed));
                match policy.after(failed) {
                    Verdict::GiveUp => break,
                    Verdict::Again(wait) => {
                        let provider = error.starts_with("provider-");
                        let (least, most) = if provider { (10, 60) } else { (1, 5) };
                        prop_assert!(wait >= Duration::from_secs(least));
                        prop_assert!(wait <= Duration::from_secs(most) * 6 / 5);
                        attempt += 1;
                    }
                }
                prop_assert!(attempt <= max_attempts);
            }
        }
    }

    #[test]
    fn jitters_spread_over_their_whole_share() {
        let policy = policy("backoff = [\"60s\"]").unwrap();
        let mut counts = [0_u32; 10];
        for n in 0..1000_u128 {
            let job = JobId::from_uuid(uuid::Uuid::from_u128(n));
            let Verdict::Again(wait) = policy.after(Failed {
                job,
                ..failed(4, 5, "a")
            }) else {
                panic!("given up");
            };
            let more = wait.checked_sub(Duration::from_secs(60)).unwrap();
            assert!(more < Duration::from_secs(12));
            counts[usize::try_from(more.as_millis() / 1200).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
    }
}
