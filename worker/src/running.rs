//! What runs in this process, and which cancels it has heard of and found in the view.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vmctl_core::{JobId, Kind};

use crate::{
    pulse::Pulse,
    signals::{CancelReason, CancelWish, Signals},
};

/// How many cancels of jobs that do not run here are remembered.
const REMEMBERED: usize = 10_000;

/// The jobs that run in this process: no job twice at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    jobs: HashMap<JobId, Entry>,
    wishes: HashMap<(JobId, u32), Option<String>>,
    order: VecDeque<(JobId, u32)>,
}

#[derive(Debug)]
struct Entry {
    epoch: u32,
    signals: Signals,
    gone: CancellationToken,
    /// Once its handler runs.
    hand: Option<Hand>,
}

/// A job whose handler runs.
#[derive(Debug, Clone)]
pub(crate) struct Hand {
    pub(crate) kind: Kind,
    pub(crate) project: String,
    pub(crate) attempt: u32,
    pub(crate) since: Instant,
    pub(crate) pulse: Pulse,
}

/// A place in [`Running`]; given up when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    running: Running,
    job: JobId,
    gone: CancellationToken,
}

impl Place {
    /// The job's handler runs from now on.
    pub(crate) fn begin(&self, hand: Hand) {
        if let Some(entry) = self.running.lock().jobs.get_mut(&self.job) {
            entry.hand = Some(hand);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.lock().jobs.remove(&self.job);
        self.gone.cancel();
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete in one statement, so a panic leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the job's place.
    ///
    /// # Errors
    ///
    /// When the job runs here already: a token that fires once it does not any more.
    pub(crate) fn enter(
        &self,
        job: JobId,
        epoch: u32,
        signals: &Signals,
    ) -> Result<Place, CancellationToken> {
        let mut state = self.lock();
        if let Some(entry) = state.jobs.get(&job) {
            return Err(entry.gone.clone());
        }
        let gone = CancellationToken::new();
        let entry = Entry {
            epoch,
            signals: signals.clone(),
            gone: gone.clone(),
            hand: None,
        };
        // A cancel between the look at the wishes and now would otherwise be missed.
        if let Some(reason) = state.wishes.get(&(job, epoch)) {
            signals.ask_to_cancel(CancelReason::Requested(reason.clone()));
        }
        state.jobs.insert(job, entry);
        Ok(Place {
            running: self.clone(),
            job,
            gone,
        })
    }

    /// Cancels the job if it runs here, and remembers the wish for its later slices.
    pub(crate) fn cancel(&self, job: JobId, epoch: u32, reason: Option<String>) {
        let mut state = self.lock();
        if let Some(entry) = state.jobs.get(&job)
            && entry.epoch == epoch
        {
            entry
                .signals
                .ask_to_cancel(CancelReason::Requested(reason.clone()));
        }
        if state.wishes.insert((job, epoch), reason).is_none() {
            state.order.push_back((job, epoch));
        }
        while state.order.len() > REMEMBERED {
            if let Some(oldest) = state.order.pop_front() {
                state.wishes.remove(&oldest);
            }
        }
    }

    /// Returns the jobs whose handlers run, the oldest first, at most so many.
    pub(crate) fn in_hand(&self, most: usize) -> Vec<(JobId, Hand)> {
        let state = self.lock();
        let hands = state.jobs.iter();
        let mut hands: Vec<_> = hands
            .filter_map(|(job, entry)| Some((*job, entry.hand.clone()?)))
            .collect();
        hands.sort_by_key(|(_, hand)| hand.since);
        hands.truncate(most);
        hands
    }

    /// Returns the reason of a cancel that was heard of.
    pub(crate) fn wish(&self, job: JobId, epoch: u32) -> Option<CancelWish> {
        let state = self.lock();
        let reason = state.wishes.get(&(job, epoch))?.clone();
        Some(CancelWish { reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmctl_core::clock::{SystemClock, new_job_id};

    #[test]
    fn a_job_has_one_place() {
        let running = Running::default();
        let job = new_job_id(&SystemClock);
        let place = running.enter(job, 0, &Signals::default()).unwrap();
        let gone = running.enter(job, 0, &Signals::default()).unwrap_err();
        assert!(!gone.is_cancelled());
        drop(place);
        assert!(gone.is_cancelled());
        assert!(running.enter(job, 0, &Signals::default()).is_ok());
    }

    #[test]
    fn a_cancel_reaches_its_own_epoch_only() {
        let running = Running::default();
        let job = new_job_id(&SystemClock);
        let signals = Signals::default();
        let place = running.enter(job, 1, &signals).unwrap();
        running.cancel(job, 0, None);
        assert!(!signals.cancel().is_cancelled());
        running.cancel(job, 1, Some("why".to_owned()));
        assert!(signals.cancel().is_cancelled());
        drop(place);
        let later = Signals::default();
        let _place = running.enter(job, 1, &later).unwrap();
        assert!(later.cancel().is_cancelled());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let running = Running::default();
        let first = new_job_id(&SystemClock);
        running.cancel(first, 0, None);
        for _ in 0..REMEMBERED {
            running.cancel(new_job_id(&SystemClock), 0, None);
        }
        assert_eq!(running.wish(first, 0), None);
        assert_eq!(running.lock().wishes.len(), REMEMBERED);
        assert_eq!(running.lock().order.len(), REMEMBERED);
    }
}
