//! Lets jobs that wait for their turn go on, one after the other.
//!
//! The command of such a job is not in a work queue. It goes round between the queue of this loop and
//! the delay tiers, and each time it comes the job's place in its lines is looked at (see
//! [`vmctl_core::turn`]):
//!
//! ```text
//! delivery --> ended, or passed before? ------------------------> ack
//!     |--> somebody wants it cancelled, or its time is over? ---> its end -----> ack
//!     |--> its turn? -----------------------------> command to the work queue -> ack
//!     +--> else ----------------------> the same command, to a delay tier ----> ack
//! ```
//!
//! Publishing comes before the ack, with ids that are derived, so a reader that is killed between any two
//! steps leaves a copy that is absorbed. That a job goes on and that it ends in line exclude each other
//! by a claim in the store, because copies of one command may be looked at by two readers at once. While
//! the view is away, behind or emptied, a job is in no line, and waits.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vmctl_core::{
    JobState,
    bus::{Consumer, Delivery, Publisher},
    clock::{self, Clock},
    error::chain,
    event::{Event, EventData, EventType},
    fact::derived_id,
    record::Record,
    store::{
        JobStore, StoreError,
        project::{HoldState, Run, expires},
    },
    topology::{QUEUE_TURN, Tier},
    turn::{Place, Turn, turn},
};

use crate::{
    metrics,
    sweep::{self, Limits, is_caught_up},
    taking::{publish, publish_delayed, take},
};

/// Looks at one delivery: the view is behind the command by some of them.
const LOOKS: u32 = 7;

/// The first pause between two looks; each is twice the one before.
const FIRST: Duration = Duration::from_millis(10);

/// How long it is remembered what was decided about a run: nothing of it is under way any more then.
const DECIDED: Duration = Duration::from_secs(600);

/// What is decided about a run that goes on.
const PASS: &str = "pass";

/// What is noted about a run whose command the broker has taken for its workers.
const CONFIRMED: &str = "confirmed";

/// How long a submission that holds a key may take until the log has it.
const UNDER_WAY: Duration = Duration::from_secs(30);

pub(crate) struct Turns {
    pub publisher: Arc<dyn Publisher>,
    pub consumer: Arc<dyn Consumer>,
    pub store: Arc<dyn JobStore>,
    pub clock: Arc<dyn Clock>,
    /// The reader's name.
    pub reader: String,
}

/// What becomes of a command.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Nothing: it has gone on, or ended.
    Nothing,
    /// The view has not read it yet.
    Unknown,
    /// Others are before it.
    Wait,
    /// Somebody else is about to publish this, or has died before.
    Taken(Box<Event>),
    /// This is published.
    Say(Box<Event>),
}

/// What is to become of a run, before the others who look at it are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Unknown,
    Wait,
    Pass,
    /// It has passed; whether its work queue took it is another question.
    Again,
    Cancel,
    Expire,
}

