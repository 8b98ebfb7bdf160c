//! Accepting a job.
//!
//! The command is published once and its confirm awaited; only then is the job accepted. The work
//! runs in a task of its own, because a client that leaves drops the handler. An unknown outcome is
//! said, never guessed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use vmctl_api_types::{JobId, JobState, ProblemType};
use vmctl_core::{
    clock,
    event::{Caller, Event, EventData, EventType, JobSpec, MAX_BODY},
    record::Record,
    store::project::Run,
    topology::Tier,
};

use crate::{
    app::{App, within},
    error::ApiError,
    http::key::IdempotencyKey,
    jobs::{
        admission::{self, Passage},
        entry::{self, Entrance, Wish},
        ids, publish,
        request::JobRequest,
        twins::{Ticket, Turn, mismatch},
    },
};

/// How long an advisory question to the store may hold up a submission.
const ADVISORY: Duration = Duration::from_millis(500);

/// A checked request, and who sends it how.
pub(crate) struct Submission {
    /// Part of a derived id: one key on two routes is two jobs.
    pub route: &'static str,
    pub request: JobRequest,
    pub key: Option<IdempotencyKey>,
    pub caller: Caller,
    pub traceparent: Option<String>,
}

/// An accepted job.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub record: Record,
    pub id: JobId,
    /// Whether an earlier request with the same key was the one.
    pub replayed: bool,
    /// Whether the view does not have it yet.
    pub degraded: bool,
    /// Fields that say what is left of the project's quota.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Whether it is another request's job, which has the name that this one wanted.
    pub is_other: bool,
}

/// Submits a job.
pub(crate) async fn submit(app: &Arc<App>, submission: Submission) -> Result<Accepted, ApiError> {
    let kind = submission.request.kind.to_string();
    let id = job_id(app, &submission);
    let submitting = {
        let app = Arc::clone(app);
        // In a box: a future is moved more than once on its way into a task, and this one is large.
        Box::pin(async move { run(&app, id, submission).await })
    };
    let outcome = publish::to_the_end(app, id, submitting).await;
    let word = match &outcome {
        Ok(accepted) if accepted.replayed => "replayed",
        Ok(_) => "accepted",
        Err(_) => "refused",
    };
    metrics::counter!("jobs_submitted_total", "kind" => kind, "outcome" => word).increment(1);
    outcome
}

fn job_id(app: &App, submission: &Submission) -> JobId {
    match &submission.key {
        None => clock::new_job_id(&*app.clock),
        Some(key) => ids::derive(
            &app.config.id_secret,
            &submission.caller.project_id,
            submission.route,
            key.as_str(),
            &submission.request.fingerprint,
        ),
    }
}

async fn run(app: &App, id: JobId, submission: Submission) -> Result<Accepted, ApiError> {
    let Some(key) = &submission.key else {
        admit(app, id, &submission).await?;
        return Box::pin(publish_command(app, id, submission, None)).await;
    };
    let fingerprint = &submission.request.fingerprint;
    let name = ids::short_hash(&[
        &submission.caller.project_id,
        submission.route,
        key.as_str(),
    ]);
    let patience = app.config.limits.twin_patience;
    let ticket = match app.twins.turn(&name, fingerprint, patience).await? {
        Turn::Landed(accepted) => {
            return Ok(Accepted {
                replayed: true,
                ..*accepted
            });
        }
        Turn::First(ticket) => ticket,
    };
    first(app, id, &name, submission, &ticket).await
}

async fn admit(app: &App, id: JobId, submission: &Submission) -> Result<(), ApiError> {
    let request = &submission.request;
    let wait = request.plan.run_at.map(|at| at.duration_since(app.now()));
    let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
    let queues = request.unique.iter().any(|unique| unique.queue);
    let passage = Passage::new(wait.and_then(Tier::at_most), queues);
    admission::admit(app, &request.kind, passage, id).await
}

