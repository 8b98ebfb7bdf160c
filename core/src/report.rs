//! What a worker says that knows nothing but a job's id: a flat JSON object, on the routing key
//! `reader` of the exchange `jobs`.
//!
//! ```json
//! {"uuid": "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a", "state": "SUCCESSFULL"}
//! ```
//!
//! It is no event: it says neither what job that is nor which run. A reader looks these up and
//! publishes the events that are meant ([`Report::events`]), which everything else follows. Members
//! that are not listed here are ignored.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use vmctl_api_types::{JobError, JobId, JobState};

use crate::{
    event::{Event, EventData, EventType, MAX_BODY, ParseEventError},
    fact::derived_id,
    record::Record,
};

/// The routing key of such a message.
pub const KEY: &str = "reader";

/// A flat report.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Report {
    /// The job.
    pub uuid: JobId,
    /// How it is, in the words of the compat view or in those of the contract.
    pub state: Word,
    /// The run that it is about; the current one when absent.
    #[serde(default)]
    pub epoch: Option<u32>,
    /// What came out.
    #[serde(default)]
    pub output: Option<Value>,
    /// Why it failed, for people.
    #[serde(default)]
    pub error: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub worker: Option<String>,
}

/// A state that can be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Word {
    /// It runs.
    #[serde(rename = "INPROGRESS", alias = "running")]
    Running,
    /// It ended with an output.
    #[serde(rename = "SUCCESSFULL", alias = "succeeded")]
    Succeeded,
    /// It ended with an error.
    #[serde(rename = "FAILED", alias = "failed")]
    Failed,
    /// It ended because somebody asked for it.
    #[serde(rename = "CANCELLED", alias = "cancelled")]
    Cancelled,
}

impl Word {
    const fn means(self) -> (EventType, JobState) {
        match self {
            Self::Running => (EventType::Started, JobState::Running),
            Self::Succeeded => (EventType::Succeeded, JobState::Succeeded),
            Self::Failed => (EventType::Failed, JobState::Failed),
            Self::Cancelled => (EventType::Cancelled, JobState::Cancelled),
        }
    }
}

impl Report {
    /// Reads a message body.
    ///
    /// # Errors
    ///
    /// [`ParseEventError`] when it is too large or not of this form.
    pub fn parse(body: &[u8]) -> Result<Self, ParseEventError> {
        if body.len() > MAX_BODY {
            return Err(ParseEventError::TooLarge(body.len()));
        }
        serde_json::from_slice(body).map_err(|e| ParseEventError::Malformed(e.to_string()))
    }

    /// Returns the events that are meant, about the job as `record` has it; none when the record has
    /// it already, has ended, is in another run, or is not to run yet. Who says how a job has ended without
    /// having said that it runs means both: an end without a start is not believed
    /// ([`belief`](crate::belief)).
    ///
    /// Ids are derived from what is said about which attempt: saying it twice says it once.
    pub fn events(&self, record: &Record, source: &str, now: Timestamp) -> Vec<Event> {
        let started = Self {
            state: Word::Running,
            ..self.clone()
        };
        let begins = self.state != Word::Running && !record.may_have_begun();
        let events = [
            begins.then(|| started.event(record, source, now)).flatten(),
            self.event(record, source, now),
        ];
        events.into_iter().flatten().collect()
    }

    fn event(&self, record: &Record, source: &str, now: Timestamp) -> Option<Event> {
        let (winner, job) = (record.winner.as_ref()?, &record.spec.as_ref()?.spec);
        let (event_type, state) = self.state.means();
        let other_run = self.epoch.is_some_and(|epoch| epoch != winner.epoch);
        let is_early = job.run_at.is_some_and(|at| now < at);
        if other_run || is_early || winner.state.is_terminal() || winner.state == state {
            return None;
        }
        let said = format!("{}:{}:{}", job.id, winner.epoch, winner.attempt);
        let id = derived_id(&said, event_type.word(), job.created_at);
        let error = (state == JobState::Failed).then(|| JobError {
            error_type: "worker-failed".to_owned(),
            title: "the worker said that the job failed".to_owned(),
            detail: self.error.clone(),
            retryable: false,
            attempt: Some(winner.attempt),
            worker: self.worker.clone(),
        });
        let data = EventData {
            epoch: winner.epoch,
            attempt: winner.attempt,
            seq: winner.seq,
            output: self.output.clone().filter(|_| state == JobState::Succeeded),
            error,
            worker: self.worker.clone(),
            command_seq: (event_type == EventType::Started).then_some(winner.seq),
            progress: record.progress().cloned(),
            ..EventData::new(state, job.clone())
        };
        let event = Event::new(id, event_type, source, now, data);
        Some(if event.to_body().len() > MAX_BODY {
            too_large(event)
        } else {
            event
        })
    }
}

/// The end of a job whose own end would be larger than a message may be: it fails where everybody
/// sees it.
fn too_large(mut event: Event) -> Event {
    event.event_type = EventType::Failed;
    event.data.state = JobState::Failed;
    event.data.output = None;
    event.data.progress = None;
    event.data.error = Some(JobError {
        error_type: "outcome-too-large".to_owned(),
        title: "the job's outcome is too large to be told".to_owned(),
        detail: Some("what it has made, such as a machine, may remain".to_owned()),
        retryable: false,
        attempt: Some(event.data.attempt),
        worker: None,
    });
    event
}
