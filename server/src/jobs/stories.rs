//! Reads of jobs' stories, shared by the streams that look at the same moment.
//!
//! An event wakes every stream of its job. One of them asks the store; the others take what it is told.
//! Nobody takes the answer of a read that began before he asked: what he has seen until then must be in
//! it. So a job is read at most twice for all who ask at one moment, and one read is under way at a time.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use vmctl_api_types::JobId;
use vmctl_core::store::StoreError;

use crate::jobs::view::SharedStory;

/// The reads of one server. Bounded by the number of streams and requests.
#[derive(Default)]
pub(crate) struct Stories {
    jobs: Mutex<HashMap<JobId, (usize, Arc<Reads>)>>,
}

/// The reads of one job, while somebody waits for one.
#[derive(Default)]
struct Reads {
    /// How many have begun.
    begun: AtomicU64,
    /// The last one's number and answer; locked while the next one is under way.
    last: tokio::sync::Mutex<Option<(u64, SharedStory)>>,
}

/// Somebody who waits.
struct Waiting<'a> {
    stories: &'a Stories,
    job: JobId,
    reads: Arc<Reads>,
}

impl Stories {
    /// Returns the answer of a read that begins from now on: somebody else's, or that of `read`.
    ///
    /// # Errors
    ///
    /// Those of `read`. They are not shared, so the caller bounds the whole call.
    pub async fn read(
        &self,
        job: JobId,
        read: impl Future<Output = Result<SharedStory, StoreError>>,
    ) -> Result<SharedStory, StoreError> {
        let waiting = self.wait(job);
        let reads = &waiting.reads;
        let begun = reads.begun.load(Ordering::SeqCst);
        let mut last = reads.last.lock().await;
        if let Some((number, story)) = &*last
            && *number > begun
        {
            return Ok(story.clone());
        }
        let number = reads.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let story = read.await?;
        *last = Some((number, story.clone()));
        Ok(story)
    }

    fn wait(&self, job: JobId) -> Waiting<'_> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let (waiting, reads) = jobs.entry(job).or_default();
        *waiting += 1;
        Waiting {
            stories: self,
            job,
            reads: Arc::clone(reads),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let jobs = &self.stories.jobs;
        let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = jobs.entry(self.job) {
            entry.get_mut().0 -= 1;
            if entry.get().0 == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;
    use tokio::time::{sleep, timeout};
    use vmctl_core::store::Position;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(10);

    fn job() -> JobId {
        "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a".parse().unwrap()
    }

    /// A story that says by its partition's offset which read it was.
    fn story(number: u64) -> SharedStory {
        let mut story = SharedStory::default();
        let id = String::new();
        story.partition.position = Some(Position { offset: number, id });
        story
    }

    fn number(story: SharedStory) -> u64 {
        story.partition.position.unwrap().offset
    }

    /// Asks after a while; each read of the store takes as long and has the next number.
    async fn ask(stories: &Stories, reads: &AtomicU64, after: Duration) -> u64 {
        sleep(after).await;
        let read = async {
            let number = reads.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(PAUSE).await;
            Ok(story(number))
        };
        number(stories.read(job(), read).await.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_at_one_moment_shares_a_read_that_begins_later() {
        let (stories, reads) = (Stories::default(), AtomicU64::new(0));
        let during = PAUSE / 2;
        let first = ask(&stories, &reads, Duration::ZERO);
        let others = join_all((0..500).map(|_| ask(&stories, &reads, during)));
        let (first, others) = tokio::join!(first, others);
        assert_eq!(first, 1);
        // Not the first one: it began before they asked.
        assert!(others.iter().all(|number| *number == 2), "{others:?}");
        assert_eq!(ask(&stories, &reads, Duration::ZERO).await, 3);
        assert!(stories.jobs.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_leaves_or_fails_leaves_the_read_to_the_next() {
        let (stories, reads) = (Stories::default(), AtomicU64::new(0));
        let leaves = timeout(PAUSE / 2, ask(&stories, &reads, Duration::ZERO));
        let fails = async {
            sleep(PAUSE / 4).await;
            let failure = StoreError::Corrupt("a test".to_owned());
            stories.read(job(), async { Err(failure) }).await
        };
        let stays = ask(&stories, &reads, PAUSE / 3);
        let (left, failed, stayed) = tokio::join!(leaves, fails, stays);
        assert!(left.is_err());
        assert!(matches!(failed, Err(StoreError::Corrupt(_))));
        assert_eq!(stayed, 2);
        assert!(stories.jobs.lock().unwrap().is_empty());
    }
}
