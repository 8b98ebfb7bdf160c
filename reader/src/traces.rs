//! The reader's part of a job's trace: a span for each event that becomes visible.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{Span, field};
use vmctl_core::{
    JobId,
    bus::{HeaderValue, LogEntry},
    clock,
    partition::Partition,
    store::PartitionBatch,
};

/// An event that is older is being read again, and was traced when it was new.
const FRESH: Duration = Duration::from_secs(60);

/// Begins a span for each new entry whose trace is recorded and whose partition is written; each ends when it is dropped.
pub(crate) fn begin(entries: &[LogEntry], batches: &[PartitionBatch], now: Timestamp) -> Vec<Span> {
    let traced = entries.iter().filter_map(|entry| {
        let Some(HeaderValue::Text(parent)) = entry.message.headers.get("traceparent") else {
            return None;
        };
        let at = entry.message.timestamp?;
        let is_new = clock::add(at, FRESH) >= now;
        let job: JobId = entry.message.correlation_id.as_deref()?.parse().ok()?;
        let partition = Partition::of(job);
        let is_written = batches.iter().any(|batch| batch.partition == partition);
        (is_new && is_written && vmctl_trace::is_sampled(parent)).then(|| span(entry, job, parent))
    });
    traced.collect()
}

fn span(entry: &LogEntry, job: JobId, parent: &str) -> Span {
    let span = tracing::info_span!(
        "fold",
        job.id = %job,
        trace.id = field::Empty,
        otel.kind = "consumer",
        otel.name = format!("fold {}", entry.message.message_type.as_deref().unwrap_or_default()),
        log.offset = entry.offset,
    );
    vmctl_trace::enter(&span, Some(parent));
    vmctl_trace::message(
        &span,
        vmctl_trace::Operation::Process,
        &vmctl_trace::Message {
            exchange: &entry.message.exchange,
            routing_key: &entry.message.routing_key,
            id: entry.message.message_id.as_deref().unwrap_or_default(),
            job: &job.to_string(),
        },
    );
    span
}