impl Turns {
    /// Looks at commands until `shutdown`. What is in hand then goes back to the queue.
    pub(crate) async fn run(self: Arc<Self>, shutdown: &CancellationToken) {
        let consumer = Arc::clone(&self.consumer);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = take(&consumer, QUEUE_TURN, |delivery| Arc::clone(&self).process(delivery)) => {}
        }
    }

    async fn process(self: Arc<Self>, delivery: Delivery) {
        let command = match Event::parse(&delivery.message.body) {
            Ok(command) if command.is_in_line() => command,
            _ => {
                tracing::warn!(
                    message.id = delivery.message.message_id.as_deref().unwrap_or_default(),
                    "what came to wait for its turn is no such command"
                );
                metrics::add(metrics::TURNS, "unusable", 1);
                // Lost before it is rejected: it comes again.
                let _ = delivery.reject().await;
                return;
            }
        };
        let (word, said) = match self.settle(&command).await {
            Next::Nothing => ("nothing", true),
            Next::Say(event) | Next::Taken(event) => {
                let word = event.event_type.word();
                let said = publish(&self.publisher, &event, &delivery.lost).await;
                if said {
                    self.confirmed(&event).await;
                }
                (if event.data.turn { "passed" } else { word }, said)
            }
            Next::Wait | Next::Unknown => {
                let tier = pause(&command, self.clock.now());
                let said = publish_delayed(&self.publisher, &command, tier, &delivery.lost).await;
                ("waits", said)
            }
        };
        // Whoever gets a lost one looks again.
        if said {
            metrics::add(metrics::TURNS, word, 1);
            if delivery.ack().await.is_err() {
                tracing::debug!("a waiting command was lost before its ack; it is looked at again");
            }
        }
    }

    /// Looks until the view has read the command, and what somebody else may be publishing, for about a
    /// second.
    async fn settle(&self, command: &Event) -> Next {
        let mut pause = FIRST;
        let mut last = Next::Unknown;
        for _ in 0..LOOKS {
            match self.look(command).await {
                Ok(next @ (Next::Unknown | Next::Taken(_))) => last = next,
                Ok(next) => return next,
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "no turns while the view is away");
                    return Next::Wait;
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        last
    }

    /// Looks at a command once.
    pub(crate) async fn look(&self, command: &Event) -> Result<Next, StoreError> {
        let job = &command.data.job;
        let project = &job.auth.project_id;
        let run = run_of(command);
        let keys: Vec<_> = job.unique.iter().map(|unique| unique.key.clone()).collect();
        let line = self.store.line(project, &keys).await?;
        let places = line.places;
        let record = self.store.get(job.id).await?.record;
        let now = self.clock.now();
        let wanted = match wanted(run, turn(run, &places), record.as_ref(), now) {
            // No line knows it any more, and none will.
            Wanted::Unknown if expires(job.deadline) <= now => Wanted::Nothing,
            wanted => wanted,
        };
        let word = match wanted {
            Wanted::Nothing => return Ok(Next::Nothing),
            Wanted::Unknown => return Ok(Next::Unknown),
            Wanted::Wait => return Ok(Next::Wait),
            Wanted::Again if self.is_confirmed(command).await? => return Ok(Next::Nothing),
            Wanted::Again => return Ok(Next::Say(Box::new(pass(command, now, &self.reader)))),
            Wanted::Pass if !line.newest_mark.is_some_and(|mark| is_caught_up(mark, now)) => {
                return Ok(Next::Wait);
            }
            Wanted::Pass if self.is_entering(command, &keys, &places).await? => {
                return Ok(Next::Wait);
            }
            Wanted::Pass => PASS,
            Wanted::Cancel | Wanted::Expire => "end",
        };
        let own = format!("{word} {}", clock::new_uuid(&*self.clock));
        let name = format!("turn:{run}");
        let decided = self.store.claim(project, &name, &own, DECIDED).await?;
        let is_pass = decided.starts_with(PASS);
        let event = match (is_pass, wanted, record) {
            (true, ..) => pass(command, now, &self.reader),
            (_, Wanted::Cancel, Some(record)) => cancelled(command, &record, now, &self.reader),
            (_, Wanted::Expire, Some(record)) => {
                match sweep::end(&record, Limits::at(now), now, &self.reader) {
                    Some(event) => event,
                    None => return Ok(Next::Wait),
                }
            }
            // Somebody has seen that it is to end; it will be seen here.
            _ => return Ok(Next::Wait),
        };
        let event = Box::new(event);
        Ok(if decided == own {
            Next::Say(event)
        } else {
            Next::Taken(event)
        })
    }

    /// Notes that the broker has taken what was published, so that the command that still goes round is not
    /// published once more. When the note is lost it is, and absorbed as every copy.
    pub(crate) async fn confirmed(&self, event: &Event) {
        if event.data.turn {
            // Only a copy more without it.
            let _ = self.note(event, CONFIRMED).await;
        }
    }

    async fn is_confirmed(&self, command: &Event) -> Result<bool, StoreError> {
        Ok(self.note(command, "again").await? == CONFIRMED)
    }

    async fn note(&self, event: &Event, word: &str) -> Result<String, StoreError> {
        let project = &event.data.job.auth.project_id;
        let name = format!("passed:{}", run_of(event));
        self.store.claim(project, &name, word, DECIDED).await
    }

    /// Says whether a job that does not wait for its turn is being submitted under one of the keys, and
    /// is not in the log yet.
    async fn is_entering(
        &self,
        command: &Event,
        keys: &[String],
        places: &[Place],
    ) -> Result<bool, StoreError> {
        let job = &command.data.job;
        let holders = self.store.holders(&job.auth.project_id, keys).await?;
        let now = self.clock.now();
        Ok(holders.iter().any(|holder| {
            holder.run.job != job.id
                && holder.hold.state == HoldState::Taken
                && clock::add(holder.hold.since, UNDER_WAY) > now
                && !places.iter().any(|place| place.run == holder.run)
        }))
    }
}

