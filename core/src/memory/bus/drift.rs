//! What differs between a queue or exchange that exists and one that is declared, in RabbitMQ's
//! words.

use std::fmt::Display;

use crate::topology::{ExchangeSpec, ExchangeType, QueueSpec};

/// Returns the first difference between two queues of one name; bindings do not count, they are
/// added.
pub(super) fn of_queue(is: &QueueSpec, asked: &QueueSpec) -> Option<String> {
    let seconds = |d: Option<std::time::Duration>| d.map(|d| format!("{}s", d.as_secs()));
    let millis = |d: Option<std::time::Duration>| d.map(|d| d.as_millis());
    let strategy = |q: &QueueSpec| q.dead_letter_at_least_once.then_some("at-least-once");
    let overflow = |q: &QueueSpec| q.overflow.map(crate::topology::Overflow::as_str);
    let queue = Subject("queue", &is.name);
    queue
        .compare(
            "x-queue-type",
            Some(is.queue_type.as_str()),
            Some(asked.queue_type.as_str()),
        )
        .or_else(|| {
            queue.compare(
                "x-message-ttl",
                millis(is.message_ttl),
                millis(asked.message_ttl),
            )
        })
        .or_else(|| {
            queue.compare(
                "x-dead-letter-exchange",
                is.dead_letter_exchange.as_ref(),
                asked.dead_letter_exchange.as_ref(),
            )
        })
        .or_else(|| queue.compare("x-dead-letter-strategy", strategy(is), strategy(asked)))
        .or_else(|| queue.compare("x-overflow", overflow(is), overflow(asked)))
        .or_else(|| queue.compare("x-delivery-limit", is.delivery_limit, asked.delivery_limit))
        .or_else(|| queue.compare("x-max-length", is.max_length, asked.max_length))
        .or_else(|| {
            queue.compare(
                "x-max-length-bytes",
                is.max_length_bytes,
                asked.max_length_bytes,
            )
        })
        .or_else(|| queue.compare("x-max-age", seconds(is.max_age), seconds(asked.max_age)))
        .or_else(|| {
            queue.compare(
                "x-stream-max-segment-size-bytes",
                is.segment_bytes,
                asked.segment_bytes,
            )
        })
        .or_else(|| queue.compare("x-expires", millis(is.expires), millis(asked.expires)))
}

/// Returns the first difference between two exchanges of one name.
pub(super) fn of_exchange(is: &ExchangeSpec, asked: &ExchangeSpec) -> Option<String> {
    let word = |e: &ExchangeSpec| match e.exchange_type {
        ExchangeType::Topic => "topic",
        ExchangeType::Fanout => "fanout",
    };
    let exchange = Subject("exchange", &is.name);
    exchange
        .compare("type", Some(word(is)), Some(word(asked)))
        .or_else(|| {
            exchange.compare(
                "alternate-exchange",
                is.alternate.as_ref(),
                asked.alternate.as_ref(),
            )
        })
}

struct Subject<'a>(&'static str, &'a str);

impl Subject<'_> {
    fn compare<T: PartialEq + Display>(
        &self,
        argument: &str,
        is: Option<T>,
        asked: Option<T>,
    ) -> Option<String> {
        if is == asked {
            return None;
        }
        let tell = |value: Option<T>| value.map_or("none".to_owned(), |v| format!("'{v}'"));
        let Self(what, name) = self;
        Some(format!(
            "inequivalent arg '{argument}' for {what} '{name}': received {} but current is {}",
            tell(asked),
            tell(is)
        ))
    }
}
