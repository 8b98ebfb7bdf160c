//! Running an ended job again, in its next epoch.
//!
//! The job keeps its id, so whatever it has made is found again. Two retries at the same moment open
//! the same epoch: the copy of the command is absorbed by the worker and by the merge.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use vmctl_api_types::{JobId, JobState, ProblemType};
use vmctl_core::{
    clock,
    event::{Event, EventData, EventType, MAX_COUNT},
    kinds::MAX_DEADLINE,
    record::{Record, Submission, Winner},
    store::project::Run,
};

use crate::{
    app::App,
    error::ApiError,
    jobs::{
        admission::{self, Passage},
        entry::{self, Entrance, Wish},
        publish::{self, Published},
        unique::OnConflict,
    },
};

/// Publishes the command that opens the next epoch of an ended job.
///
/// # Errors
///
/// `not-retryable` for a job that is live, has succeeded or has a parent, or has run as often as can be
/// counted; and whatever a submission may answer.
pub(crate) async fn retry(
    app: &Arc<App>,
    id: JobId,
    record: Record,
    traceparent: Option<String>,
) -> Result<Published, ApiError> {
    let may = |state| matches!(state, JobState::Failed | JobState::Cancelled);
    again(app, id, record, traceparent, may).await
}

/// The same for the delivery of a callback, which may also be repeated when it succeeded.
///
/// # Errors
///
/// `not-retryable` while it is live, and whatever a submission may answer.
pub(crate) async fn redeliver(
    app: &Arc<App>,
    id: JobId,
    record: Record,
    traceparent: Option<String>,
) -> Result<Published, ApiError> {
    again(app, id, record, traceparent, JobState::is_terminal).await
}

async fn again(
    app: &Arc<App>,
    id: JobId,
    record: Record,
    traceparent: Option<String>,
    may: fn(JobState) -> bool,
) -> Result<Published, ApiError> {
    let work = {
        let app = Arc::clone(app);
        async move { run(&app, id, record, traceparent, may).await }
    };
    publish::to_the_end(app, id, work).await
}

async fn run(
    app: &App,
    id: JobId,
    record: Record,
    traceparent: Option<String>,
    may: fn(JobState) -> bool,
) -> Result<Published, ApiError> {
    let (Some(winner), Some(submission)) = (&record.winner, &record.spec) else {
        return Err(ApiError::new(ProblemType::JobNotFound).job(id));
    };
    if !may(winner.state) {
        let refused = ApiError::new(ProblemType::NotRetryable).job(id);
        return Err(refused.detail(format!("the job is {}", winner.state)));
    }
    if let Some(parent) = submission.spec.parent_id {
        let refused = ApiError::new(ProblemType::NotRetryable).job(id);
        let detail =
            format!("job {parent} asked for it and has gone on without it: retry that one");
        return Err(refused.detail(detail));
    }
    if winner.epoch >= MAX_COUNT {
        let refused = ApiError::new(ProblemType::NotRetryable).job(id);
        return Err(refused.detail("no worker believes a later run than this one"));
    }
    let kind = &submission.spec.kind;
    if app.registry.get(kind).is_none() {
        let unknown = ApiError::new(ProblemType::UnknownKind).job(id);
        return Err(unknown.detail(format!("there is no kind {kind} any more")));
    }
    let mut event = command(app, winner, submission);
    let queues = event.is_in_line();
    admission::admit(app, kind, Passage::new(None, queues), id).await?;
    event.traceparent = traceparent;
    let spec = &event.data.job;
    let wish = Wish {
        project: &spec.auth.project_id,
        kind,
        run: Run {
            job: id,
            epoch: event.data.epoch,
        },
        deadline: spec.deadline,
        keys: spec.unique.iter().map(|u| u.key.clone()).collect(),
        frees: spec.frees.iter().cloned().collect(),
        // As the job was submitted.
        on_conflict: if queues {
            OnConflict::Queue
        } else {
            OnConflict::Reject
        },
    };
    let pass = match entry::enter(app, wish).await? {
        Entrance::Open(pass) => pass,
        // Not for a wish that rejects.
        Entrance::Existing(job, _) => return Err(ApiError::new(ProblemType::Duplicate).job(job)),
    };
    let fields = pass.fields.clone();
    let published = publish::publish(app, event, Some(record), true).await;
    pass.settle(app, &published).await;
    Ok(Published {
        fields,
        ..published?
    })
}

fn command(app: &App, winner: &Winner, submission: &Submission) -> Event {
    let now = app.now();
    let mut job = submission.spec.clone();
    let since = began(submission);
    let later = |at: Timestamp| clock::add(now, length(since, at));
    (job.deadline, job.start_by) = (later(job.deadline), job.start_by.map(later));
    job.run_at = None;
    let mut data = EventData::new(JobState::Queued, job);
    data.epoch = winner.epoch + 1;
    Event::new(
        clock::new_uuid(&*app.clock),
        EventType::Redriven,
        app.source(),
        now,
        data,
    )
}

/// When the time of the epoch that ended began: with the message that opened it, or when it was due.
/// When the log has dropped that message, it is counted from the job's creation: rather too much time
/// than none.
fn began(submission: &Submission) -> Timestamp {
    let opened = if submission.original {
        submission.at
    } else {
        submission.spec.created_at
    };
    submission.spec.run_at.map_or(opened, |at| at.max(opened))
}

fn length(since: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(since))
        .unwrap_or_default()
        .min(MAX_DEADLINE)
}

#[cfg(test)]
mod tests {
    use vmctl_core::clock::from_unix_ms;

    use super::*;

    #[test]
    fn a_run_is_as_long_as_the_one_before_and_never_without_time() {
        let submission = |original, at| {
            let spec = serde_json::json!({
                "id": "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a", "kind": "vm.create", "input": {},
                "created_at": from_unix_ms(0), "deadline": from_unix_ms(100_000), "max_attempts": 5,
                "fp": "", "auth": {"user_id": "u", "user_name": "u", "project_id": "p"},
            });
            Submission {
                epoch: 1,
                original,
                id: uuid::Uuid::nil(),
                at: from_unix_ms(at),
                spec: serde_json::from_value(spec).unwrap(),
            }
        };
        let whole = |s: &Submission| length(began(s), s.spec.deadline);
        assert_eq!(whole(&submission(true, 40_000)), Duration::from_secs(60));
        // Only its end is left in the log, and that came after the deadline.
        assert_eq!(whole(&submission(false, 400_000)), Duration::from_secs(100));
        let mut long = submission(false, 0);
        long.spec.deadline = from_unix_ms(i64::from(u32::MAX));
        assert_eq!(whole(&long), MAX_DEADLINE);
        // What it waited for its hour does not count.
        let mut scheduled = submission(true, 40_000);
        scheduled.spec.run_at = Some(from_unix_ms(70_000));
        assert_eq!(whole(&scheduled), Duration::from_secs(30));
    }
}
