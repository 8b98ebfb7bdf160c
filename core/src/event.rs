//! Messages about a job, as they travel on the bus.
//!
//! Every message is one CloudEvents 1.0 document in structured mode. It carries the job itself, so
//! that any single message rebuilds a usable record. `.v1` is additive only: readers ignore fields
//! that they do not know, and keep them when they publish the message on.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;
use vmctl_api_types::{
    Callback, Compensation, JobError, JobId, JobState, Kind, LogStream, Progress,
};

use crate::{
    bus::{Message, RoutingKey},
    children::Waits,
    kept::Kept,
    topology::{EXCHANGE_CONTROL, EXCHANGE_JOBS, EXCHANGE_TICK, Tier},
    unique::Unique,
};

/// Content type of every message (CloudEvents 1.0, JSON event format).
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// Largest accepted message body, in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Command: run this job. Published by the server.
    Submitted,
    /// Command: the next attempt.
    Retry,
    /// Command: the next slice of the same attempt.
    Continued,
    /// Command: an ended job runs again, in the next epoch.
    Redriven,
    /// A worker started an attempt.
    Started,
    /// Somebody asked to cancel the job.
    CancelRequested,
    /// The job ended with an output.
    Succeeded,
    /// The job ended with an error; parked with its whole command.
    Failed,
    /// The job ended because somebody asked for it.
    Cancelled,
    /// The job ended because its time was over.
    Deadline,
    /// The job is alive and was published again, so that the log still holds it.
    Kept,
    /// Progress of a running attempt. Losing one is harmless.
    Progress,
    /// Lines of the job's log. Losing some is harmless.
    Log,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Submitted,
        Self::Retry,
        Self::Continued,
        Self::Redriven,
        Self::Started,
        Self::CancelRequested,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Deadline,
        Self::Kept,
        Self::Progress,
        Self::Log,
    ];

    /// Returns the word in the type, in the routing key and in the history.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Retry => "retry",
            Self::Continued => "continued",
            Self::Redriven => "redriven",
            Self::Started => "started",
            Self::CancelRequested => "cancel_requested",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::Kept => "kept",
            Self::Progress => "progress",
            Self::Log => "log",
        }
    }

    /// Says whether the message asks a worker to run the job.
    pub const fn is_command(self) -> bool {
        matches!(
            self,
            Self::Submitted | Self::Retry | Self::Continued | Self::Redriven
        )
    }

    /// Says whether the message opens an epoch: its job fields are the ones that count.
    pub const fn is_submission(self) -> bool {
        matches!(self, Self::Submitted | Self::Redriven)
    }

    /// Says whether the message goes beside the log and may be lost.
    pub const fn is_tick(self) -> bool {
        matches!(self, Self::Progress | Self::Log)
    }

    /// Says whether the message ends the job.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Deadline
        )
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for EventType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("jobs.{}.v1", self.word()))
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.strip_prefix("jobs.")
            .and_then(|rest| rest.strip_suffix(".v1"))
            .and_then(|word| Self::ALL.into_iter().find(|t| t.word() == word))
            .ok_or_else(|| serde::de::Error::custom(format_args!("unknown event type {text:?}")))
    }
}

