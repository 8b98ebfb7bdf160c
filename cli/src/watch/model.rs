//! What a job's state means to a person and to the exit code. Pure.

use jiff::Timestamp;
use serde_json::Value;
use vmctl_api_types::{Job, JobError, JobState, Progress};

use crate::{exit::Exit, text};

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an output.
    Succeeded,
    /// With an error.
    Failed,
    /// By request.
    Cancelled,
    /// Nobody can tell: the worker was lost, or the record is gone.
    Unknown,
}

impl Outcome {
    /// Returns the word for people and for JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the exit code of a command that watched one such job.
    pub const fn exit(self) -> Exit {
        match self {
            Self::Succeeded => Exit::Ok,
            Self::Failed => Exit::JobFailed,
            Self::Cancelled => Exit::JobCancelled,
            Self::Unknown => Exit::OutcomeUnknown,
        }
    }
}

/// Returns how a job ended, if it has.
pub fn outcome(job: &Job) -> Option<Outcome> {
    match job.state {
        JobState::Succeeded => Some(Outcome::Succeeded),
        JobState::Cancelled => Some(Outcome::Cancelled),
        JobState::Failed => Some(match &job.error {
            Some(error) if error_slug(error) == "outcome-unknown" => Outcome::Unknown,
            _ => Outcome::Failed,
        }),
        JobState::Queued | JobState::Running | JobState::Waiting | JobState::Retrying => None,
    }
}

/// Returns the word for the state. `cancelling` is only a word of this client: a live job that was
/// asked to stop.
pub fn word(job: &Job) -> &'static str {
    match outcome(job) {
        Some(Outcome::Unknown) => "outcome unknown",
        Some(outcome) => outcome.as_str(),
        None if job.cancel_requested_at.is_some() => "cancelling",
        None => job.state.as_str(),
    }
}

/// Returns `run-at=…` of a job that is scheduled, `next-attempt=…` of one that waits for its next attempt.
pub fn due(job: &Job, now: Timestamp) -> Option<String> {
    let (name, at) = match job.state {
        JobState::Queued => ("run-at", job.run_at?),
        JobState::Retrying => ("next-attempt", job.next_attempt_at?),
        _ => return None,
    };
    (at > now).then(|| format!("{name}={}", at.strftime("%Y-%m-%dT%H:%M:%SZ")))
}

/// Returns `3/5 attach-network` of a live job.
pub fn step(job: &Job) -> Option<String> {
    let progress = job.progress.as_ref().filter(|_| !job.state.is_terminal())?;
    Some(step_of(progress))
}

/// Returns `3/5 attach-network`, or the name alone.
pub fn step_of(progress: &Progress) -> String {
    let name = text::clean(&progress.step);
    match (progress.step_number, progress.steps) {
        (Some(number), Some(steps)) => format!("{number}/{steps} {name}"),
        (Some(number), None) => format!("{number} {name}"),
        _ => name,
    }
}

/// Returns the error's type without the path that may stand before it.
fn error_slug(error: &JobError) -> &str {
    error.error_type.rsplit('/').next().unwrap_or_default()
}

/// Writes an error on one line.
pub fn error_line(error: &JobError) -> String {
    let line = match &error.detail {
        Some(detail) => format!("{}: {}: {detail}", error_slug(error), error.title),
        None => format!("{}: {}", error_slug(error), error.title),
    };
    text::clean(&line)
}

/// Writes a value on one line: texts as they are, the rest as JSON.
pub fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text::clean(text),
        other => text::clean(&other.to_string()),
    }
}

/// Returns the exit code for several: the common one, else "mixed".
pub fn combine(exits: &[Exit]) -> Exit {
    match exits {
        [] => Exit::Ok,
        [first, rest @ ..] if rest.iter().all(|exit| exit == first) => *first,
        _ => Exit::Mixed,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A running job with its progress; `change` alters the document first.
    pub(crate) fn job(change: &Value) -> Job {
        let mut document = json!({
            "id": "7fda68b7-b4de-85a6-99fd-57b019cf19ae", "kind": "vm.create", "state": "running",
            "terminal": false, "project_id": "p", "owner": {"user_id": "u", "user_name": "joe"},
            "input": {"vm_hostname": "lxabc01"}, "output": null, "error": null,
            "progress": {"percent": 40, "step": "boot", "step_number": 3, "steps": 5, "at": "2026-11-23T17:44:00Z"},
            "attempt": 1, "max_attempts": 5, "epoch": 0, "labels": {},
            "created_at": "2026-11-23T17:43:00Z", "started_at": "2026-11-23T17:43:01Z", "finished_at": null,
            "next_attempt_at": null, "deadline": "2026-11-24T17:43:00Z", "expires_at": "2026-11-25T17:43:00Z",
            "cancel_requested_at": null, "request_id": null,
            "links": {"self": "/", "events": "/", "cancel": "/"},
        });
        for (key, value) in change.as_object().unwrap() {
            document[key] = value.clone();
        }
        serde_json::from_value(document).unwrap()
    }

    fn failed(error_type: &str) -> Job {
        job(&json!({"state": "failed", "terminal": true,
            "error": {"type": error_type, "title": "No luck", "detail": "port\x1b[2J 7", "retryable": false}}))
    }

    #[test]
    fn states_become_outcomes_and_exit_codes() {
        let live = ["queued", "running", "waiting", "retrying"];
        for state in live {
            assert_eq!(outcome(&job(&json!({"state": state}))), None, "{state}");
        }
        let ended = [
            (job(&json!({"state": "succeeded"})), "succeeded", 0),
            (failed("quota"), "failed", 10),
            (failed("deadline"), "failed", 10),
            (job(&json!({"state": "failed"})), "failed", 10),
            (job(&json!({"state": "cancelled"})), "cancelled", 11),
            (failed("outcome-unknown"), "outcome unknown", 12),
            (failed("/problems/outcome-unknown"), "outcome unknown", 12),
        ];
        for (job, expected, code) in ended {
            assert_eq!(
                (word(&job), outcome(&job).unwrap().exit().code()),
                (expected, code)
            );
        }
    }

    #[test]
    fn a_live_job_that_was_asked_to_stop_is_cancelling() {
        let asked = "2026-11-23T17:44:00Z";
        assert_eq!(
            word(&job(&json!({"cancel_requested_at": asked}))),
            "cancelling"
        );
        assert_eq!(
            word(&job(
                &json!({"cancel_requested_at": asked, "state": "succeeded"})
            )),
            "succeeded"
        );
    }

    #[test]
    fn steps_and_errors_are_one_clean_line() {
        assert_eq!(step(&job(&json!({}))).as_deref(), Some("3/5 boot"));
        assert_eq!(step(&job(&json!({"state": "succeeded"}))), None);
        let error = failed("/problems/provider-quota").error.unwrap();
        assert_eq!(error_line(&error), "provider-quota: No luck: port[2J 7");
    }

    #[test]
    fn several_outcomes_are_one_code_or_mixed() {
        assert_eq!(combine(&[Exit::Ok, Exit::Ok]), Exit::Ok);
        assert_eq!(
            combine(&[Exit::JobFailed, Exit::JobFailed]),
            Exit::JobFailed
        );
        assert_eq!(combine(&[Exit::Ok, Exit::JobFailed]), Exit::Mixed);
        assert_eq!(combine(&[Exit::NotFound]), Exit::NotFound);
    }
}
