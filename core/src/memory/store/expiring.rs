//! A map whose entries are forgotten at an instant of their own.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use jiff::Timestamp;

/// A map whose entries are forgotten at an instant of their own.
#[derive(Debug, Clone)]
pub struct Expiring<K, V> {
    entries: HashMap<K, (V, Timestamp)>,
    order: BTreeSet<(Timestamp, K)>,
}

impl<K, V> Default for Expiring<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord, V> Expiring<K, V> {
    pub fn get(&self, key: &K, now: Timestamp) -> Option<&V> {
        let (value, expires) = self.entries.get(key)?;
        (*expires > now).then_some(value)
    }

    pub fn get_mut(&mut self, key: &K, now: Timestamp) -> Option<&mut V> {
        let (value, expires) = self.entries.get_mut(key)?;
        (*expires > now).then_some(value)
    }

    /// Returns when an entry is over.
    pub fn expires(&self, key: &K) -> Option<Timestamp> {
        self.entries.get(key).map(|(_, expires)| *expires)
    }

    /// Puts an entry in the place of another.
    pub fn insert(&mut self, key: K, value: V, expires: Timestamp) {
        self.remove(&key);
        self.order.insert((expires, key.clone()));
        self.entries.insert(key, (value, expires));
    }

    /// Takes an entry out, with its instant.
    pub fn remove(&mut self, key: &K) -> Option<(V, Timestamp)> {
        let (value, expires) = self.entries.remove(key)?;
        self.order.remove(&(expires, key.clone()));
        Some((value, expires))
    }

    /// Takes out what is over.
    pub fn prune(&mut self, now: Timestamp) -> Vec<(K, V)> {
        let mut over = Vec::new();
        while self.order.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.order.pop_first() else {
                break;
            };
            if let Some((value, _)) = self.entries.remove(&key) {
                over.push((key, value));
            }
        }
        over
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.keys()
    }

    /// Returns the keys, those first that are over first.
    pub fn in_order(&self) -> impl Iterator<Item = &K> {
        self.order.iter().map(|(_, key)| key)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
