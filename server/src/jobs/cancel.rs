//! Asking to cancel a job.
//!
//! The wish is an event: durable, and seen by a worker that starts tomorrow. The broadcast only
//! makes it quick.

use std::sync::Arc;

use vmctl_api_types::{JobId, ProblemType};
use vmctl_core::{
    clock,
    event::{Control, Event, EventData, EventType},
    record::{Record, Submission, Winner},
};

use crate::{
    app::App,
    error::ApiError,
    jobs::publish::{self, Published},
};

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
        }
    } else {
        let event = wish(app, winner, submission, reason);
        publish::publish(app, event, Some(record), false).await?
    };
    if let Err(error) = app.bus.publisher.broadcast(control).await {
        tracing::debug!(
            error = crate::error::chain(&error),
            "the cancel was not broadcast, workers see it with the job's next step"
        );
    }
    Ok(published)
}

fn wish(app: &App, winner: &Winner, submission: &Submission, reason: Option<String>) -> Event {
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
