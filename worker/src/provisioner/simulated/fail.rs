//! Failures on demand: `boot` fails for ever, `boot:2` twice.

use std::{fmt, str::FromStr};

use super::PHASES;

/// Which phase is made to fail, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailRule {
    pub(super) phase: &'static str,
    pub(super) times: Option<u32>,
}

/// A text that is no [`FailRule`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not <phase> or <phase>:<times>; phases are validate, storage, define, start, boot, ready"
)]
pub struct ParseFailRuleError(String);

impl FromStr for FailRule {
    type Err = ParseFailRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseFailRuleError(text.to_owned());
        let (name, times) = match text.split_once(':') {
            Some((name, times)) => (name, Some(times.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let phase = PHASES.iter().find(|p| p.name == name).ok_or_else(error)?;
        Ok(Self {
            phase: phase.name,
            times,
        })
    }
}

impl fmt::Display for FailRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phase)?;
        self.times.map_or(Ok(()), |times| write!(f, ":{times}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_phase_and_a_number() {
        for text in ["boot", "storage:2", "ready:0"] {
            assert_eq!(text.parse::<FailRule>().unwrap().to_string(), text);
        }
        for text in ["", "boots", "boot:", "boot:x", "boot:-1", ":2"] {
            assert!(text.parse::<FailRule>().is_err(), "{text}");
        }
    }
}
