//! Callbacks: checked when a job is submitted, and shown as far as the view knows them.
//!
//! A delivery is a job, so how a callback stands is what the record of that job says. Its id is
//! derived from the job and the run; nothing else ties the two.

use jiff::Timestamp;
use serde_json::Value;
use vmctl_api_types::{
    Callback, CallbackDelivery, CallbackState, CallbackStatus, FieldError, JobId, JobState,
    ProblemType,
};
use vmctl_core::{
    callback::{delivery_id, is_secret_ref},
    event::EventType,
    record::{Record, Winner},
};
use vmctl_egress::{GuardError, ResolveError};

use crate::{app::App, error::ApiError};

/// Runs of one job whose callbacks are shown.
const RUNS: u32 = 16;

/// Reads the member `callback` of a submission; every error has its pointer.
pub(crate) fn read(given: Option<Value>, errors: &mut Vec<FieldError>) -> Option<Callback> {
    let value = given.filter(|value| !value.is_null())?;
    let mut refuse = |name: &str, code: &str, detail: &str| {
        errors.push(FieldError {
            pointer: format!("/callback{name}"),
            code: code.to_owned(),
            detail: detail.to_owned(),
        });
    };
    let Value::Object(fields) = &value else {
        refuse("", "type", "must be an object");
        return None;
    };
    let mut good = true;
    for (name, value) in fields {
        let wrong = match (name.as_str(), value) {
            ("url", Value::String(_)) | ("full", Value::Bool(_)) => None,
            ("url", _) => Some(("type", "must be a string")),
            ("full", _) => Some(("type", "must be true or false")),
            ("events", Value::Array(words)) if *words == ["terminal"] => None,
            ("events", _) => Some(("enum", "must be [\"terminal\"]")),
            ("secret_ref", Value::String(text)) if is_secret_ref(text) => None,
            ("secret_ref", _) => Some(("pattern", "must match ^[A-Za-z0-9_-]{1,64}$")),
            _ => Some(("unknown-field", "is not known")),
        };
        if let Some((code, detail)) = wrong {
            good = false;
            // Unknown names are the caller's words: the pointer must stay one.
            let pointer = vmctl_core::pointer::member("", name);
            refuse(&pointer, code, detail);
        }
    }
    if !fields.contains_key("url") {
        refuse("/url", "required", "is missing");
        return None;
    }
    good.then(|| serde_json::from_value(value).ok()).flatten()
}

/// Refuses a callback whose address may not be called. A resolver that does not answer holds up
/// nobody: the worker looks again, at each attempt.
pub(crate) async fn check(app: &App, callback: Option<&Callback>) -> Result<(), ApiError> {
    let Some(callback) = callback else {
        return Ok(());
    };
    match app.config.callbacks.check(&callback.url).await {
        Ok(_) | Err(GuardError::Unresolved(ResolveError::Timeout)) => Ok(()),
        Err(refused) => Err(ApiError::new(ProblemType::CallbackForbidden)
            .detail(refused.to_string())
            .errors(vec![FieldError {
                pointer: "/callback/url".to_owned(),
                code: "callback-forbidden".to_owned(),
                detail: refused.to_string(),
            }])),
    }
}

/// Says how the callback of a job's current run stands; `None` when the job has none.
pub(crate) async fn status(app: &App, record: &Record) -> Result<Option<CallbackStatus>, ApiError> {
    let Some(Called {
        job,
        callback,
        winner,
    }) = of(record)
    else {
        return Ok(None);
    };
    if !winner.state.is_terminal() {
        return Ok(record.callback_to_come());
    }
    let lookup = app.get(delivery_id(job, winner.epoch)).await?;
    Ok(Some(show(callback, lookup.record.as_ref())))
}