/// One message about one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct Event {
    /// Always `1.0`.
    pub specversion: String,
    /// Identifies the message; version 7, or derived where a copy must be recognised.
    pub id: Uuid,
    /// What it says.
    #[serde(rename = "type")]
    #[cfg_attr(
        feature = "schemas",
        schema(value_type = String, pattern = r"^jobs\.[a-z_]+\.v1$")
    )]
    pub event_type: EventType,
    /// The process that says it: `/worker/<name>`.
    pub source: String,
    /// The job.
    pub subject: JobId,
    /// When.
    #[cfg_attr(feature = "schemas", schema(value_type = String, format = DateTime))]
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// W3C trace context, passed along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The rest.
    pub data: EventData,
    /// Attributes of newer versions, kept as they are.
    #[serde(flatten)]
    #[cfg_attr(feature = "schemas", schema(ignore))]
    pub extra: Map<String, Value>,
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct EventData {
    /// The state that it announces.
    pub state: JobState,
    /// The run, from 0.
    pub epoch: u32,
    /// The try inside the run, from 1.
    pub attempt: u32,
    /// Orders the messages of one attempt.
    pub seq: u32,
    /// Not before this instant, for a delayed command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schema(value_type = Option<String>, format = DateTime))]
    pub not_before: Option<Timestamp>,
    /// A worker had this command before and may have begun it, and another one has put it aside since:
    /// so it is no copy, although the broker delivers it as if it were new.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redelivered: bool,
    /// When the attempt that this command goes on with must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schema(value_type = Option<String>, format = DateTime))]
    pub attempt_until: Option<Timestamp>,
    /// Where the next slice goes on; only the kind understands it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// How far the job is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Orders the progress messages of one command, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<u32>,
    /// Lines of the job's log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<SaidLine>,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Why, for a cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The sequence number of the command that a `started` answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_seq: Option<u32>,
    /// The names of all jobs that this run of the job has asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// What the job waits for, while it is `waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
    /// How far undoing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Compensation>,
    /// The job waited for its turn, and this is its command now that the turn has come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub turn: bool,
    /// What a `kept` repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schema(value_type = Option<Kept>))]
    pub kept: Option<Box<Kept>>,
    /// The job as submitted.
    pub job: JobSpec,
    /// Fields of newer versions, kept as they are.
    #[serde(flatten)]
    #[cfg_attr(feature = "schemas", schema(ignore))]
    pub extra: Map<String, Value>,
}

impl EventData {
    /// Makes what a message about the first attempt of a job carries at least.
    pub fn new(state: JobState, job: JobSpec) -> Self {
        Self {
            state,
            epoch: 0,
            attempt: 1,
            seq: 0,
            not_before: None,
            redelivered: false,
            attempt_until: None,
            checkpoint: None,
            progress: None,
            tick: None,
            lines: Vec::new(),
            output: None,
            error: None,
            worker: None,
            reason: None,
            command_seq: None,
            children: Vec::new(),
            waits: None,
            compensation: None,
            turn: false,
            kept: None,
            job,
            extra: Map::new(),
        }
    }

    /// Says whether a job waits for its turn that such a message says this of.
    pub fn is_in_line(&self, event_type: EventType) -> bool {
        event_type.is_submission() && !self.turn && self.job.waits_for_its_turn()
    }
}

/// One line of a job's log, on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct SaidLine {
    /// Counts inside the command that the worker is on, from 1; lines that were dropped count too.
    pub n: u32,
    /// When.
    #[cfg_attr(feature = "schemas", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Where it comes from.
    #[serde(default)]
    pub stream: LogStream,
    /// The line, at most [`MAX_LINE`](crate::lines::MAX_LINE) bytes; the rest is cut off.
    pub text: String,
}

/// A job as it was submitted. The same in every message of an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct JobSpec {
    /// Identifies the job.
    pub id: JobId,
    /// What it does.
    pub kind: Kind,
    /// With what.
    pub input: Value,
    /// When it was submitted.
    #[cfg_attr(feature = "schemas", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When it ends at the latest.
    #[cfg_attr(feature = "schemas", schema(value_type = String, format = DateTime))]
    pub deadline: Timestamp,
    /// Not to be started before this instant; only for a job that was scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schema(value_type = Option<String>, format = DateTime))]
    pub run_at: Option<Timestamp>,
    /// A job that no worker has started by this instant has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schema(value_type = Option<String>, format = DateTime))]
    pub start_by: Option<Timestamp>,
    /// Seconds that one attempt may take, over all its slices and the waits between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<u64>,
    /// Seconds without a sign of life after which an attempt is stopped and tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_after: Option<u64>,
    /// How many attempts it gets.
    pub max_attempts: u32,
    /// Free pairs given by the caller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Who asked for it. Identity and roles, never the token.
    pub auth: Caller,
    /// Whom to tell of the job's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    /// The job that asked for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<JobId>,
    /// The job at the root of its tree; absent for the root itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_id: Option<JobId>,
    /// How many jobs are above it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u32,
    /// What its parent calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The record is not forgotten before its time is counted from here: somebody waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schema(value_type = Option<String>, format = DateTime))]
    pub keep_until: Option<Timestamp>,
    /// Fingerprint of the request: `sha256:<hex>`.
    pub fp: String,
    /// Keys that no other job of the project may hold meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique: Vec<Unique>,
    /// Keys of what other jobs made that are free once this one has succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frees: Vec<String>,
    /// Fields of newer versions, kept as they are.
    #[serde(flatten)]
    #[cfg_attr(feature = "schemas", schema(ignore))]
    pub extra: Map<String, Value>,
}

