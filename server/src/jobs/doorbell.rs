//! Wakes requests that wait for a change of a job.
//!
//! The tail of the log and the progress feed say *that* something happened; what happened is read
//! from the store, so that no client sees state go back. A doorbell that is down costs freshness
//! only: waiting requests then look at the store by themselves.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use vmctl_api_types::JobId;
use vmctl_core::bus::{BusError, Feed, LogStart};

use crate::app::App;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const BATCH: usize = 1_000;

/// How long, and for how many jobs, it is remembered that the log has something about them.
const RECENT: Duration = Duration::from_secs(10);
const MOST_RECENT: usize = 50_000;

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Doorbell {
    bells: Arc<Mutex<HashMap<JobId, Bell>>>,
    recent: Mutex<Recent>,
    attached: AtomicBool,
}

/// The newest entry of each job that was in the log lately. Whoever starts to wait after the ring and
/// before the view has the entry knows by it that a change is on its way.
#[derive(Default)]
struct Recent {
    offsets: HashMap<JobId, u64>,
    order: VecDeque<(Instant, JobId, u64)>,
}

impl Recent {
    fn note(&mut self, id: JobId, offset: u64, now: Instant) {
        while let Some((at, old, noted)) = self.order.front().copied() {
            if self.order.len() < MOST_RECENT && now.duration_since(at) < RECENT {
                break;
            }
            self.order.pop_front();
            if self.offsets.get(&old) == Some(&noted) {
                self.offsets.remove(&old);
            }
        }
        self.offsets.insert(id, offset);
        self.order.push_back((now, id, offset));
    }
}

struct Bell {
    rings: watch::Sender<()>,
    listeners: usize,
}

/// Hears one job's bell. Bounded by the number of requests that may wait.
pub(crate) struct Listener {
    id: JobId,
    rings: watch::Receiver<()>,
    bells: Arc<Mutex<HashMap<JobId, Bell>>>,
}

impl Doorbell {
    /// Starts to listen: rings from now on are not missed.
    pub fn listen(&self, id: JobId) -> Listener {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        let bell = bells.entry(id).or_insert_with(|| Bell {
            rings: watch::Sender::new(()),
            listeners: 0,
        });
        bell.listeners += 1;
        Listener {
            id,
            rings: bell.rings.subscribe(),
            bells: Arc::clone(&self.bells),
        }
    }

    /// Says whether rings can be expected at all.
    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Relaxed)
    }

    /// Returns the offset of the newest entry that the log had about this job lately.
    pub fn latest(&self, id: JobId) -> Option<u64> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.offsets.get(&id).copied()
    }

    /// Rings for an entry of the log (with its offset) or for progress (without).
    fn ring(&self, correlation_id: Option<&str>, offset: Option<u64>) {
        let Some(id) = correlation_id.and_then(|text| text.parse().ok()) else {
            return;
        };
        if let Some(offset) = offset {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.note(id, offset, Instant::now());
        }
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(&id) {
            bell.rings.send_replace(());
        }
    }
}

impl Listener {
    /// Waits for the next ring. Cancel safe.
    pub async fn rung(&mut self) {
        // The sender lives in the map for as long as this listener is counted there.
        if self.rings.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = bells.entry(self.id) {
            entry.get_mut().listeners -= 1;
            if entry.get().listeners == 0 {
                entry.remove();
            }
        }
    }
}

/// Follows the log for ever, from its end.
pub(crate) async fn follow_log(app: &App) -> Infallible {
    let mut pause = FIRST_PAUSE;
    loop {
        match tail(app, &mut pause).await {
            Ok(never) => return never,
            Err(error) => tracing::warn!(
                error = crate::error::chain(&error),
                "the tail of the log is lost, waiting requests poll the store"
            ),
        }
        app.doorbell.attached.store(false, Ordering::Relaxed);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn tail(app: &App, pause: &mut Duration) -> Result<Infallible, BusError> {
    let mut reader = app.bus.log.read(LogStart::Next).await?;
    app.doorbell.attached.store(true, Ordering::Relaxed);
    loop {
        for entry in reader.next_batch(BATCH).await? {
            let id = entry.message.correlation_id.as_deref();
            app.doorbell.ring(id, Some(entry.offset));
        }
        *pause = FIRST_PAUSE;
    }
}

/// Follows the progress feed for ever.
pub(crate) async fn follow_ticks(app: &App) -> Infallible {
    let mut pause = FIRST_PAUSE;
    loop {
        match app
            .bus
            .consumer
            .subscribe(Feed::Ticks, &app.config.name)
            .await
        {
            Ok(mut feed) => {
                while let Some(tick) = feed.next().await {
                    pause = FIRST_PAUSE;
                    app.doorbell.ring(tick.correlation_id.as_deref(), None);
                }
            }
            Err(error) => tracing::warn!(
                error = crate::error::chain(&error),
                "no progress feed, waiting requests see progress later"
            ),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> JobId {
        format!("0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b{n:02x}")
            .parse()
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_job_that_rings_is_heard_and_nothing_is_left_behind() {
        let doorbell = Doorbell::default();
        let mut first = doorbell.listen(id(1));
        let mut twin = doorbell.listen(id(1));
        let mut other = doorbell.listen(id(2));
        doorbell.ring(Some(&id(1).to_string()), Some(7));
        doorbell.ring(Some("nonsense"), Some(8));
        doorbell.ring(None, Some(9));
        first.rung().await;
        twin.rung().await;
        let quiet = tokio::time::timeout(Duration::from_secs(1), other.rung()).await;
        assert!(quiet.is_err());
        drop((first, twin, other));
        assert!(doorbell.bells.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_rang_lately_is_remembered_for_a_while() {
        let doorbell = Doorbell::default();
        let ring = |n, offset| doorbell.ring(Some(&id(n).to_string()), offset);
        ring(1, Some(7));
        ring(1, None);
        assert_eq!(doorbell.latest(id(1)), Some(7));
        assert_eq!(doorbell.latest(id(2)), None);
        tokio::time::advance(RECENT / 2).await;
        ring(1, Some(9));
        tokio::time::advance(RECENT / 2).await;
        ring(2, Some(10));
        assert_eq!(
            doorbell.latest(id(1)),
            Some(9),
            "the newer one is still young"
        );
        tokio::time::advance(RECENT).await;
        ring(3, Some(11));
        assert_eq!(doorbell.latest(id(1)), None);
        assert_eq!(doorbell.recent.lock().unwrap().order.len(), 1);
    }
}
