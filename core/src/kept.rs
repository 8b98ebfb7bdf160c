//! Saying a live job again: so that the log still holds it, or so that its queue has its command again.
//!
//! A `kept` is the message that decides the job's state, said again, with what the record has from other
//! messages. The merge takes it for a copy of that message, so it changes nothing that a client sees, and
//! alone it rebuilds the record: the same state, flags and validator. Only progress, which is not in the
//! log, is not in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vmctl_api_types::JobState;

use crate::{
    event::{Event, EventData, EventType, MAX_BODY},
    fact::derived_id,
    record::{Cancel, Record, Started, Winner},
};

/// What a `kept` says beside the message that it repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct Kept {
    /// The message that it repeats.
    pub id: Uuid,
    /// What that one says.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schemas", schema(value_type = String))]
    pub event_type: EventType,
    /// When it was said.
    #[cfg_attr(feature = "schemas", schema(value_type = String, format = DateTime))]
    pub time: Timestamp,
    /// Where the log said it first, if that is known: who waits for a turn waits since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// The message that described the job.
    pub described: Described,
    /// Whether somebody asked to cancel it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Cancel>,
    /// When it was first started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Started>,
    /// The newest epoch whose submission the broker confirmed to a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<u32>,
    /// Whether it has all that the message has, and so can be published in its place.
    #[serde(default)]
    pub whole: bool,
}

/// Which message the job's fields come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct Described {
    /// The run.
    pub epoch: u32,
    /// Whether it was the submission itself.
    pub original: bool,
    /// Its id.
    pub id: Uuid,
    /// Its time.
    #[cfg_attr(feature = "schemas", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

impl Kept {
    /// Says whether it repeats what can decide the state of a live job.
    pub fn is_usable(&self) -> bool {
        let what = self.event_type;
        let other = matches!(what, EventType::Kept | EventType::CancelRequested);
        !(what.is_terminal() || what.is_tick() || other)
    }

    /// Says whether it confirms nothing that comes after `epoch`, which the job is in.
    pub fn is_within(&self, epoch: u32) -> bool {
        self.confirmed <= Some(epoch)
    }
}

/// Makes the message that keeps a live job, last heard of at `heard`; `None` when it has ended, nothing
/// has described it, or it does not fit a message. `said` is the message that decides its state, if the
/// log has it: then its checkpoint is kept too. Two that keep the same silence make the same message id.
pub fn kept(
    record: &Record,
    said: Option<Event>,
    heard: Timestamp,
    source: &str,
    now: Timestamp,
) -> Option<Event> {
    let winner = record.winner.as_ref().filter(|w| !w.state.is_terminal())?;
    let spec = record.spec.as_ref()?;
    // A submission has nothing that the view has not.
    let whole = said.is_some() || winner.event_type.is_submission();
    let mut data = match said {
        Some(said) => EventData {
            job: spec.spec.clone(),
            ..said.data
        },
        None => data(record)?,
    };
    data.kept = Some(Box::new(Kept {
        id: winner.id,
        event_type: winner.event_type,
        time: winner.time,
        first: winner.first_said(),
        described: Described {
            epoch: spec.epoch,
            original: spec.original,
            id: spec.id,
            at: spec.at,
        },
        cancel: record.cancel.clone(),
        started: record.started.clone(),
        confirmed: record.confirmed,
        whole,
    }));
    let from = format!("{}:{}", spec.spec.id, winner.id);
    let id = derived_id(&from, "kept", heard);
    let mut event = Event::new(id, EventType::Kept, source, now, data);
    if event.to_body().len() > MAX_BODY {
        // It serves waking alone, and a job that is not woken looks by itself.
        event.data.checkpoint = None;
        event
            .data
            .kept
            .iter_mut()
            .for_each(|kept| kept.whole = false);
    }
    (event.to_body().len() <= MAX_BODY).then_some(event)
}

/// Returns the command that decides the state, read from its place in the log: it lies there, or a `kept`
/// that repeats all of it.
pub fn command_of(winner: &Winner, mut event: Event) -> Option<Event> {
    if event.event_type == EventType::Kept
        && let Some(kept) = event.data.kept.take_if(|kept| kept.whole)
    {
        (event.id, event.event_type, event.time) = (kept.id, kept.event_type, kept.time);
    }
    (event.id == winner.id && event.event_type.is_command()).then_some(event)
}

/// Makes the command of a job that no worker has entered, from what the view knows of it; `None` when it
/// may have been entered, or has ended, or waits for its turn: then no work queue has it.
pub fn first_command(record: &Record, source: &str) -> Option<Event> {
    let winner = record.winner.as_ref()?;
    let opened = record.spec.as_ref()?.epoch == winner.epoch && winner.event_type.is_submission();
    let queued = winner.state == JobState::Queued && !winner.body.in_line;
    if !queued || !opened || record.may_have_begun() {
        return None;
    }
    Some(Event::new(
        winner.id,
        winner.event_type,
        source,
        winner.time,
        data(record)?,
    ))
}

