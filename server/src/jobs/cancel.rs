//! Asking to cancel a job.
//!
//! The wish is an event: durable, and seen by a worker that starts tomorrow. The broadcast only
//! makes it quick.
//!
//! A scheduled job may have hours to wait before a worker sees its command. No worker enters it before
//! the view is known to be complete up to shortly before `run_at`, so until then the server itself ends
//! it.

use std::{sync::Arc, time::Duration};

use vmctl_api_types::{JobId, JobState, ProblemType};
use vmctl_core::{
    clock,
    event::{Control, Event, EventData, EventType},
    fact::derived_id,
    record::{Record, Submission, Winner},
};

use crate::{
    app::App,
    error::ApiError,
    jobs::publish::{self, Published},
};

/// How long before `run_at` a server may still end a scheduled job: twice what a worker allows for
/// differing clocks and for a publish that takes its time.
const BEFORE_DUE: Duration = Duration::from_secs(60);

/// Publishes the wish to cancel a live job, and returns its record with the wish in it.
pub(crate) async fn cancel(
    app: &Arc<App>,
    id: JobId,
    record: Record,
    reason: Option<String>,
) -> Result<Published, ApiError> {
    let work = {
        let app = Arc::clone(app);
        async move { run(&app, id, record, reason).await }
    };
    publish::to_the_end(app, id, work).await
}

async fn run(
    app: &App,
    id: JobId,
    record: Record,
    reason: Option<String>,
) -> Result<Published, ApiError> {
    let (Some(winner), Some(submission)) = (&record.winner, &record.spec) else {
        return Err(ApiError::new(ProblemType::JobNotFound).job(id));
    };
    let control = Control::Cancel {
        job_id: id,
        epoch: winner.epoch,
        reason: reason.clone(),
    };
    let published = if record.cancel_requested().is_some() {
        // Asked before: only the broadcast may have been missed.
        Published {
            record,
            stored: true,
            fields: Vec::new(),
        }
    } else {
        let event = about(app, winner, submission, reason.clone());
        publish::publish(app, event, Some(record), false).await?
    };
    if let Some(event) = end_before_due(app, &published.record, reason) {
        return publish::publish(app, event, Some(published.record), false).await;
    }
    if let Err(error) = app.bus.publisher.broadcast(control).await {
        tracing::debug!(
            error = crate::error::chain(&error),
            "the cancel was not broadcast, workers see it with the job's next step"
        );
    }
    Ok(published)
}

/// Makes the end of a job that no worker can have begun, `None` for every other one. Saying it twice
/// says it once.
fn end_before_due(app: &App, record: &Record, reason: Option<String>) -> Option<Event> {
    let (winner, submission) = (record.winner.as_ref()?, record.spec.as_ref()?);
    let run_at = submission.spec.run_at?;
    let is_early = clock::add(app.now(), BEFORE_DUE) < run_at;
    if !is_early || record.may_have_begun() || winner.epoch != submission.epoch {
        return None;
    }
    let mut event = about(app, winner, submission, reason);
    let from = format!("{}:{}", event.subject, winner.epoch);
    event.id = derived_id(&from, "cancelled", run_at);
    event.event_type = EventType::Cancelled;
    event.data.state = JobState::Cancelled;
    Some(event)
}

/// Makes the wish to cancel.
fn about(app: &App, winner: &Winner, submission: &Submission, reason: Option<String>) -> Event {
    let mut data = EventData::new(winner.state, submission.spec.clone());
    data.epoch = winner.epoch;
    data.attempt = winner.attempt;
    data.seq = winner.seq;
    data.reason = reason;
    Event::new(
        clock::new_uuid(&*app.clock),
        EventType::CancelRequested,
        app.source(),
        app.now(),
        data,
    )
}