pub(crate) fn run_of(command: &Event) -> Run {
    Run {
        job: command.subject,
        epoch: command.data.epoch,
    }
}

/// Decides. What is in no line has not been read yet, or is over.
fn wanted(run: Run, turn: Turn, record: Option<&Record>, now: Timestamp) -> Wanted {
    let own = record.and_then(|record| Some((record, record.winner.as_ref()?)));
    if let Some((_, winner)) = own
        && (winner.epoch > run.epoch || (winner.epoch == run.epoch && winner.state.is_terminal()))
    {
        return Wanted::Nothing;
    }
    let own = own.filter(|(_, winner)| winner.epoch == run.epoch);
    match (turn, own) {
        (Turn::Unknown, _) => Wanted::Unknown,
        // The log has its command, and its work queue may have refused it: only a start proves that it
        // did not.
        (Turn::Past, Some((record, _))) if record.may_have_begun() => Wanted::Nothing,
        (Turn::Past, _) => Wanted::Again,
        (_, Some((record, _))) if record.cancel_requested().is_some() => Wanted::Cancel,
        (_, Some((record, _))) if record.next_limit().is_some_and(|at| at <= now) => Wanted::Expire,
        (Turn::Now, _) => Wanted::Pass,
        (Turn::After(_), _) => Wanted::Wait,
    }
}

/// The command, for a worker.
fn pass(command: &Event, now: Timestamp, reader: &str) -> Event {
    let mut event = command.clone();
    event.id = derived(command, "turn");
    event.source = format!("/reader/{reader}");
    event.time = now;
    event.data.turn = true;
    event
}

fn cancelled(command: &Event, record: &Record, now: Timestamp, reader: &str) -> Event {
    let data = EventData {
        epoch: command.data.epoch,
        reason: record.cancel_requested().and_then(|c| c.reason.clone()),
        ..EventData::new(JobState::Cancelled, command.data.job.clone())
    };
    let mut event = Event::new(
        derived(command, "cancelled"),
        EventType::Cancelled,
        format!("/reader/{reader}"),
        now,
        data,
    );
    event.traceparent.clone_from(&command.traceparent);
    event
}

/// The same for everyone who has this command, and after its own id.
fn derived(command: &Event, what: &str) -> Uuid {
    let later = clock::add(command.time, Duration::from_millis(1));
    derived_id(&run_of(command).to_string(), what, later)
}

