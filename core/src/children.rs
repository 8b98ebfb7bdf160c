//! Jobs that ask for jobs: names and ids of children, and when their parent may go on.
//!
//! A child's id is derived from its parent, the parent's run and the name that the parent gives it.
//! A parent that is run again after a crash therefore asks for the same jobs, and copies of their
//! commands are absorbed.
//!
//! A parent decides from the *states* of its children, never by counting events: a wake-up that is
//! lost, a flushed view or a copy costs time and nothing else. A child that the view does not know
//! is not known *yet*; it is never taken for gone.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use vmctl_api_types::{JobId, JobState, Kind};

use crate::{
    clock,
    event::{Event, EventData, EventType, JobSpec},
    fact::derived_id,
    kinds::KindSpec,
};

/// Most jobs that one run of a job may ask for, and that a flow may come to in all.
pub const MAX_CHILDREN: usize = 1000;

/// How many jobs may stand above a job.
pub const MAX_DEPTH: u32 = 5;

/// Longest name of a child, in bytes.
pub const MAX_NAME: usize = 64;

/// A job that another one asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// What the parent calls it: unique among all children of a run, 1 to 64 of
    /// `a-z A-Z 0-9 . _ - /`.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// With what.
    pub input: Value,
    /// When it ends at the latest; its kind's deadline when `None`. Never after its parent's.
    pub deadline: Option<Timestamp>,
}

impl Child {
    /// Makes a child with its kind's deadline.
    pub fn new(name: impl Into<String>, kind: Kind, input: Value) -> Self {
        Self {
            name: name.into(),
            kind,
            input,
            deadline: None,
        }
    }
}

/// When a parent has what it asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// All children have succeeded.
    #[default]
    All,
    /// One child has succeeded.
    Any,
    /// So many children have succeeded.
    Quorum(u32),
}

/// What a parent does when it cannot get any more what it asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It cancels the children that live, and goes on when they have ended.
    #[default]
    FailFast,
    /// It lets all children end by themselves.
    WaitAll,
}

/// What a waiting job waits for. It travels in the job's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(utoipa::ToSchema))]
pub struct Waits {
    /// The names of the children.
    pub children: Vec<String>,
    /// How many of them have to succeed.
    #[serde(default)]
    pub join: Join,
    /// What happens when that cannot be any more.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The job goes on at this time at the latest, whatever its children do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemas", schema(value_type = Option<String>, format = DateTime))]
    pub until: Option<Timestamp>,
    /// The children are not touched when the job itself is cancelled.
    #[serde(default)]
    pub shielded: bool,
    /// How often it has looked without being woken.
    #[serde(default)]
    pub looks: u32,
    /// It is decided, and the children that lived were asked to cancel.
    #[serde(default)]
    pub decided: bool,
}

/// How the children of a waiting job stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may still go either way.
    Open,
    /// What is left cannot change the outcome, but some children live.
    Decided,
    /// All have ended.
    Ended,
}

impl Waits {
    /// Judges by the children's states, in their order; `None` for what is not known yet.
    pub fn standing(&self, states: &[Option<JobState>]) -> Standing {
        let ended = states.iter().flatten().filter(|s| s.is_terminal()).count();
        let live = states.len() - ended;
        if live == 0 {
            return Standing::Ended;
        }
        let good = Some(JobState::Succeeded);
        let succeeded = states.iter().filter(|s| **s == good).count();
        let needed = match self.join {
            Join::All => states.len(),
            Join::Any => 1,
            Join::Quorum(n) => usize::try_from(n).unwrap_or(usize::MAX),
        };
        let impossible = succeeded + live < needed;
        if succeeded >= needed || (impossible && self.on_failure == OnFailure::FailFast) {
            Standing::Decided
        } else {
            Standing::Open
        }
    }

    /// Returns how long to wait before the next look, which alone would be enough: 5 s, 15 s, then
    /// 1 min.
    pub fn pause(&self) -> Duration {
        Duration::from_secs(match self.looks {
            0 => 5,
            1 => 15,
            _ => 60,
        })
    }
}

/// Derives the id of a child (UUID version 8, RFC 9562, section 5.8).
pub fn child_id(parent: JobId, epoch: u32, name: &str) -> JobId {
    let mut hash = Sha256::new();
    hash.update(b"vmctl child\0");
    hash.update(parent.as_uuid().as_bytes());
    hash.update(epoch.to_be_bytes());
    hash.update(name.as_bytes());
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    JobId::from_uuid(Uuid::new_v8(bytes))
}

/// Says whether a text can name a child.
pub fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed)
}

