//! Names of the reader's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Facts by what became of them: `applied`, `stale`, `invalid`, `conflict` when another reader had moved their
/// partition.
pub const EVENTS: &str = "reader_events_total";
/// Marks that were not believed, by why: `ahead` of the clock.
pub const MARKS: &str = "reader_marks_refused_total";
/// How far the clock is ahead of the store's, in seconds; less than zero when it is behind.
pub const CLOCK: &str = "reader_clock_ahead_seconds";
/// Age of the newest entry folded, in seconds.
pub const LAG_SECONDS: &str = "reader_lag_seconds";
/// Entries between the slowest partition held and the end of the log.
pub const LAG_EVENTS: &str = "reader_lag_events";
/// Age of the oldest entry of the log, in seconds; not a number while nothing is gone from it.
pub const LOG_SECONDS: &str = "log_oldest_age_seconds";
/// Time of one write, in seconds.
pub const FOLD_SECONDS: &str = "reader_fold_seconds";
/// From taking partitions up until what is read of them is ten seconds old, in seconds.
pub const REBUILD_SECONDS: &str = "cache_rebuild_seconds";
/// Age of the oldest job that waits in a queue for its first worker, in seconds; 0 where none has waited for five
/// minutes. Of the partitions held, as of the last look at all of their silent jobs; a look at
/// partitions of which one is behind does not count.
pub const OLDEST_SECONDS: &str = "queue_oldest_age_seconds";
/// Partitions that were held and went to another reader.
pub const LEASES_LOST: &str = "lease_lost_total";
/// Partitions held.
pub const PARTITIONS: &str = "reader_partitions";
/// Positions that named no entry of the log any more: `hole` when the log had dropped entries before
/// they were read, `void` when it is another log.
pub const VOID: &str = "reader_void_positions_total";
/// Progress messages by what became of them: `applied`, `dropped`.
pub const TICKS: &str = "reader_ticks_total";
/// Lines of jobs' logs by what became of them: `applied`, `dropped`.
pub const LINES: &str = "reader_log_lines_total";
/// Jobs ended by the sweep.
pub const SWEPT: &str = "reader_deadlines_total";
/// Live jobs said again: `kept` for the log, `queued` for a work queue that was emptied, `failed` when it
/// was not confirmed.
pub const SAID_AGAIN: &str = "reader_said_again_total";
/// Records of ended jobs that are forgotten before their time, because the store is nearly full.
pub const SHORTENED: &str = "reader_shortened_total";
/// How full the store is where it is fullest; 0 without a limit.
pub const FULLNESS: &str = "reader_store_fullness";
/// Ends of jobs taken from their queue, by what became of them: `followed` by something, `nothing` to
/// follow, `unusable`, `lost` before it was followed.
pub const EFFECTS: &str = "reader_effects_total";
/// Commands that wait for their turn, each time one is looked at, by what became of them: `passed`, `waits`,
/// `cancelled`, `deadline`, `nothing` when the job had gone on or ended before, `unusable`.
pub const TURNS: &str = "reader_turns_total";
/// Flat reports by what became of them: `published` as an event, `nothing` new in it, `unknown` job,
/// `unusable`.
pub const REPORTS: &str = "reader_reports_total";
/// Events by what the search cluster did with them: `indexed`, `present` already, `refused` for what they
/// are; `unusable` when nobody can read them.
pub const SEARCH_DOCUMENTS: &str = "reader_search_documents_total";
/// Requests to the search cluster by outcome: `ok`, `busy`, `too_large`, `failed`, `refused`, `unreachable`,
/// `timeout`, `unreadable`.
pub const SEARCH_REQUESTS: &str = "reader_search_requests_total";
/// Time of one request with documents, in seconds.
pub const SEARCH_SECONDS: &str = "reader_search_bulk_seconds";
/// Age of the newest entry that the search cluster has, in seconds; 0 where another reader indexes.
pub const SEARCH_LAG: &str = "reader_search_lag_seconds";
/// Positions of the index that named no entry of the log any more, as [`VOID`].
pub const SEARCH_VOID: &str = "reader_search_void_positions_total";

/// Gives each its unit and its meaning.
pub fn describe() {
    describe_counter!(EVENTS, "Facts read from the log, by result");
    describe_counter!(MARKS, "Marks that were not believed, by reason");
    describe_gauge!(
        CLOCK,
        Unit::Seconds,
        "How far the clock is ahead of the store's"
    );
    describe_gauge!(LAG_SECONDS, Unit::Seconds, "Age of the newest entry folded");
    describe_gauge!(
        LAG_EVENTS,
        "Entries between the slowest partition and the end of the log"
    );
    describe_gauge!(
        LOG_SECONDS,
        Unit::Seconds,
        "Age of the oldest entry of the log, once older ones are gone"
    );
    describe_histogram!(
        FOLD_SECONDS,
        Unit::Seconds,
        "Time of one write to the store"
    );
    describe_histogram!(
        REBUILD_SECONDS,
        Unit::Seconds,
        "From taking partitions up until they are caught up"
    );
    describe_gauge!(
        OLDEST_SECONDS,
        Unit::Seconds,
        "Age of the oldest job that waits for its first worker, if it is five minutes or more"
    );
    describe_counter!(
        LEASES_LOST,
        "Partitions that were held and went to another reader"
    );
    describe_gauge!(PARTITIONS, "Partitions held");
    describe_counter!(VOID, "Positions that named no entry of the log any more");
    describe_counter!(TICKS, "Progress messages, by result");
    describe_counter!(REPORTS, "Flat reports of simple workers, by result");
    describe_counter!(TURNS, "Looks at jobs that wait for their turn, by result");
    describe_counter!(EFFECTS, "Ends of jobs that something may follow, by result");
    describe_counter!(LINES, "Lines of jobs' logs, by result");
    describe_counter!(SAID_AGAIN, "Live jobs said again, by what for");
    describe_counter!(SHORTENED, "Ended jobs forgotten early for want of room");
    describe_gauge!(FULLNESS, "How full the store is, from 0 to 1");
    describe_counter!(SEARCH_DOCUMENTS, "Events for the search cluster, by result");
    describe_counter!(SEARCH_REQUESTS, "Requests to the search cluster, by result");
    describe_histogram!(
        SEARCH_SECONDS,
        Unit::Seconds,
        "Time of one request with documents"
    );
    describe_gauge!(
        SEARCH_LAG,
        Unit::Seconds,
        "Age of the newest entry that the search cluster has"
    );
    describe_counter!(
        SEARCH_VOID,
        "Positions of the index that named no entry of the log any more"
    );
    describe_counter!(SWEPT, "Jobs ended because their deadline had passed");
}

/// Sets a gauge to a count.
pub(crate) fn set(name: &'static str, count: usize) {
    metrics::gauge!(name).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

/// Adds to a counter, under one result.
pub(crate) fn add(name: &'static str, result: &'static str, count: usize) {
    metrics::counter!(name, "result" => result).increment(count as u64);
}
