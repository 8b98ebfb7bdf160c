//! Structural arguments in the broker's words. They are part of the identity of a queue on the broker.

use std::time::Duration;

use super::{ExchangeSpec, QueueSpec};

/// The value of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A whole number.
    Number(u64),
}

impl ExchangeSpec {
    /// Returns its arguments, by their names.
    pub fn arguments(&self) -> Vec<(&'static str, Argument)> {
        let alternate = self.alternate.clone().map(Argument::Text);
        alternate
            .into_iter()
            .map(|name| ("alternate-exchange", name))
            .collect()
    }
}

impl QueueSpec {
    /// Returns its arguments, by their names: one for each field that is set.
    pub fn arguments(&self) -> Vec<(&'static str, Argument)> {
        let text = |text: &str| Argument::Text(text.to_owned());
        let milliseconds =
            |d: Duration| Argument::Number(u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        let at_least_once = self
            .dead_letter_at_least_once
            .then(|| text("at-least-once"));
        let optional = [
            ("x-message-ttl", self.message_ttl.map(milliseconds)),
            (
                "x-dead-letter-exchange",
                self.dead_letter_exchange.as_deref().map(text),
            ),
            ("x-dead-letter-strategy", at_least_once),
            ("x-overflow", self.overflow.map(|o| text(o.as_str()))),
            (
                "x-delivery-limit",
                self.delivery_limit.map(|n| Argument::Number(n.into())),
            ),
            ("x-max-length", self.max_length.map(Argument::Number)),
            (
                "x-max-length-bytes",
                self.max_length_bytes.map(Argument::Number),
            ),
            ("x-max-age", self.max_age.map(|age| text(&max_age(age)))),
            (
                "x-stream-max-segment-size-bytes",
                self.segment_bytes.map(Argument::Number),
            ),
            ("x-expires", self.expires.map(milliseconds)),
        ];
        let queue_type = ("x-queue-type", text(self.queue_type.as_str()));
        let given = optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        std::iter::once(queue_type).chain(given).collect()
    }
}

/// A stream's age, in the largest unit up to hours that is exact: the broker compares the text.
fn max_age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}
