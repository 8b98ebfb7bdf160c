//! One project's standing. The scripts of the Redis backend do the same.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{expiring::Expiring, part::milliseconds};
use crate::{
    clock,
    store::project::{
        Change, ENDED, Entered, Entry, Hold, HoldState, Holder, Note, ProjectLimits, Run, Usage,
    },
};

/// One project's standing.
#[derive(Debug, Clone, Default)]
pub struct Book {
    active: Expiring<Run, ()>,
    ended: Expiring<Run, ()>,
    claims: BTreeMap<String, Claim>,
    /// When all submissions of the rate may come again.
    full_at: Option<Timestamp>,
}

/// One key.
#[derive(Debug, Clone, Default)]
struct Claim {
    holders: BTreeMap<Run, Hold>,
    /// The newest moment at which what was made was freed, and until when that is remembered.
    freed: Option<(Timestamp, Timestamp)>,
}

impl Claim {
    fn prune(&mut self, now: Timestamp) {
        self.holders.retain(|_, hold| hold.expires > now);
        self.freed = self.freed.filter(|(_, until)| *until > now);
    }

    fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.freed.is_none()
    }
}

impl Book {
    /// Forgets runs that are over.
    pub fn prune_runs(&mut self, now: Timestamp) {
        self.active.prune(now);
        self.ended.prune(now);
    }

    /// Forgets all that is over. Says whether nothing is left.
    pub fn prune(&mut self, now: Timestamp) -> bool {
        self.prune_runs(now);
        self.claims.retain(|_, claim| {
            claim.prune(now);
            !claim.is_empty()
        });
        self.full_at = self.full_at.filter(|at| *at > now);
        self.active.len() + self.ended.len() + self.claims.len() == 0 && self.full_at.is_none()
    }

    pub fn enter(&mut self, entry: &Entry, now: Timestamp) -> (Entered, Usage) {
        let now = milliseconds(now);
        self.prune_runs(now);
        for key in &entry.keys {
            if let Some(claim) = self.claims.get_mut(key) {
                claim.prune(now);
            }
        }
        let entered = self.try_enter(entry, now);
        (entered, self.usage(entry.limits, now))
    }

    fn try_enter(&mut self, entry: &Entry, now: Timestamp) -> Entered {
        let fresh = self.active.get(&entry.run, now).is_none();
        let usage = self.usage(entry.limits, now);
        if fresh && entry.limits.rate.is_some() && usage.left == 0 {
            return Entered::TooFast;
        }
        let obstacles: Vec<_> = entry
            .keys
            .iter()
            .flat_map(|key| entry.kept_out_by(self.others(key, entry.run)))
            .collect();
        if !obstacles.is_empty() {
            return Entered::Held(obstacles);
        }
        if fresh && entry.limits.active.is_some_and(|most| usage.active >= most) {
            return Entered::Full;
        }
        let expires = milliseconds(entry.expires);
        self.active.insert(entry.run, (), expires);
        let since = self.since(entry, now);
        for key in &entry.keys {
            let claim = self.claims.entry(key.clone()).or_default();
            let hold = claim.holders.get(&entry.run);
            if hold.is_none_or(|hold| hold.state == HoldState::Taken) {
                let hold = Hold {
                    state: HoldState::Taken,
                    since,
                    expires,
                };
                claim.holders.insert(entry.run, hold);
            }
        }
        if fresh && let Some(rate) = entry.limits.rate {
            let from = self.full_at.unwrap_or(now).max(now);
            self.full_at = Some(clock::add(from, Duration::from_micros(rate.interval_us())));
        }
        Entered::In { fresh, since }
    }

    /// Since when an entrance holds its keys: later than any before it.
    fn since(&self, entry: &Entry, now: Timestamp) -> Timestamp {
        let claims = entry.keys.iter().filter_map(|key| self.claims.get(key));
        let holds = claims.filter_map(|claim| claim.holders.get(&entry.run));
        let taken = holds.filter(|hold| hold.state == HoldState::Taken);
        let next = taken.map(|hold| clock::add(hold.since, Duration::from_millis(1)));
        next.max().map_or(now, |next| next.max(now))
    }