/// What a record's winner has said, as far as the view keeps it.
fn data(record: &Record) -> Option<EventData> {
    let winner = record.winner.as_ref()?;
    let job = record.spec.as_ref()?.spec.clone();
    let body = winner.body.clone();
    let passed = winner.event_type.is_submission() && !body.in_line && job.waits_for_its_turn();
    Some(EventData {
        epoch: winner.epoch,
        attempt: winner.attempt,
        seq: winner.seq,
        progress: body.progress,
        output: body.output,
        error: body.error,
        worker: body.worker,
        not_before: body.not_before,
        children: body.children,
        waits: body.waits.map(|waits| *waits),
        compensation: body.compensation,
        turn: passed,
        ..EventData::new(winner.state, job)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::{
        clock::{add, from_unix_ms},
        event::{Caller, JobSpec},
        fact::{JobFact, Retention},
        merge::merge,
        unique::{Scope, Unique},
    };

    const JOB: &str = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a";

    /// A job that goes on with a checkpoint of so many bytes, and its record.
    fn continued(size: usize) -> (Event, Record) {
        let now = from_unix_ms(1_795_000_000_000);
        let mut spec = JobSpec::new(
            JOB.parse().unwrap(),
            "vm.create".parse().unwrap(),
            json!({"text": "x".repeat(100_000)}),
            now,
            add(now, Duration::from_secs(60)),
            Caller::default(),
        );
        spec.fp = "sha256:00".to_owned();
        let mut data = EventData::new(JobState::Running, spec);
        (data.seq, data.checkpoint) = (1, Some(json!("x".repeat(size))));
        let id = derived_id("continued", "test", now);
        let event = Event::new(id, EventType::Continued, "/worker/w", now, data);
        let mut record = Record::default();
        let fact = JobFact::from_event(event.clone(), Some(7), Retention::default());
        merge(&mut record, &fact, now);
        (event, record)
    }

    #[test]
    fn the_command_is_read_from_what_keeps_it() {
        let (event, record) = continued(10);
        let winner = record.winner.as_ref().unwrap();
        let now = event.time;
        assert_eq!(command_of(winner, event.clone()), Some(event.clone()));
        let said = kept(&record, Some(event.clone()), now, "/reader/r", now).unwrap();
        let read = command_of(winner, Event::parse(&said.to_body()).unwrap()).unwrap();
        assert_eq!(
            (read.id, read.event_type, read.time),
            (event.id, event.event_type, now)
        );
        assert_eq!(read.data, event.data);
        // Another message lies there, or one of another kind.
        let mut other = event.clone();
        other.id = said.id;
        assert_eq!(command_of(winner, other), None);
        let mut other = event;
        other.event_type = EventType::Started;
        assert_eq!(command_of(winner, other), None);
    }

    #[test]
    fn what_does_not_fit_goes_without_its_checkpoint() {
        let room = MAX_BODY - continued(0).0.to_body().len();
        let (event, record) = continued(room);
        assert_eq!(event.to_body().len(), MAX_BODY);
        let now = event.time;
        let said = kept(&record, Some(event), now, "/reader/r", now).unwrap();
        assert!(said.data.checkpoint.is_none());
        let read = Event::parse(&said.to_body()).unwrap();
        // Whoever went on from it would begin again.
        assert_eq!(command_of(record.winner.as_ref().unwrap(), read), None);
        let unread = kept(&record, None, now, "/reader/r", now).unwrap();
        assert_eq!(command_of(record.winner.as_ref().unwrap(), unread), None);
    }

    #[test]
    fn it_confirms_no_later_run() {
        let (event, record) = continued(10);
        let now = event.time;
        let mut said = kept(&record, Some(event), now, "/reader/r", now).unwrap();
        for (confirmed, fine) in [(None, true), (Some(0), true), (Some(1), false)] {
            said.data.kept.as_mut().unwrap().confirmed = confirmed;
            assert_eq!(Event::parse(&said.to_body()).is_ok(), fine, "{confirmed:?}");
        }
    }

    #[test]
    fn only_a_job_that_nobody_has_entered_has_its_first_command() {
        let (_, record) = continued(10);
        assert_eq!(first_command(&record, "/reader/r"), None);
    }

    #[test]
    fn a_job_in_line_is_in_no_work_queue_until_its_turn() {
        let (mut event, _) = continued(10);
        event.event_type = EventType::Submitted;
        event.data = EventData::new(JobState::Queued, event.data.job);
        event.data.job.unique.push(Unique {
            key: "k".to_owned(),
            scope: Scope::Active,
            queue: true,
        });
        for turn in [false, true] {
            event.data.turn = turn;
            let fact = JobFact::from_event(event.clone(), Some(7), Retention::default());
            let mut record = Record::default();
            merge(&mut record, &fact, event.time);
            let command = first_command(&record, "/reader/r");
            assert_eq!(command.map(|c| c.data), turn.then(|| event.data.clone()));
            let said = kept(&record, None, event.time, "/reader/r", event.time).unwrap();
            let again = command_of(record.winner.as_ref().unwrap(), said.clone()).unwrap();
            assert_eq!(
                (again.is_in_line(), again.data),
                (!turn, event.data.clone())
            );
            assert_eq!(said.routing_key().as_str(), "event.vm.create.kept");
        }
    }
}
