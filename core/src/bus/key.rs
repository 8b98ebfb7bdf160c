//! Routing keys and topic patterns.

use std::{fmt, str::FromStr};

use vmctl_api_types::Kind;

use crate::topology::Tier;

/// A routing key: words with dots between them, at most 255 bytes (AMQP 0-9-1, short string).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutingKey(String);

impl RoutingKey {
    /// Run this kind now.
    pub fn job(kind: &Kind) -> Self {
        Self(format!("job.{kind}"))
    }

    /// Run this kind after the tier's delay.
    pub fn delayed(tier: Tier, kind: &Kind) -> Self {
        Self(format!("delay.{tier}.job.{kind}"))
    }

    /// A job of this kind waits for its turn, which is looked at now.
    pub fn turn(kind: &Kind) -> Self {
        Self(format!("turn.{kind}"))
    }

    /// The same, after the tier's delay.
    pub fn delayed_turn(tier: Tier, kind: &Kind) -> Self {
        Self(format!("delay.{tier}.turn.{kind}"))
    }

    /// A fact about a job of this kind.
    pub fn event(kind: &Kind, word: &str) -> Self {
        Self(format!("event.{kind}.{word}"))
    }

    /// A job of this kind failed and is parked.
    pub fn dead(kind: &Kind) -> Self {
        Self(format!("dead.{kind}"))
    }

    /// Something that may be lost.
    pub fn tick(kind: &Kind, word: &str) -> Self {
        Self(format!("tick.{kind}.{word}"))
    }

    /// A worker lives. Shorter than the key of any job's tick.
    pub fn presence() -> Self {
        Self("tick.worker.alive".to_owned())
    }

    /// What somebody asked of a server; `what` is our own words with dots between them.
    pub fn audit(what: &str) -> Self {
        Self(format!("audit.{what}"))
    }

    /// A server's mark in the log.
    pub fn mark() -> Self {
        Self("mark".to_owned())
    }

    /// A control message; a fanout exchange does not look at it.
    pub fn control() -> Self {
        Self("control".to_owned())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot be a routing key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a routing key has 1 to 255 bytes and no control characters")]
pub struct RoutingKeyError;

impl FromStr for RoutingKey {
    type Err = RoutingKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
            return Err(RoutingKeyError);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Says whether a topic pattern takes a key: `*` is one word, `#` is any number of words, none
/// included.
pub fn topic_matches(pattern: &str, key: &str) -> bool {
    fn matches(pattern: &[&str], key: &[&str]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&"#", rest)) => (0..=key.len()).any(|skip| matches(rest, &key[skip..])),
            Some((&word, rest)) => key
                .split_first()
                .is_some_and(|(first, key)| (word == "*" || word == *first) && matches(rest, key)),
        }
    }
    let pattern: Vec<_> = pattern.split('.').collect();
    let key: Vec<_> = key.split('.').collect();
    matches(&pattern, &key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_is_one_word_and_hash_is_any_number() {
        for (pattern, key, expected) in [
            ("#", "job.vm.create", true),
            ("#", "mark", true),
            ("job.vm.create.#", "job.vm.create", true),
            ("job.vm.create.#", "job.vm.create.high.s0", true),
            ("job.vm.create.#", "job.vm.delete", false),
            ("event.*.*.succeeded", "event.vm.create.succeeded", true),
            ("event.*.*.succeeded", "event.vm.succeeded", false),
            ("delay.*.job.vm.create.#", "delay.5s.job.vm.create", true),
            ("delay.*.job.vm.create.#", "delay.job.vm.create", false),
            ("#.create", "job.vm.create", true),
            ("#.create", "create", true),
            ("a.#.b.#.c", "a.x.b.c", true),
            ("a.#.b.#.c", "a.x.c", false),
            ("job", "job.vm", false),
        ] {
            assert_eq!(topic_matches(pattern, key), expected, "{pattern} {key}");
        }
    }

    #[test]
    fn keys_are_short_strings() {
        assert!("job.vm.create".parse::<RoutingKey>().is_ok());
        assert_eq!("".parse::<RoutingKey>(), Err(RoutingKeyError));
        assert_eq!("a".repeat(256).parse::<RoutingKey>(), Err(RoutingKeyError));
        assert_eq!("a\nb".parse::<RoutingKey>(), Err(RoutingKeyError));
    }
}
