//! A job that waits for the jobs that it has asked for.
//!
//! The waiting is the kit's, not the handler's: each look at the children is one short slice that
//! either goes back into a delay tier or lets the handler go on. Looking again by the clock is enough
//! to be correct; being woken when a child has ended only makes it quick.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::timeout;
use vmctl_core::{
    JobError, JobId, JobState, Kind,
    children::{self, Child, Join, MAX_CHILDREN, MAX_DEPTH, OnFailure, Standing, Waits, child_id},
    event::{Event, MAX_BODY},
    kinds::Registry,
    record::Record,
    store::JobStore,
    topology::Topology,
};

/// How many children are entered and asked for at once.
pub(crate) const AT_ONCE: usize = 32;

/// How long the store may take to tell how the children stand.
const LOOK: Duration = Duration::from_secs(5);

/// When a job that was woken looks again if the view did not know yet.
const SOON: Duration = Duration::from_secs(1);

/// Jobs that a job asks for, and when it goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Spawn {
    /// The jobs. One whose name this run has used before is not asked for again, only waited for.
    pub children: Vec<Child>,
    /// How many of them have to succeed.
    pub join: Join,
    /// What happens when that cannot be any more.
    pub on_failure: OnFailure,
    /// The handler goes on at this time at the latest; children that live are asked to cancel.
    pub until: Option<Timestamp>,
    /// A cancel of the job does not touch these children: they clean up after it.
    pub shielded: bool,
    /// What the handler finds in [`crate::Ctx::checkpoint`] when it goes on.
    pub checkpoint: Value,
}

impl Spawn {
    /// Asks for these jobs and waits until all have succeeded, or one has not.
    pub fn all(children: Vec<Child>, checkpoint: Value) -> Self {
        Self {
            children,
            join: Join::All,
            on_failure: OnFailure::FailFast,
            until: None,
            shielded: false,
            checkpoint,
        }
    }
}

/// How a child ended, as its parent sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildOutcome {
    /// What the parent called it.
    pub name: String,
    /// Its id.
    pub id: JobId,
    /// Where it stands: final, unless the parent went on because of its [`Spawn::until`]. `None` when
    /// the view does not know the child yet.
    pub state: Option<JobState>,
    /// What came out.
    pub output: Option<Value>,
    /// What went wrong.
    pub error: Option<JobError>,
}

impl ChildOutcome {
    /// Says whether it has succeeded.
    pub fn succeeded(&self) -> bool {
        self.state == Some(JobState::Succeeded)
    }
}

/// Makes the commands of the children that a handler asks for.
///
/// # Errors
///
/// Why the job fails instead: nothing was asked for then.
pub(crate) fn plan(
    command: &Event,
    spawn: &Spawn,
    registry: &Registry,
    source: &str,
    now: Timestamp,
) -> Result<Vec<Event>, JobError> {
    let data = &command.data;
    if data.job.depth >= MAX_DEPTH {
        let detail = format!("at most {MAX_DEPTH} jobs stand above a job");
        return Err(refused("too-deep", detail));
    }
    let mut events = Vec::new();
    let mut names: Vec<&str> = data.children.iter().map(String::as_str).collect();
    let asked = names.len();
    for (n, child) in spawn.children.iter().enumerate() {
        let name = child.name.as_str();
        if !children::is_name(name) {
            return Err(refused(
                "invalid-child",
                format!("{name:?} is no name of a child"),
            ));
        }
        if spawn.children[..n].iter().any(|other| other.name == name) {
            return Err(refused(
                "invalid-child",
                format!("two children are called {name}"),
            ));
        }
        if names[..asked].contains(&name) {
            continue;
        }
        names.push(name);
        let Some(kind) = registry.get(&child.kind) else {
            let detail = format!("child {name}: there is no kind {}", child.kind);
            return Err(refused("invalid-child", detail));
        };
        if let Some(error) = kind.check_input(&child.input).first() {
            let detail = format!("child {name}: {} {}", error.pointer, error.detail);
            return Err(refused("invalid-child", detail));
        }
        let event = children::command(command, child, kind, source, now);
        if event.to_body().len() > MAX_BODY {
            let detail = format!("child {name} has more than {MAX_BODY} bytes");
            return Err(refused("invalid-child", detail));
        }
        events.push(event);
    }
    if names.len() > MAX_CHILDREN {
        let detail = format!("a job may ask for {MAX_CHILDREN} jobs, not {}", names.len());
        return Err(refused("too-many-children", detail));
    }
    Ok(events)
}

fn refused(error_type: &str, detail: String) -> JobError {
    JobError {
        error_type: error_type.to_owned(),
        title: "the job asked for jobs that it may not have".to_owned(),
        detail: Some(detail),
        retryable: false,
        attempt: None,
        worker: None,
    }
}

/// Returns the queues of the children's kinds: a command without a queue would be only in the log.
pub(crate) fn topology(commands: &[Event]) -> Topology {
    let mut kinds: Vec<&Kind> = commands.iter().map(|event| &event.data.job.kind).collect();
    kinds.sort();
    kinds.dedup();
    Topology::new(kinds)
}

/// Publishes many messages, a bounded number at once; stops at the first that fails.
pub(crate) async fn publish_all<E, F: Future<Output = Result<(), E>>>(
    commands: &[Event],
    publish: impl Fn(Event) -> F,
) -> Result<(), E> {
    stream::iter(commands.iter().cloned().map(publish))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}

/// What a waiting job does after a look.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// Waits on, at least so long.
    Wait { waits: Waits, pause: Duration },
    /// Its handler goes on.
    Go,
}