    /// Who else holds a key; an earlier run of the same job is nobody else.
    fn others(&self, key: &String, run: Run) -> Vec<Holder> {
        let mut holders = self.holders(std::slice::from_ref(key));
        holders.retain(|holder| holder.run.job != run.job);
        holders
    }

    pub fn leave<'a>(
        &mut self,
        run: Run,
        keys: impl IntoIterator<Item = &'a String>,
        since: Timestamp,
    ) {
        let mut stays = false;
        for key in keys {
            if let Some(claim) = self.claims.get_mut(key) {
                let own = |hold: &Hold| hold.state == HoldState::Taken && hold.since == since;
                claim.holders.retain(|r, hold| *r != run || !own(hold));
                stays |= claim.holders.contains_key(&run);
            }
        }
        if !stays {
            self.active.remove(&run);
        }
    }

    pub fn holders(&self, keys: &[String]) -> Vec<Holder> {
        let held = |key: &String| {
            let holders = self.claims.get(key).map(|claim| &claim.holders);
            let holder = |(&run, &hold)| Holder {
                key: key.clone(),
                run,
                hold,
            };
            holders
                .into_iter()
                .flatten()
                .map(holder)
                .collect::<Vec<_>>()
        };
        keys.iter().flat_map(held).collect()
    }

    pub fn release(&mut self, holders: &[Holder]) {
        for Holder { key, run, hold } in holders {
            if let Some(claim) = self.claims.get_mut(key) {
                claim.holders.retain(|r, have| r != run || have != hold);
            }
        }
    }

    pub fn usage(&self, limits: ProjectLimits, now: Timestamp) -> Usage {
        let reset = self.full_at.map_or(Duration::ZERO, |at| {
            Duration::try_from(at.duration_since(now)).unwrap_or_default()
        });
        let active = self.active.len().try_into().unwrap_or(u64::MAX);
        Usage::new(active, reset, limits)
    }

    pub fn active(&self, limit: usize) -> Vec<Run> {
        self.active.in_order().take(limit).copied().collect()
    }

    pub fn note(&mut self, note: &Note, now: Timestamp) {
        let now = milliseconds(now);
        self.prune_runs(now);
        match note.change {
            Change::Live { expires } => self.live(note, milliseconds(expires), now),
            Change::Ended => self.end(note, now),
            Change::Made { at, expires } => {
                self.end(note, now);
                self.made(note, milliseconds(at), milliseconds(expires), now);
            }
        }
    }

    fn live(&mut self, note: &Note, expires: Timestamp, now: Timestamp) {
        if self.ended.get(&note.run, now).is_some() {
            return;
        }
        self.active.insert(note.run, (), expires);
        for unique in &note.unique {
            let claim = self.claims.entry(unique.key.clone()).or_default();
            let since = claim.holders.get(&note.run).map_or(now, |hold| hold.since);
            let hold = Hold {
                state: HoldState::Live,
                since,
                expires,
            };
            claim.holders.insert(note.run, hold);
        }
    }

    fn end(&mut self, note: &Note, now: Timestamp) {
        self.active.remove(&note.run);
        self.ended.insert(note.run, (), clock::add(now, ENDED));
        for unique in &note.unique {
            if let Some(claim) = self.claims.get_mut(&unique.key) {
                claim.holders.remove(&note.run);
            }
        }
    }

    fn made(&mut self, note: &Note, at: Timestamp, expires: Timestamp, now: Timestamp) {
        if expires <= now {
            return;
        }
        for key in note.keeps() {
            let claim = self.claims.entry(key.to_owned()).or_default();
            if claim.freed.is_none_or(|(freed, _)| freed < at) {
                let hold = Hold {
                    state: HoldState::Made,
                    since: at,
                    expires,
                };
                claim.holders.insert(note.run, hold);
            }
        }
        for key in &note.frees {
            let claim = self.claims.entry(key.clone()).or_default();
            let freed = claim.freed.filter(|(freed, _)| *freed >= at);
            claim.freed = freed.or(Some((at, expires)));
            claim
                .holders
                .retain(|_, hold| hold.state != HoldState::Made || hold.since > at);
        }
    }
}

/// Time after which the books of projects that are not heard of are looked at.
pub const LOOK: SignedDuration = SignedDuration::from_secs(60);
