//! Which workers live, as far as this server has heard them.
//!
//! Workers say every few seconds what they do; each server remembers the last word of each, and nobody
//! stores it. A server that has just begun to listen does not know all of them yet, and says so. Whatever
//! is said changes nothing but this list: it is bounded, and a word that cannot be read is no word.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;
use vmctl_api_types::{Presence, WorkerInfo, WorkerList, WorkerState};
use vmctl_core::{
    bus::{Attachment, Received},
    presence::{self, GONE_AFTER},
};

/// How many workers are remembered.
pub(crate) const MOST: usize = 1_000;

/// How often room is looked for while there is none.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What was heard.
#[derive(Default)]
pub(crate) struct Workers(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    /// Tells since when anything can be heard.
    feed: Option<Attachment>,
    workers: BTreeMap<String, Word>,
    /// When a worker was not remembered for lack of room.
    refused: Option<Instant>,
    /// When room was last looked for.
    swept: Option<Instant>,
}

/// The last word of a worker.
struct Word {
    heard: Instant,
    heard_at: Timestamp,
    presence: Presence,
}

impl Workers {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        // Every change under the lock is complete in one statement, so a panic leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This feed tells of workers from now on.
    pub fn listen_on(&self, feed: Attachment) {
        self.heard().feed = Some(feed);
    }

    /// Takes note of a message. Says whether it was about a worker.
    pub fn saw(&self, message: &Received, now: Timestamp) -> bool {
        if !presence::is_presence(message) {
            return false;
        }
        if let Some(presence) = presence::parse(message) {
            self.heard().note(presence, now);
        }
        true
    }

    /// Returns the workers that live, with the jobs of one project or of all.
    pub fn list(&self, project: Option<&str>, now: Timestamp) -> WorkerList {
        let mut heard = self.heard();
        heard.forget();
        let listening = heard.feed.as_ref().and_then(Attachment::since);
        let had_room = heard.refused.is_none();
        let items = heard.workers.values();
        let items = items.map(|word| word.shown(project, now)).collect();
        WorkerList {
            items,
            since: listening.map(|since| now.checked_sub(since.elapsed()).unwrap_or(now)),
            complete: had_room && listening.is_some_and(|since| since.elapsed() >= GONE_AFTER),
        }
    }
}

impl Heard {
    fn note(&mut self, presence: Presence, heard_at: Timestamp) {
        if presence.state == WorkerState::Ended {
            self.workers.remove(&presence.name);
            return;
        }
        let heard = Instant::now();
        // Whoever floods takes nobody's place.
        if !self.workers.contains_key(&presence.name) && !self.has_room(heard) {
            self.refused = Some(heard);
            return;
        }
        let word = Word {
            heard,
            heard_at,
            presence,
        };
        self.workers.insert(word.presence.name.clone(), word);
    }

    /// Looks whether somebody has gone, but not for each word of a flood.
    fn has_room(&mut self, now: Instant) -> bool {
        let swept = |at: Instant| now.duration_since(at) < SWEEP_EVERY;
        if self.workers.len() >= MOST && !self.swept.is_some_and(swept) {
            self.swept = Some(now);
            self.forget();
        }
        self.workers.len() < MOST
    }

    fn forget(&mut self) {
        let is_recent = |at: &Instant| at.elapsed() < GONE_AFTER;
        self.workers.retain(|_, word| is_recent(&word.heard));
        self.refused = self.refused.filter(is_recent);
    }
}

impl Word {
    fn shown(&self, project: Option<&str>, now: Timestamp) -> WorkerInfo {
        let mut presence = self.presence.clone();
        presence.started_at = presence.started_at.min(now);
        let is_seen = |own: &String| project.is_none_or(|project| project == own);
        presence.jobs.retain(|job| is_seen(&job.project_id));
        for job in &mut presence.jobs {
            job.since = job.since.min(now);
            job.heard_at = job.heard_at.min(now);
        }
        WorkerInfo {
            presence,
            heard_at: self.heard_at,
        }
    }
}