/// Makes the command of a child. It is owned by whoever owns the parent, and carries the request and
/// the trace that the parent came from. It holds and frees the names that its kind says, like a job
/// that was submitted. Called again for the same child, it makes a copy.
pub fn command(
    parent: &Event,
    child: &Child,
    kind: &KindSpec,
    source: &str,
    now: Timestamp,
) -> Event {
    let above = &parent.data.job;
    let id = child_id(above.id, parent.data.epoch, &child.name);
    let deadline = child
        .deadline
        .unwrap_or_else(|| clock::add(now, kind.deadline))
        .min(above.deadline);
    let job = JobSpec {
        max_attempts: kind.retry.max_attempts,
        attempt_timeout: kind.attempt_timeout.map(|limit| limit.as_secs()),
        stall_after: kind.stall_after.map(|limit| limit.as_secs()),
        parent_id: Some(above.id),
        root_id: Some(above.root_id.unwrap_or(above.id)),
        depth: above.depth.saturating_add(1),
        step: Some(child.name.clone()),
        // The parent may look as long as it lives.
        keep_until: Some(above.deadline),
        fp: above.fp.clone(),
        unique: kind.unique(&child.input).into_iter().collect(),
        frees: kind.frees(&child.input).into_iter().collect(),
        ..JobSpec::new(
            id,
            child.kind.clone(),
            child.input.clone(),
            now,
            deadline,
            above.auth.clone(),
        )
    };
    let mut event = Event::new(
        derived_id(&id.to_string(), "submitted", parent.time),
        EventType::Submitted,
        source,
        now,
        EventData::new(JobState::Queued, job),
    );
    event.traceparent.clone_from(&parent.traceparent);
    event
}

/// Makes the wish to cancel a child, from what the view knows of it. Asked twice, it is the same
/// wish.
pub fn cancel(spec: &JobSpec, epoch: u32, state: JobState, source: &str, now: Timestamp) -> Event {
    let data = EventData {
        epoch,
        reason: Some("the job that asked for it needs it no more".to_owned()),
        ..EventData::new(state, spec.clone())
    };
    let from = format!("{}:{epoch}", spec.id);
    Event::new(
        derived_id(&from, "cancelled by parent", spec.created_at),
        EventType::CancelRequested,
        source,
        now,
        data,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Option<JobState> = Some(JobState::Running);
    const GOOD: Option<JobState> = Some(JobState::Succeeded);
    const BAD: Option<JobState> = Some(JobState::Failed);
    const GONE: Option<JobState> = Some(JobState::Cancelled);

    fn waits(join: Join, on_failure: OnFailure) -> Waits {
        Waits {
            children: Vec::new(),
            join,
            on_failure,
            until: None,
            shielded: false,
            looks: 0,
            decided: false,
        }
    }

    #[test]
    fn a_join_is_decided_by_states_alone() {
        use OnFailure::{FailFast, WaitAll};
        use Standing::{Decided, Ended, Open};
        for (join, on_failure, states, standing) in [
            (Join::All, FailFast, &[GOOD, LIVE][..], Open),
            (Join::All, FailFast, &[GOOD, None], Open),
            (Join::All, FailFast, &[BAD, LIVE], Decided),
            (Join::All, FailFast, &[GONE, None], Decided),
            (Join::All, WaitAll, &[BAD, LIVE], Open),
            (Join::All, WaitAll, &[BAD, GOOD], Ended),
            (Join::All, FailFast, &[], Ended),
            (Join::Any, FailFast, &[BAD, LIVE], Open),
            (Join::Any, FailFast, &[GOOD, LIVE], Decided),
            (Join::Any, WaitAll, &[GOOD, None], Decided),
            (Join::Quorum(2), FailFast, &[GOOD, LIVE, BAD], Open),
            (Join::Quorum(2), FailFast, &[GOOD, GOOD, LIVE], Decided),
            (Join::Quorum(2), FailFast, &[BAD, LIVE, BAD], Decided),
            (Join::Quorum(2), WaitAll, &[BAD, LIVE, BAD], Open),
        ] {
            let waits = waits(join, on_failure);
            assert_eq!(waits.standing(states), standing, "{waits:?} {states:?}");
        }
    }

    #[test]
    fn a_child_is_the_same_job_whoever_derives_it() {
        let parent: JobId = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a".parse().unwrap();
        let id = child_id(parent, 0, "vm");
        assert_eq!(id, child_id(parent, 0, "vm"));
        assert!(id.is_ours());
        assert_ne!(id, child_id(parent, 1, "vm"));
        assert_ne!(id, child_id(parent, 0, "undo/vm/1"));
    }

    #[test]
    fn names_are_short_words() {
        for (name, is) in [
            ("vm", true),
            ("undo/vm/12", true),
            ("", false),
            ("a b", false),
            ("ä", false),
        ] {
            assert_eq!(is_name(name), is, "{name}");
        }
        assert!(!is_name(&"a".repeat(65)));
    }
}