impl JobSpec {
    /// Says whether it runs only when those before it under one of its keys have ended.
    pub fn waits_for_its_turn(&self) -> bool {
        self.unique.iter().any(|unique| unique.queue)
    }

    /// Makes a job with one attempt and nothing that a caller may leave out.
    pub fn new(
        id: JobId,
        kind: Kind,
        input: Value,
        created_at: Timestamp,
        deadline: Timestamp,
        auth: Caller,
    ) -> Self {
        Self {
            id,
            kind,
            input,
            created_at,
            deadline,
            run_at: None,
            start_by: None,
            attempt_timeout: None,
            stall_after: None,
            max_attempts: 1,
            labels: BTreeMap::new(),
            auth,
            callback: None,
            parent_id: None,
            root_id: None,
            depth: 0,
            step: None,
            keep_until: None,
            fp: String::new(),
            unique: Vec::new(),
            frees: Vec::new(),
            extra: Map::new(),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Who asked for a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct Caller {
    /// Keystone's user id.
    pub user_id: String,
    /// Keystone's user name.
    pub user_name: String,
    /// The project that owns the job.
    pub project_id: String,
    /// The project's domain.
    #[serde(default)]
    pub domain_id: String,
    /// Roles on the project at submission.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The HTTP request that submitted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A message that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseEventError {
    /// Larger than [`MAX_BODY`].
    #[error("the message has {0} bytes, more than {MAX_BODY}")]
    TooLarge(usize),
    /// Not JSON, or not of the expected form.
    #[error("the message does not parse: {0}")]
    Malformed(String),
    /// `subject` and `data.job.id` name two jobs.
    #[error("the message names two jobs")]
    TwoJobs,
    /// Numbers or times outside what any honest process writes.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
}

/// Largest epoch, attempt and sequence number that is believed.
pub const MAX_COUNT: u32 = 1 << 30;

impl Event {
    /// Makes a message about `job`.
    pub fn new(
        id: Uuid,
        event_type: EventType,
        source: impl Into<String>,
        time: Timestamp,
        data: EventData,
    ) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id,
            event_type,
            source: source.into(),
            subject: data.job.id,
            time,
            datacontenttype: "application/json".to_owned(),
            traceparent: None,
            data,
            extra: Map::new(),
        }
    }

    /// Reads a message body.
    ///
    /// # Errors
    ///
    /// See [`ParseEventError`]; an unknown type or major version is `Malformed`.
    pub fn parse(body: &[u8]) -> Result<Self, ParseEventError> {
        if body.len() > MAX_BODY {
            return Err(ParseEventError::TooLarge(body.len()));
        }
        let event: Self =
            serde_json::from_slice(body).map_err(|e| ParseEventError::Malformed(e.to_string()))?;
        event.check()?;
        Ok(event)
    }

    fn check(&self) -> Result<(), ParseEventError> {
        let data = &self.data;
        if self.specversion != "1.0" {
            return Err(ParseEventError::Malformed(format!(
                "specversion {:?}",
                self.specversion
            )));
        }
        if self.subject != data.job.id {
            return Err(ParseEventError::TwoJobs);
        }
        for (name, value) in [
            ("epoch", data.epoch),
            ("attempt", data.attempt),
            ("seq", data.seq),
        ] {
            if value > MAX_COUNT {
                return Err(ParseEventError::OutOfRange(name));
            }
        }
        if data.attempt == 0 {
            return Err(ParseEventError::OutOfRange("attempt"));
        }
        let is_sound = match &data.kept {
            Some(kept) => kept.is_usable() && kept.is_within(data.epoch),
            None => self.event_type != EventType::Kept,
        };
        if !is_sound {
            return Err(ParseEventError::Malformed(
                "what it keeps decides no state of a live job".to_owned(),
            ));
        }
        if self.event_type.is_terminal() != data.state.is_terminal() {
            return Err(ParseEventError::Malformed(format!(
                "{} cannot announce {}",
                self.event_type, data.state
            )));
        }
        Ok(())
    }

    /// Writes the message body.
    pub fn to_body(&self) -> Vec<u8> {
        // All keys are strings and all numbers finite, so this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the routing key of this message, when it is not delayed.
    pub fn routing_key(&self) -> RoutingKey {
        let kind = &self.data.job.kind;
        match self.event_type {
            _ if self.is_in_line() => RoutingKey::turn(kind),
            t if t.is_command() => RoutingKey::job(kind),
            EventType::Failed => RoutingKey::dead(kind),
            t if t.is_tick() => RoutingKey::tick(kind, t.word()),
            t => RoutingKey::event(kind, t.word()),
        }
    }

    /// Wraps the message for the bus, to run or to be seen now.
    pub fn to_message(&self) -> Message {
        self.message_with_key(self.routing_key())
    }

    /// Returns when a command is due: never after its deadline or the end of its attempt, because
    /// then it is to end. One that waits for children which were asked to cancel is not due before.
    pub fn due(&self) -> Option<Timestamp> {
        let data = &self.data;
        let at = data.not_before?.min(data.job.deadline);
        let winds_down = data.waits.as_ref().is_some_and(|waits| waits.decided);
        let attempt = data.attempt_until.filter(|_| !winds_down);
        Some(attempt.map_or(at, |until| at.min(until)))
    }

    /// Returns the tier that a command has to pass first; `None` when it is due within a second, or
    /// is no command. It is the largest one that is not too long; whoever receives the command early
    /// delays it again.
    pub fn tier(&self, now: Timestamp) -> Option<Tier> {
        let due = self.due().filter(|_| self.event_type.is_command())?;
        Tier::at_most(Duration::try_from(now.duration_until(due)).unwrap_or_default())
    }

    /// Wraps the message for the bus; a command that is not due goes through a delay tier.
    pub fn to_due_message(&self, now: Timestamp) -> Message {
        match self.tier(now) {
            Some(tier) => self.to_delayed_message(tier),
            None => self.to_message(),
        }
    }

    /// Says whether this is the command of a job that waits for its turn: no worker gets it yet.
    pub fn is_in_line(&self) -> bool {
        self.data.is_in_line(self.event_type)
    }

    /// Says whether this is the command that opens an epoch, and nothing has been done of it.
    pub fn is_untouched(&self) -> bool {
        let data = &self.data;
        (data.attempt, data.seq) == (1, 0) && data.checkpoint.is_none()
    }

    /// Wraps a command for the bus, to run after the tier's delay.
    pub fn to_delayed_message(&self, tier: Tier) -> Message {
        let kind = &self.data.job.kind;
        self.message_with_key(if self.is_in_line() {
            RoutingKey::delayed_turn(tier, kind)
        } else {
            RoutingKey::delayed(tier, kind)
        })
    }

    fn message_with_key(&self, routing_key: RoutingKey) -> Message {
        let data = &self.data;
        let is_tick = self.event_type.is_tick();
        let mut headers = BTreeMap::new();
        let mut text = |name: &str, value: String| {
            headers.insert(name.to_owned(), value.into());
        };
        text("schema", "jobs/1".to_owned());
        text("kind", data.job.kind.to_string());
        text("project", data.job.auth.project_id.clone());
        text("state", data.state.to_string());
        if let Some(traceparent) = &self.traceparent {
            text("traceparent", traceparent.clone());
        }
        for (name, value) in [
            ("epoch", i64::from(data.epoch)),
            ("attempt", i64::from(data.attempt)),
            ("seq", i64::from(data.seq)),
            ("deadline", data.job.deadline.as_millisecond()),
        ] {
            headers.insert(name.to_owned(), value.into());
        }
        Message {
            exchange: if is_tick {
                EXCHANGE_TICK
            } else {
                EXCHANGE_JOBS
            }
            .to_owned(),
            routing_key,
            content_type: CONTENT_TYPE.to_owned(),
            message_id: self.id.to_string(),
            correlation_id: self.subject.to_string(),
            message_type: format!("jobs.{}.v1", self.event_type.word()),
            timestamp: self.time,
            persistent: !is_tick,
            headers,
            body: self.to_body().into(),
        }
    }
}

/// What goes to every worker at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Control {
    /// Cancel this job, if you run it.
    Cancel {
        /// The job.
        job_id: JobId,
        /// The run to cancel.
        epoch: u32,
        /// Why.
        reason: Option<String>,
    },
}

/// The type attribute of a control message.
pub const CONTROL_TYPE: &str = "jobs.control.v1";

impl Control {
    /// Wraps it for the bus. It need not survive the broker.
    pub fn to_message(&self, id: Uuid, time: Timestamp) -> Message {
        let Self::Cancel { job_id, .. } = self;
        Message {
            exchange: EXCHANGE_CONTROL.to_owned(),
            routing_key: RoutingKey::control(),
            content_type: "application/json".to_owned(),
            message_id: id.to_string(),
            correlation_id: job_id.to_string(),
            message_type: CONTROL_TYPE.to_owned(),
            timestamp: time,
            persistent: false,
            headers: BTreeMap::new(),
            // Strings and numbers only, so this cannot fail.
            body: serde_json::to_vec(self).unwrap_or_default().into(),
        }
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// `Malformed` when a member is missing or wrong.
    pub fn parse(body: &[u8]) -> Result<Self, ParseEventError> {
        serde_json::from_slice(body).map_err(|e| ParseEventError::Malformed(e.to_string()))
    }
}

/// A server's sign in the log: whatever was confirmed before it lies before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Identifies the mark.
    pub id: Uuid,
    /// The server that published it.
    pub server: String,
    /// When, by the server's clock.
    pub time: Timestamp,
}

/// Longest name of a server in a mark, in bytes: the view keeps it in every partition.
const MAX_SERVER: usize = 128;

/// The type attribute of a mark.
pub const MARK_TYPE: &str = "jobs.mark.v1";

impl Mark {
    /// Wraps the mark for the bus.
    pub fn to_message(&self) -> Message {
        let body = serde_json::json!({
            "specversion": "1.0",
            "id": self.id,
            "type": MARK_TYPE,
            "source": format!("/server/{}", self.server),
            "time": self.time,
            "datacontenttype": "application/json",
            "data": {"server": self.server},
        });
        Message {
            exchange: EXCHANGE_JOBS.to_owned(),
            routing_key: RoutingKey::mark(),
            content_type: CONTENT_TYPE.to_owned(),
            message_id: self.id.to_string(),
            correlation_id: String::new(),
            message_type: MARK_TYPE.to_owned(),
            timestamp: self.time,
            persistent: true,
            headers: BTreeMap::from([("schema".to_owned(), "jobs/1".to_owned().into())]),
            body: body.to_string().into_bytes().into(),
        }
    }

    /// Reads a mark back.
    ///
    /// # Errors
    ///
    /// `Malformed` when a member is missing or wrong, `OutOfRange` when the server's name is too long.
    pub fn parse(body: &[u8]) -> Result<Self, ParseEventError> {
        #[derive(Deserialize)]
        struct Data {
            server: String,
        }
        #[derive(Deserialize)]
        struct Envelope {
            id: Uuid,
            time: Timestamp,
            data: Data,
        }
        let Envelope { id, time, data } =
            serde_json::from_slice(body).map_err(|e| ParseEventError::Malformed(e.to_string()))?;
        if data.server.len() > MAX_SERVER {
            return Err(ParseEventError::OutOfRange("server"));
        }
        Ok(Self {
            id,
            server: data.server,
            time,
        })
    }
}
