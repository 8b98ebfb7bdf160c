//! How many requests may be under way to one host at once, so that a receiver which is slow does not
//! hold every slot of a worker.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use url::Url;

/// First and longest wait for a place, in seconds. It doubles each time, so that a thousand callbacks
/// to one slow receiver do not keep the broker busy.
const WAIT: (u64, u64) = (1, 60);

/// The places of each host. A host that nobody calls has no entry.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    most: usize,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// One request under way; the place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    host: String,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

impl Places {
    /// Gives each host so many, at least one.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            taken: Arc::default(),
        }
    }

    /// Takes a place of the address's host, on whatever port; none when all are taken.
    pub(crate) fn take(&self, url: &Url) -> Option<Place> {
        // With a dot at the end a name leads to the same host.
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        // One count under the lock, so a panic leaves it whole.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(host).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        taken.insert(host.to_owned(), count + 1);
        Some(Place {
            host: host.to_owned(),
            taken: self.taken.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.host)),
        }
    }
}

/// How long to wait for a place that was sought `times` before. `drawn`, from 0 to 1, spreads those
/// that came together over half of their wait.
pub(crate) fn wait_for_place(times: u32, drawn: f64) -> Duration {
    let (first, longest) = WAIT;
    let seconds = first.checked_shl(times).unwrap_or(longest).min(longest);
    Duration::from_secs(seconds).mul_f64(1.0 + drawn.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_so_many_places_and_other_hosts_have_their_own() {
        let places = Places::new(2);
        let url = |text: &str| text.parse().unwrap();
        let first = places.take(&url("https://a.example/1"));
        let second = places.take(&url("https://A.example.:8443/2"));
        assert!(first.is_some() && second.is_some());
        assert!(places.take(&url("https://a.example/3")).is_none());
        let other = places.take(&url("https://b.example/1"));
        assert!(other.is_some());
        drop(first);
        assert!(places.take(&url("https://a.example/4")).is_some());
        drop((second, other));
        assert!(places.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn the_wait_for_a_place_doubles_up_to_a_minute() {
        let seconds = |times| wait_for_place(times, 0.0).as_secs();
        assert_eq!(
            [0, 1, 5, 6, 63, u32::MAX].map(seconds),
            [1, 2, 32, 60, 60, 60]
        );
        assert_eq!(wait_for_place(6, 1.0), Duration::from_secs(90));
    }
}
