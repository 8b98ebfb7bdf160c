//! Which work queues have been empty for long, by this reader's own looks. Pure.
//!
//! One look that does not find a queue empty, or cannot be made, begins the time anew; so does a time
//! without looks. A worker may hold a delivery that no look sees: that is why the time is long, and what
//! follows must do no harm.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;
use vmctl_core::Kind;

/// Most queues that are looked at. A hostile message can name any kind.
const MOST: usize = 200;

/// Looks at work queues.
#[derive(Debug, Default)]
pub(crate) struct Emptied(BTreeMap<Kind, Option<Empty>>);

/// Since when a queue is empty, and when it was looked at last.
#[derive(Debug, Clone, Copy)]
struct Empty {
    since: Instant,
    at: Timestamp,
    looked: Instant,
}

impl Empty {
    fn is_long(&self, time: Duration) -> bool {
        self.looked.duration_since(self.since) >= time
    }
}

impl Emptied {
    /// Has the queue of a kind looked at from now on, if there is room.
    pub fn watch(&mut self, kind: Kind) {
        if self.0.len() < MOST {
            self.0.entry(kind).or_default();
        }
    }

    /// Returns the kinds to look at.
    pub fn watched(&self) -> Vec<Kind> {
        self.0.keys().cloned().collect()
    }

    /// Takes a look at a queue: whether it is there and nothing is ready in it. `gap` is the longest time
    /// between two looks of one row.
    pub fn looked(&mut self, kind: &Kind, empty: bool, gap: Duration, at: Timestamp) {
        let Some(entry) = self.0.get_mut(kind) else {
            return;
        };
        let looked = Instant::now();
        *entry = match *entry {
            _ if !empty => None,
            Some(row) if looked.duration_since(row.looked) <= gap => Some(Empty { looked, ..row }),
            _ => Some(Empty {
                since: looked,
                at,
                looked,
            }),
        };
    }

    /// Forgets all looks: the broker was away.
    pub fn forget(&mut self) {
        self.0.values_mut().for_each(|entry| *entry = None);
    }

    /// Says whether a queue has been empty for so long.
    pub fn is_any(&self, time: Duration) -> bool {
        self.0.values().flatten().any(|row| row.is_long(time))
    }

    /// Takes out the rows of queues that have been empty for so long; returns since when.
    pub fn take(&mut self, time: Duration) -> BTreeMap<Kind, Timestamp> {
        let long = |(kind, entry): (&Kind, &mut Option<Empty>)| {
            let row = entry.take_if(|row| row.is_long(time))?;
            Some((kind.clone(), row.at))
        };
        self.0.iter_mut().filter_map(long).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(5);
    const GAP: Duration = Duration::from_secs(15);

    fn kind(name: &str) -> Kind {
        name.parse().unwrap()
    }

    async fn looks(emptied: &mut Emptied, empty: bool, times: u32) {
        for _ in 0..times {
            tokio::time::advance(Duration::from_secs(5)).await;
            emptied.looked(&kind("vm.create"), empty, GAP, Timestamp::UNIX_EPOCH);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_whole_row_of_looks_counts() {
        let mut emptied = Emptied::default();
        emptied.watch(kind("vm.create"));
        looks(&mut emptied, true, 60).await;
        assert!(!emptied.is_any(LONG), "295 s");
        looks(&mut emptied, true, 1).await;
        assert!(emptied.is_any(LONG));

        // Each of these begins the row anew.
        looks(&mut emptied, false, 1).await;
        looks(&mut emptied, true, 60).await;
        emptied.forget();
        looks(&mut emptied, true, 60).await;
        tokio::time::advance(GAP).await;
        looks(&mut emptied, true, 60).await;
        assert!(!emptied.is_any(LONG));
        looks(&mut emptied, true, 1).await;
        assert!(emptied.take(LONG).contains_key(&kind("vm.create")));
        looks(&mut emptied, true, 60).await;
        assert!(emptied.take(LONG).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_queues_is_bounded() {
        let mut emptied = Emptied::default();
        for n in 0..1000 {
            emptied.watch(kind(&format!("a.b{n}")));
        }
        assert_eq!(emptied.watched().len(), MOST);
        looks(&mut emptied, true, 61).await;
        assert!(!emptied.is_any(LONG), "nobody watches it");
    }
}
