//! What a stream of events carries, frame by frame.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{JobError, JobEvent, JobId, JobState, Kind, Progress};

/// One event of a stream: a CloudEvents 1.0 document in structured mode.
///
/// The frame's `event` is the word in `type` (`started`, `progress`, `succeeded`, …) and its `id` is
/// `id`; a frame about progress has none, because it is not repeated to who reconnects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StreamEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// Identifies the event, the same on every connection and after a rebuild of the view.
    pub id: String,
    /// `jobs.<word>.v1`, where the word says what happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The job's path.
    pub source: String,
    /// The job.
    pub subject: JobId,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The rest.
    pub data: StreamEventData,
}

/// What an event of a stream says about its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StreamEventData {
    /// What the job does.
    pub kind: Kind,
    /// The state that the event announced.
    pub state: JobState,
    /// The run.
    pub epoch: u32,
    /// The try inside the run.
    pub attempt: u32,
    /// Orders messages inside one attempt.
    pub seq: u32,
    /// Progress, if it carried any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Output, if it carried any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Error, if it carried any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// The worker that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

/// A frame `gap`: events may have been missed. The frame after it is a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StreamGap {
    /// One line for people.
    pub reason: String,
}

impl StreamEvent {
    /// Shows an entry of a job's history as an event of a stream.
    pub fn new(job: JobId, kind: Kind, event: JobEvent) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: event.id,
            event_type: format!("jobs.{}.v1", event.event_type),
            source: format!("/v1/jobs/{job}"),
            subject: job,
            time: event.time,
            datacontenttype: "application/json".to_owned(),
            data: StreamEventData {
                kind,
                state: event.state,
                epoch: event.epoch,
                attempt: event.attempt,
                seq: event.seq,
                progress: event.progress,
                output: event.output,
                error: event.error,
                worker: event.worker,
            },
        }
    }
}