/// How long a command rests between two looks: the longer the longer it has waited. Whoever frees its
/// line wakes it earlier.
fn pause(command: &Event, now: Timestamp) -> Tier {
    match now.duration_since(command.time).as_secs() {
        ..15 => Tier::S1,
        15..120 => Tier::S5,
        120..900 => Tier::S15,
        900.. => Tier::M1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vmctl_core::{
        clock::from_unix_ms,
        event::{Caller, JobSpec},
        fact::{JobFact, Retention},
        merge::merge,
        unique::{Scope, Unique},
    };

    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    fn event(event_type: EventType, state: JobState, epoch: u32) -> Event {
        let now = from_unix_ms(NOW);
        let job = JobSpec {
            unique: vec![Unique {
                key: "k".to_owned(),
                scope: Scope::Active,
                queue: true,
            }],
            ..JobSpec::new(
                "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a".parse().unwrap(),
                "vm.create".parse().unwrap(),
                json!({}),
                now,
                clock::add(now, Duration::from_secs(60)),
                Caller::default(),
            )
        };
        let data = EventData {
            epoch,
            ..EventData::new(state, job)
        };
        Event::new(Uuid::from_u128(7), event_type, "/test", now, data)
    }

    fn record(said: &[Event]) -> Record {
        let mut record = Record::default();
        for event in said {
            let fact = JobFact::from_event(event.clone(), Some(1), Retention::default());
            merge(&mut record, &fact, from_unix_ms(NOW));
        }
        record
    }

    #[test]
    fn what_becomes_of_a_run_follows_from_its_place_and_its_record() {
        let command = event(EventType::Submitted, JobState::Queued, 0);
        let run = run_of(&command);
        let in_line = || vec![command.clone()];
        let after =
            |event_type, state, epoch| vec![command.clone(), event(event_type, state, epoch)];
        let wish = after(EventType::CancelRequested, JobState::Queued, 0);
        let started = after(EventType::Started, JobState::Running, 0);
        let ended = after(EventType::Succeeded, JobState::Succeeded, 0);
        let again = after(EventType::Redriven, JobState::Queued, 1);
        for (said, turn, late, expected) in [
            (vec![], Turn::Unknown, false, Wanted::Unknown),
            (in_line(), Turn::Unknown, true, Wanted::Unknown),
            // The job's own partition may be behind that of its line.
            (vec![], Turn::Now, false, Wanted::Pass),
            (in_line(), Turn::Now, false, Wanted::Pass),
            (in_line(), Turn::After(3), false, Wanted::Wait),
            (in_line(), Turn::After(3), true, Wanted::Expire),
            (in_line(), Turn::Now, true, Wanted::Expire),
            (wish.clone(), Turn::After(3), false, Wanted::Cancel),
            (wish.clone(), Turn::Now, true, Wanted::Cancel),
            // A worker answers it, who may have it already.
            (wish, Turn::Past, false, Wanted::Again),
            (in_line(), Turn::Past, true, Wanted::Again),
            (started, Turn::Past, true, Wanted::Nothing),
            (ended.clone(), Turn::Now, false, Wanted::Nothing),
            (ended, Turn::Unknown, false, Wanted::Nothing),
            (again, Turn::Now, false, Wanted::Nothing),
        ] {
            let now = from_unix_ms(NOW + if late { 60_000 } else { 0 });
            let found = wanted(run, turn, Some(&record(&said)), now);
            assert_eq!(found, expected, "{said:?} {turn:?} {late}");
        }
    }

    #[test]
    fn a_worker_gets_the_command_that_was_submitted() {
        let command = event(EventType::Redriven, JobState::Queued, 2);
        let passed = pass(&command, from_unix_ms(NOW + 5), "r1");
        assert_eq!(command.to_message().routing_key.as_str(), "turn.vm.create");
        assert_eq!(passed.to_message().routing_key.as_str(), "job.vm.create");
        assert!(passed.id > command.id);
        assert_eq!(passed.id, pass(&command, from_unix_ms(NOW), "r2").id);
        // It decides the record's state, whatever the ids are.
        let both = record(&[passed.clone(), command]);
        assert_eq!(both.winner.unwrap().id, passed.id);
    }

    #[test]
    fn the_longer_it_waits_the_longer_it_rests() {
        let command = event(EventType::Submitted, JobState::Queued, 0);
        for (seconds, tier) in [
            (-5, Tier::S1),
            (14, Tier::S1),
            (15, Tier::S5),
            (120, Tier::S15),
            (86_400, Tier::M1),
        ] {
            let now = from_unix_ms(NOW + seconds * 1000);
            assert_eq!(pause(&command, now), tier, "{seconds}");
        }
    }
}