/// Decides from the children's states. `cancelled` when the job itself is to end; `woken` when
/// somebody has seen a child end.
pub(crate) fn next(
    waits: &Waits,
    states: &[Option<JobState>],
    cancelled: bool,
    woken: bool,
    now: Timestamp,
) -> Next {
    let standing = waits.standing(states);
    let is_late = waits.until.is_some_and(|until| until <= now);
    if standing == Standing::Ended || is_late {
        return Next::Go;
    }
    let mut waits = waits.clone();
    waits.decided |= cancelled || standing == Standing::Decided;
    let pause = if woken {
        waits.looks = 0;
        SOON
    } else {
        waits.looks = waits.looks.saturating_add(1);
        waits.pause()
    };
    let left = waits.until.map(|until| crate::author::until(now, until));
    Next::Wait {
        pause: left.map_or(pause, |left| pause.min(left)),
        waits,
    }
}

/// Says whether children that live have to be asked to cancel.
pub(crate) fn is_over(
    waits: &Waits,
    states: &[Option<JobState>],
    cancelled: bool,
    now: Timestamp,
) -> bool {
    cancelled
        || waits.decided
        || waits.until.is_some_and(|until| until <= now)
        || waits.standing(states) == Standing::Decided
}

/// Reads the records of the children; `None` for each that is not known, and for all of them when
/// the store does not answer.
pub(crate) async fn look(
    store: &Arc<dyn JobStore>,
    command: &Event,
    names: &[String],
) -> Vec<Option<Record>> {
    let parent = command.subject;
    let ids: Vec<JobId> = names
        .iter()
        .map(|name| child_id(parent, command.data.epoch, name))
        .collect();
    let mut records = match timeout(LOOK, store.get_many(&ids)).await {
        Ok(Ok(lookups)) => lookups.into_iter().map(|l| l.record).collect(),
        Ok(Err(error)) => {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the children are not known while the store is away"
            );
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    // Somebody else's job under this id is none of ours.
    let is_ours = |record: &Record| {
        let spec = record.spec.as_ref();
        spec.is_some_and(|spec| spec.spec.parent_id == Some(parent))
    };
    for record in &mut records {
        if record.as_ref().is_some_and(|record| !is_ours(record)) {
            *record = None;
        }
    }
    records.resize(names.len(), None);
    records
}

/// Returns the states of records.
pub(crate) fn states(records: &[Option<Record>]) -> Vec<Option<JobState>> {
    records.iter().map(|r| r.as_ref()?.state()).collect()
}

/// Puts together what the handler is told.
pub(crate) fn outcomes(
    command: &Event,
    names: &[String],
    records: Vec<Option<Record>>,
) -> Vec<ChildOutcome> {
    names
        .iter()
        .zip(records)
        .map(|(name, record)| {
            let winner = record.and_then(|record| record.winner);
            ChildOutcome {
                name: name.clone(),
                id: child_id(command.subject, command.data.epoch, name),
                state: winner.as_ref().map(|w| w.state),
                output: winner.as_ref().and_then(|w| w.body.output.clone()),
                error: winner.and_then(|w| w.body.error),
            }
        })
        .collect()
}

/// Makes the wishes to cancel the children that live and were not asked yet.
pub(crate) fn cancels(records: &[Option<Record>], source: &str, now: Timestamp) -> Vec<Event> {
    records
        .iter()
        .flatten()
        .filter(|record| !record.is_terminal() && record.cancel_requested().is_none())
        .filter_map(|record| {
            let (spec, winner) = (record.spec.as_ref()?, record.winner.as_ref()?);
            Some(children::cancel(
                &spec.spec,
                winner.epoch,
                winner.state,
                source,
                now,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use vmctl_core::clock::{add, from_unix_ms};

    use super::*;

    fn waits() -> Waits {
        Waits {
            children: Vec::new(),
            join: Join::All,
            on_failure: OnFailure::FailFast,
            until: None,
            shielded: false,
            looks: 0,
            decided: false,
        }
    }

    fn now() -> Timestamp {
        from_unix_ms(1_795_000_000_000)
    }

    fn seconds(next: &Next) -> Option<u64> {
        match next {
            Next::Wait { pause, .. } => Some(pause.as_secs()),
            Next::Go => None,
        }
    }

    const LIVE: Option<JobState> = Some(JobState::Running);

    #[test]
    fn looks_become_rare_until_somebody_wakes_it() {
        let mut waits = waits();
        let mut pauses = vec![waits.pause().as_secs()];
        for _ in 0..3 {
            match next(&waits, &[LIVE], false, false, now()) {
                Next::Wait { waits: then, pause } => {
                    pauses.push(pause.as_secs());
                    waits = then;
                }
                Next::Go => panic!("a child lives"),
            }
        }
        assert_eq!(pauses, [5, 15, 60, 60]);
        let woken = next(&waits, &[LIVE], false, true, now());
        assert_eq!(seconds(&woken), Some(1));
    }

    #[test]
    fn a_cancel_waits_for_the_children_and_the_end_of_time_does_not() {
        let mut waits = waits();
        assert!(!is_over(&waits, &[LIVE], false, now()));
        assert!(is_over(&waits, &[LIVE], true, now()));
        assert!(matches!(
            next(&waits, &[LIVE], true, false, now()),
            Next::Wait { waits, .. } if waits.decided
        ));
        let gone = Some(JobState::Cancelled);
        assert_eq!(next(&waits, &[gone], true, false, now()), Next::Go);
        waits.until = Some(add(now(), Duration::from_secs(3)));
        assert_eq!(
            seconds(&next(&waits, &[LIVE], false, false, now())),
            Some(3)
        );
        waits.until = Some(now());
        assert_eq!(next(&waits, &[LIVE], false, false, now()), Next::Go);
    }
}