/// Lists the callbacks of a job's runs, the newest first. Of earlier runs, those whose delivery is
/// still known.
pub(crate) async fn list(app: &App, record: &Record) -> Result<Vec<CallbackDelivery>, ApiError> {
    let Some(Called {
        job,
        callback,
        winner,
    }) = of(record)
    else {
        return Ok(Vec::new());
    };
    let epochs: Vec<u32> = (0..=winner.epoch).rev().take(RUNS as usize).collect();
    let ids: Vec<JobId> = epochs
        .iter()
        .map(|epoch| delivery_id(job, *epoch))
        .collect();
    let lookups = app.bounded(app.store.get_many(&ids)).await?;
    let mut items = Vec::new();
    for ((epoch, id), lookup) in epochs.into_iter().zip(ids).zip(lookups) {
        let known = lookup.record.as_ref();
        let current = epoch == winner.epoch;
        if known.is_none() && !current {
            continue;
        }
        let status = if current && !winner.state.is_terminal() {
            record.callback_to_come()
        } else {
            Some(show(callback, known))
        };
        items.extend(status.map(|status| delivery(id, epoch, status, known)));
    }
    Ok(items)
}

/// Finds the run of a job whose callback has this id.
pub(crate) fn run_of(record: &Record, id: JobId) -> Option<u32> {
    let Called { job, winner, .. } = of(record)?;
    let mut epochs = (0..=winner.epoch).rev().take(RUNS as usize);
    epochs.find(|epoch| delivery_id(job, *epoch) == id)
}

/// Describes one delivery.
pub(crate) fn delivery(
    id: JobId,
    epoch: u32,
    status: CallbackStatus,
    known: Option<&Record>,
) -> CallbackDelivery {
    let winner = known.and_then(|record| record.winner.as_ref());
    CallbackDelivery {
        id,
        epoch,
        status,
        job_state: winner.map(|w| w.state),
        error: winner.and_then(|w| w.body.error.clone()),
        finished_at: known.and_then(Record::finished_at),
    }
}

/// Says what the record of a delivery means for its callback.
pub(crate) fn show(callback: &Callback, known: Option<&Record>) -> CallbackStatus {
    let winner = known.and_then(|record| record.winner.as_ref());
    let (state, attempts, next) = match winner {
        // The job has just ended: its delivery is on the way to the view.
        None => (CallbackState::Delivering, 0, None),
        Some(winner) => match winner.state {
            JobState::Succeeded => (CallbackState::Delivered, winner.attempt, None),
            JobState::Failed | JobState::Cancelled => (CallbackState::Failed, winner.attempt, None),
            JobState::Running | JobState::Waiting
                // Else it waits for a place at its receiver.
                if winner.event_type != EventType::Continued =>
            {
                (CallbackState::Delivering, winner.attempt, None)
            }
            // The attempt that is named has not been made yet.
            _ => (
                CallbackState::Delivering,
                winner.attempt.saturating_sub(1),
                due(winner),
            ),
        },
    };
    CallbackStatus {
        state,
        url: callback.url.clone(),
        attempts,
        last_status: winner.and_then(last_status),
        next_attempt_at: next,
    }
}

fn due(winner: &Winner) -> Option<Timestamp> {
    winner.body.not_before
}

/// The HTTP status of the newest answer: in the output of a delivery, or in the type of its error.
fn last_status(winner: &Winner) -> Option<u16> {
    let delivered = winner
        .body
        .output
        .as_ref()
        .and_then(|o| o["status"].as_u64());
    let refused = || {
        let error = winner.body.error.as_ref()?;
        error.error_type.strip_prefix("http-")?.parse().ok()
    };
    delivered
        .and_then(|status| u16::try_from(status).ok())
        .or_else(refused)
}

/// What is known of a job that has a callback.
struct Called<'a> {
    job: JobId,
    callback: &'a Callback,
    winner: &'a Winner,
}

fn of(record: &Record) -> Option<Called<'_>> {
    let spec = &record.spec.as_ref()?.spec;
    Some(Called {
        job: spec.id,
        callback: spec.callback.as_ref()?,
        winner: record.winner.as_ref()?,
    })
}
