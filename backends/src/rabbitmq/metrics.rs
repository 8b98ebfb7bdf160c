//! What the adapter counts and measures.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use vmctl_core::bus::PublishError;

use super::link::Role;

const CONFIRM: &str = "publish_confirm_seconds";
const PUBLISH: &str = "publish_total";
const TICKS: &str = "publish_tick_total";
const CONNECTIONS: &str = "bus_connections";
const CONNECTS: &str = "bus_connects_total";
const BLOCKED: &str = "bus_blocked_total";
const DELIVERIES: &str = "bus_deliveries_total";
const CONSUMERS: &str = "bus_consumers_rebuilt_total";
const LOG: &str = "bus_log_entries_total";
const FEED_LOST: &str = "bus_feed_dropped_total";

/// Describes every metric of the adapter to the recorder of the process.
pub fn describe() {
    describe_histogram!(
        CONFIRM,
        Unit::Seconds,
        "From the call of a publish to the broker's confirm"
    );
    describe_counter!(PUBLISH, Unit::Count, "Publishes, by outcome");
    describe_counter!(TICKS, Unit::Count, "Publishes without confirm, by outcome");
    describe_gauge!(CONNECTIONS, Unit::Count, "Open connections, by role");
    describe_counter!(
        CONNECTS,
        Unit::Count,
        "Attempts to connect, by role and outcome"
    );
    describe_counter!(
        BLOCKED,
        Unit::Count,
        "How often the broker blocked the connection"
    );
    describe_counter!(
        DELIVERIES,
        Unit::Count,
        "Deliveries, by how they were settled"
    );
    describe_counter!(
        CONSUMERS,
        Unit::Count,
        "Consumers that had to subscribe again"
    );
    describe_counter!(LOG, Unit::Count, "Log entries read");
    describe_counter!(
        FEED_LOST,
        Unit::Count,
        "Feed messages dropped because nobody read them"
    );
}

pub(super) fn published(took: Duration, outcome: &Result<(), PublishError>) {
    let word = match outcome {
        Ok(()) => "confirmed",
        Err(PublishError::Unavailable(_)) => "unavailable",
        Err(PublishError::Blocked(_)) => "blocked",
        Err(PublishError::Busy) => "busy",
        Err(PublishError::Nacked) => "nacked",
        Err(PublishError::Timeout(_)) => "timeout",
        Err(PublishError::Lost(_)) => "lost",
        Err(PublishError::Unroutable) => "unroutable",
        Err(PublishError::Returned(_)) => "returned",
    };
    counter!(PUBLISH, "outcome" => word).increment(1);
    if outcome.is_ok() {
        histogram!(CONFIRM).record(took);
    }
}

pub(super) fn ticked(outcome: &'static str) {
    counter!(TICKS, "outcome" => outcome).increment(1);
}

pub(super) fn connected(role: Role) {
    counter!(CONNECTS, "role" => role.as_str(), "outcome" => "connected").increment(1);
    gauge!(CONNECTIONS, "role" => role.as_str()).increment(1);
}

pub(super) fn connect_failed(role: Role) {
    counter!(CONNECTS, "role" => role.as_str(), "outcome" => "failed").increment(1);
}

pub(super) fn disconnected(role: Role) {
    gauge!(CONNECTIONS, "role" => role.as_str()).decrement(1);
}

pub(super) fn blocked(role: Role) {
    counter!(BLOCKED, "role" => role.as_str()).increment(1);
}

pub(super) fn settled(how: &'static str) {
    counter!(DELIVERIES, "settled" => how).increment(1);
}

pub(super) fn consumer_rebuilt() {
    counter!(CONSUMERS).increment(1);
}

pub(super) fn log_read(entries: usize) {
    counter!(LOG).increment(entries as u64);
}

pub(super) fn feed_dropped() {
    counter!(FEED_LOST).increment(1);
}
