//! The server's metrics. No label is a client's text: methods are a fixed set, routes are templates,
//! kinds
//! and upstreams are the registry's.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes every metric to the recorder that is installed, if there is one.
pub(crate) fn describe() {
    describe_histogram!(
        "http_server_request_duration_seconds",
        Unit::Seconds,
        "Time from a request's head to its answer, by route, method and status"
    );
    for (name, what) in [
        (
            "jobs_submitted_total",
            "Submissions, by kind and outcome: accepted, replayed, refused",
        ),
        ("auth_total", "Tokens checked, by result"),
        (
            "auth_cache_total",
            "Tokens looked up among those checked lately, by result",
        ),
        (
            "submissions_limited_total",
            "Submissions refused by a project's limits, by policy",
        ),
        ("logins_total", "Logins, by result"),
        (
            "prewrite_failed_total",
            "Confirmed messages that the view did not take in time",
        ),
        (
            "http_requests_shed_total",
            "Requests refused because too many were in work",
        ),
        (
            "http_connections_refused_total",
            "Connections closed because there were too many",
        ),
        (
            "tls_handshakes_failed_total",
            "TLS handshakes that came to nothing, by reason: busy, timeout, plain, refused",
        ),
        (
            "audit_total",
            "Requests that would change something, by outcome: accepted, refused, unknown",
        ),
        (
            "audit_dropped_total",
            "Audit entries that are not in the log, by reason: full, strangers, returned",
        ),
        (
            "sync_requests_total",
            "Requests of synchronous kinds, by kind and outcome: answered, broken, timeout, open, busy, refused",
        ),
        (
            "search_requests_total",
            "Requests to the search cluster, by outcome: ok, busy, failed, refused, unreachable, timeout, unreadable",
        ),
        ("http_handler_panics_total", "Handlers that panicked"),
        (
            "event_streams_ended_total",
            "Streams of events that ended, by reason; slow: the reader did not read",
        ),
        (
            "event_streams_refused_total",
            "Streams of events refused because too many were open",
        ),
    ] {
        describe_counter!(name, Unit::Count, what);
    }
    describe_histogram!(
        "search_duration_seconds",
        Unit::Seconds,
        "Time of one request to the search cluster"
    );
    describe_histogram!(
        "sync_request_duration_seconds",
        Unit::Seconds,
        "Time for an upstream's answer, by kind"
    );
    describe_gauge!(
        "server_clock_ahead_seconds",
        Unit::Seconds,
        "How far the clock is ahead of the store's"
    );
    describe_gauge!(
        "sync_upstream_open",
        Unit::Count,
        "Whether an upstream is left alone after failures"
    );
    describe_gauge!(
        "event_streams_open",
        Unit::Count,
        "Streams of events that are open"
    );
    describe_queues();
}

fn describe_queues() {
    describe_gauge!(
        "queue_messages_ready",
        Unit::Count,
        "Messages ready in a queue, at the last look"
    );
    describe_gauge!(
        "queue_consumers",
        Unit::Count,
        "Consumers of a queue, at the last look"
    );
    describe_gauge!(
        "queue_missing",
        Unit::Count,
        "1 if a queue was not there at the last look, else 0"
    );
}
