//! The lines of one partition's projects. The script that folds on Redis does the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{expiring::Expiring, part::milliseconds};
use crate::{
    store::project::Run,
    turn::{Moved, Place, Stand, Step},
};

/// A key of a project.
type Key = (String, String);

/// Lines, by project and key.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    runs: BTreeMap<Key, BTreeSet<Run>>,
    /// Where a run stands at a key.
    stands: Expiring<(Key, Run), Stand>,
    ended: Expiring<Run, ()>,
}

impl Lines {
    /// Forgets what has expired.
    pub fn prune(&mut self, now: Timestamp) {
        self.ended.prune(now);
        for ((key, run), _) in self.stands.prune(now) {
            self.unlist(&key, run);
        }
    }

    pub fn apply(&mut self, step: &Step, now: Timestamp) {
        let (run, expires) = (step.run, milliseconds(step.expires));
        if expires <= now || self.ended.get(&run, now).is_some() {
            return;
        }
        let mut is_over = matches!(step.moved, Moved::Out(_));
        for key in &step.keys {
            let place = ((step.project.clone(), key.clone()), run);
            let before = self.stands.get(&place, now).copied();
            match step.moved.from(before) {
                None => {
                    self.stands.remove(&place);
                    self.unlist(&place.0, run);
                }
                after if after == before => is_over = false,
                Some(stand) => {
                    let line = self.runs.entry(place.0.clone()).or_default();
                    line.insert(run);
                    self.stands.insert(place, stand, expires);
                }
            }
        }
        if is_over {
            self.ended.insert(run, (), expires);
        }
    }

    pub fn places(&self, project: &str, keys: &[String], now: Timestamp) -> Vec<Place> {
        let at = |key: &String| {
            let key = (project.to_owned(), key.clone());
            let runs = self.runs.get(&key).into_iter().flatten();
            let places = runs.filter_map(|&run| {
                let waits = match *self.stands.get(&(key.clone(), run), now)? {
                    Stand::Waits(since) => Some(since),
                    Stand::Free | Stand::Begun => None,
                };
                Some(Place { run, waits })
            });
            places.collect::<Vec<_>>()
        };
        keys.iter().flat_map(at).collect()
    }

    fn unlist(&mut self, key: &Key, run: Run) {
        if let Some(line) = self.runs.get_mut(key) {
            line.remove(&run);
            if line.is_empty() {
                self.runs.remove(key);
            }
        }
    }
}