/// Refuses a key that another request has taken, as far as the store remembers.
async fn claim(app: &App, name: &str, submission: &Submission) -> Result<(), ApiError> {
    let request = &submission.request;
    let live = request.plan.deadline.duration_since(app.now());
    let ttl = Duration::try_from(live).unwrap_or_default() + app.config.job_ttl;
    let holder = within(
        ADVISORY,
        app.store.claim(
            &submission.caller.project_id,
            &format!("idempotency:{name}"),
            &request.fingerprint,
            ttl,
        ),
    )
    .await;
    match holder {
        Ok(holder) if holder != request.fingerprint => Err(mismatch()),
        // The id is derived from the body too: without the claim two bodies are two jobs.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Answers from the record if the command is known to be accepted, else publishes it, again under
/// the same id if need be: copies are absorbed, a lost command is not.
///
/// What is refused takes no key: its user may send another body under the same key.
async fn first(
    app: &App,
    id: JobId,
    name: &str,
    submission: Submission,
    ticket: &Ticket,
) -> Result<Accepted, ApiError> {
    let project = &submission.caller.project_id;
    let known = within(ADVISORY, app.store.get(id))
        .await
        .ok()
        .and_then(|lookup| lookup.record)
        .filter(|record| record.project() == Some(project));
    if !known.as_ref().is_some_and(Record::is_accepted) {
        admit(app, id, &submission).await?;
    }
    claim(app, name, &submission).await?;
    let accepted = match known {
        Some(record) if record.is_accepted() => Accepted {
            record,
            id,
            is_other: false,
            replayed: true,
            degraded: false,
            fields: Vec::new(),
        },
        known => Box::pin(publish_command(app, id, submission, known)).await?,
    };
    ticket.land(&accepted);
    Ok(accepted)
}

async fn publish_command(
    app: &App,
    id: JobId,
    submission: Submission,
    known: Option<Record>,
) -> Result<Accepted, ApiError> {
    let request = &submission.request;
    if submission.request.is_too_large() {
        let detail = format!("the job's message would have more than {MAX_BODY} bytes");
        return Err(ApiError::new(ProblemType::BodyTooLarge).detail(detail));
    }
    let wish = Wish {
        project: &submission.caller.project_id,
        kind: &request.kind,
        run: Run { job: id, epoch: 0 },
        deadline: request.plan.deadline,
        keys: request.unique.iter().map(|u| u.key.clone()).collect(),
        frees: request.frees.iter().cloned().collect(),
        on_conflict: request.on_conflict,
    };
    let pass = match entry::enter(app, wish).await? {
        Entrance::Open(pass) => pass,
        Entrance::Existing(id, record) => {
            return Ok(Accepted {
                record: *record,
                id,
                is_other: true,
                replayed: false,
                degraded: false,
                fields: Vec::new(),
            });
        }
    };
    let fields = pass.fields.clone();
    let event = command(app, id, submission);
    let published = publish::publish(app, event, known, true).await;
    pass.settle(app, &published).await;
    let published = published?;
    Ok(Accepted {
        record: published.record,
        id,
        is_other: false,
        replayed: false,
        degraded: !published.stored,
        fields,
    })
}

fn command(app: &App, id: JobId, submission: Submission) -> Event {
    let now = app.now();
    let Submission {
        request,
        caller,
        traceparent,
        ..
    } = submission;
    let mut job = JobSpec {
        labels: request.labels,
        callback: request.callback,
        fp: request.fingerprint,
        unique: request.unique,
        frees: request.frees,
        ..JobSpec::new(
            id,
            request.kind,
            request.input,
            request.created_at,
            request.plan.deadline,
            caller,
        )
    };
    request.plan.apply(&mut job);
    let mut data = EventData::new(JobState::Queued, job);
    data.not_before = data.job.run_at;
    let mut event = Event::new(
        clock::new_uuid(&*app.clock),
        EventType::Submitted,
        app.source(),
        now,
        data,
    );
    event.traceparent = traceparent;
    event
}

/// The request as it would be submitted, for `validate_only`.
pub(crate) fn normalised(request: &JobRequest) -> Normalised<'_> {
    Normalised {
        valid: true,
        kind: request.kind.as_str(),
        input: &request.input,
        labels: &request.labels,
        run_at: request.plan.run_at,
        start_by: request.plan.start_by,
        deadline: request.plan.deadline,
        max_attempts: request.plan.max_attempts,
    }
}

/// Answer of `POST /v1/jobs?validate_only=true`.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Normalised<'a> {
    valid: bool,
    kind: &'a str,
    input: &'a serde_json::Value,
    labels: &'a BTreeMap<String, String>,
    run_at: Option<Timestamp>,
    start_by: Option<Timestamp>,
    deadline: Timestamp,
    max_attempts: u32,
}
