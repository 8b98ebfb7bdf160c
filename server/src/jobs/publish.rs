//! Publishing an event about a job, and writing it ahead of the log.

use axum::http::{HeaderName, HeaderValue};
use tokio::time::timeout;
use tracing::Instrument;
use vmctl_api_types::JobId;
use vmctl_core::{event::Event, fact::JobFact, merge::merge, record::Record};
use vmctl_trace::Operation;

use crate::{
    app::App,
    error::{ApiError, outcome_unknown, publish_error},
};

/// A confirmed event.
pub(crate) struct Published {
    /// Fields that say what is left of the project's quota, after a submission.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// The record, with the event in it.
    pub record: Record,
    /// Whether the view has it too.
    pub stored: bool,
}

/// Runs work that publishes to its end: a client that leaves drops the handler, and must not drop
/// what is half said.
pub(crate) fn to_the_end<T, W>(
    app: &App,
    id: JobId,
    work: W,
) -> impl Future<Output = Result<T, ApiError>> + use<T, W>
where
    T: Send + 'static,
    W: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    // Moved away at once: it is large.
    let task = app.tasks.spawn(work.in_current_span());
    async move {
        let ended = task.await;
        ended.unwrap_or_else(|panic| Err(outcome_unknown(id).because(panic)))
    }
}

/// Publishes, waits for the confirm, then tells the view, as far as it answers at once.
///
/// `base` is the record that the event goes on from, if there is one.
pub(crate) async fn publish(
    app: &App,
    mut event: Event,
    base: Option<Record>,
    confirmed: bool,
) -> Result<Published, ApiError> {
    let job = event.subject;
    let span = tracing::info_span!(
        "publish",
        otel.kind = "producer",
        job.kind = %event.data.job.kind,
    );
    if let Some(ours) = vmctl_trace::of(&span) {
        event.traceparent = Some(ours);
    }
    let message = event.to_due_message(app.now());
    vmctl_trace::message(
        &span,
        Operation::Publish,
        &vmctl_trace::Message {
            exchange: &message.exchange,
            routing_key: &message.routing_key.to_string(),
            id: &message.message_id,
            job: &message.correlation_id,
        },
    );
    app.bus
        .publisher
        .publish(message)
        .instrument(span)
        .await
        .map_err(|error| publish_error(error, job))?;
    tracing::info!(
        job.id = %job,
        job.kind = %event.data.job.kind,
        event = event.event_type.word(),
        "published"
    );
    let fact = JobFact {
        confirmed,
        ..JobFact::from_event(event, None, app.retention())
    };
    let now = app.now();
    let write = app.store.prewrite(&fact, now);
    let stored = match timeout(app.config.limits.prewrite_budget, write).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(error = crate::error::chain(&error), "not written ahead");
            false
        }
        Err(_) => false,
    };
    if !stored {
        metrics::counter!("prewrite_failed_total").increment(1);
    }
    let mut record = base.unwrap_or_default();
    merge(&mut record, &fact, now);
    Ok(Published {
        record,
        stored,
        fields: Vec::new(),
    })
}
