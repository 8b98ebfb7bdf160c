//! Running an ended job again, in its next epoch.
//!
//! The job keeps its id, so whatever it has made is found again. Two retries at the same moment open
//! the same epoch: the copy of the command is absorbed by the worker and by the merge.

use std::{sync::Arc, time::Duration};

use vmctl_api_types::{JobId, JobState, ProblemType};
use vmctl_core::{
    clock,
    event::{Event, EventData, EventType},
    record::{Record, Submission, Winner},
};

use crate::{
    app::App,
    error::ApiError,
    jobs::{
        admission,
        publish::{self, Published},
    },
};

/// Publishes the command that opens the next epoch of an ended job.
///
/// # Errors
///
/// `not-retryable` for a job that is live or has succeeded, and whatever a submission may answer.
pub(crate) async fn retry(
    app: &Arc<App>,
    id: JobId,
    record: Record,
    traceparent: Option<String>,
) -> Result<Published, ApiError> {
    let work = {
        let app = Arc::clone(app);
        async move { run(&app, id, record, traceparent).await }
    };
    publish::to_the_end(app, id, work).await
}

async fn run(
    app: &App,
    id: JobId,
    record: Record,
    traceparent: Option<String>,
) -> Result<Published, ApiError> {
    let (Some(winner), Some(submission)) = (&record.winner, &record.spec) else {
        return Err(ApiError::new(ProblemType::JobNotFound).job(id));
    };
    if !matches!(winner.state, JobState::Failed | JobState::Cancelled) {
        let refused = ApiError::new(ProblemType::NotRetryable).job(id);
        return Err(refused.detail(format!("the job is {}", winner.state)));
    }
    let kind = &submission.spec.kind;
    if app.registry.get(kind).is_none() {
        let unknown = ApiError::new(ProblemType::UnknownKind).job(id);
        return Err(unknown.detail(format!("there is no kind {kind} any more")));
    }
    admission::admit(app, kind, id).await?;
    let mut event = command(app, winner, submission);
    event.traceparent = traceparent;
    publish::publish(app, event, Some(record), true).await
}

fn command(app: &App, winner: &Winner, submission: &Submission) -> Event {
    let now = app.now();
    let mut job = submission.spec.clone();
    job.deadline = clock::add(now, length(submission));
    let mut data = EventData::new(JobState::Queued, job);
    data.epoch = winner.epoch.saturating_add(1);
    Event::new(
        clock::new_uuid(&*app.clock),
        EventType::Redriven,
        app.source(),
        now,
        data,
    )
}

/// How much time the epoch that ended had: from the message that opened it to its deadline.
fn length(submission: &Submission) -> Duration {
    let given = submission.spec.deadline.duration_since(submission.at);
    Duration::try_from(given).unwrap_or_default()
}
