//! The lines of one partition's projects. The script that folds on Redis does the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{expiring::Expiring, part::milliseconds};
use crate::{
    store::project::Run,
    turn::{Moved, Place, Step},
};

/// A key of a project.
type Key = (String, String);

/// Lines, by project and key.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    runs: BTreeMap<Key, BTreeSet<Run>>,
    /// Since when a run waits at a key; `None` when it does not.
    waits: Expiring<(Key, Run), Option<u64>>,
    ended: Expiring<Run, ()>,
}

impl Lines {
    /// Forgets what has expired.
    pub fn prune(&mut self, now: Timestamp) {
        self.ended.prune(now);
        for ((key, run), _) in self.waits.prune(now) {
            self.unlist(&key, run);
        }
    }

    pub fn apply(&mut self, step: &Step, now: Timestamp) {
        let (run, expires) = (step.run, milliseconds(step.expires));
        if expires <= now || self.ended.get(&run, now).is_some() {
            return;
        }
        for key in &step.keys {
            let place = ((step.project.clone(), key.clone()), run);
            let waits = match step.moved {
                Moved::In { offset } => match self.waits.get(&place, now) {
                    Some(since) if since.is_none_or(|since| since <= offset) => continue,
                    _ => Some(offset),
                },
                Moved::On => None,
                Moved::Out => {
                    self.waits.remove(&place);
                    self.unlist(&place.0, run);
                    continue;
                }
            };
            let line = self.runs.entry(place.0.clone()).or_default();
            line.insert(run);
            self.waits.insert(place, waits, expires);
        }
        if step.moved == Moved::Out {
            self.ended.insert(run, (), expires);
        }
    }

    pub fn places(&self, project: &str, keys: &[String], now: Timestamp) -> Vec<Place> {
        let at = |key: &String| {
            let key = (project.to_owned(), key.clone());
            let runs = self.runs.get(&key).into_iter().flatten();
            let places = runs.filter_map(|&run| {
                let waits = *self.waits.get(&(key.clone(), run), now)?;
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
