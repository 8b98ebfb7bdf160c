//! Reads of jobs' stories, shared by the streams that look at the same moment.
//!
//! An event wakes every stream of its job. One of them asks the store; the others take what it is told,
//! be it a failure. Nobody takes the answer of a read that began before he asked: what he has seen until
//! then must be in it. So a job is read at most twice for all who ask at one moment, and one read is under
//! way at a time.

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

/// What a read was told, for all who share it.
type Answer = Result<SharedStory, Arc<StoreError>>;

/// The reads of one server. A job is here while somebody waits for one, so there are never more than
/// streams and requests.
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
    last: tokio::sync::Mutex<Option<(u64, Answer)>>,
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
    /// Waits for one other read at most, unless those who read are dropped. The caller bounds both.
    ///
    /// # Errors
    ///
    /// Those of the read.
    pub async fn read(
        &self,
        job: JobId,
        read: impl Future<Output = Result<SharedStory, StoreError>>,
    ) -> Answer {
        let waiting = self.wait(job);
        let reads = &waiting.reads;
        let begun = reads.begun.load(Ordering::SeqCst);
        let mut last = reads.last.lock().await;
        if let Some((number, answer)) = &*last
            && *number > begun
        {
            return answer.clone();
        }
        let number = reads.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = read.await.map_err(Arc::new);
        *last = Some((number, answer.clone()));
        answer
    }

    /// Returns of how many jobs somebody waits for a story.
    #[cfg(test)]
    pub fn jobs(&self) -> usize {
        self.jobs.lock().unwrap().len()
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
    use tokio::time::{Instant, sleep, timeout};
    use uuid::Uuid;
    use vmctl_core::store::Position;

    use super::*;

    /// What a read of the store takes.
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

    /// A store, and those who share its reads.
    #[derive(Default)]
    struct World {
        stories: Stories,
        reads: AtomicU64,
    }

    impl World {
        /// Asks after a while; each read of the store has the next number.
        async fn ask(&self, after: Duration) -> u64 {
            sleep(after).await;
            let read = async { Ok(story(self.begin().await)) };
            let story = self.stories.read(job(), read).await.unwrap();
            story.partition.position.unwrap().offset
        }

        /// Asks after a while; the store fails and says with which read.
        async fn fail(&self, after: Duration) -> String {
            sleep(after).await;
            let read = async { Err(StoreError::Corrupt(self.begin().await.to_string())) };
            let failure = self.stories.read(job(), read).await.unwrap_err();
            failure.to_string()
        }

        async fn begin(&self) -> u64 {
            let number = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(PAUSE).await;
            number
        }

        fn is_empty(&self) -> bool {
            self.stories.jobs() == 0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_at_one_moment_shares_a_read_that_begins_later() {
        let world = World::default();
        let first = world.ask(Duration::ZERO);
        let others = join_all((0..500).map(|_| world.ask(PAUSE / 2)));
        let (first, others) = tokio::join!(first, others);
        assert_eq!(first, 1);
        // Not the first one: it began before they asked.
        assert!(others.iter().all(|number| *number == 2), "{others:?}");
        assert_eq!(world.ask(Duration::ZERO).await, 3);
        assert!(world.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_who_share_it_and_to_nobody_after_them() {
        let world = World::default();
        let started = Instant::now();
        let first = world.fail(Duration::ZERO);
        let others = join_all((0..500).map(|_| world.fail(PAUSE / 2)));
        let (first, others) = tokio::join!(first, others);
        let last = |read: u64| StoreError::Corrupt(read.to_string()).to_string();
        assert_eq!(first, last(1));
        assert!(others.iter().all(|failure| *failure == last(2)));
        // They have waited for each other once, not one after the other.
        assert_eq!(started.elapsed(), 2 * PAUSE);
        assert_eq!(world.ask(Duration::ZERO).await, 3);
        assert!(world.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_leaves_leaves_the_read_to_the_next() {
        let world = World::default();
        let leaves = timeout(PAUSE / 2, world.ask(Duration::ZERO));
        let stay = join_all((0..3).map(|_| world.ask(PAUSE / 3)));
        let (left, stayed) = tokio::join!(leaves, stay);
        assert!(left.is_err());
        assert_eq!(stayed, [2, 2, 2]);
        assert!(world.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_known_only_while_somebody_waits() {
        let stories = Stories::default();
        let asks = (0..100).map(|n| {
            let slow = async {
                sleep(PAUSE).await;
                Ok(story(1))
            };
            let job = JobId::from_uuid(Uuid::from_u64_pair(0, n));
            stories.read(job, slow)
        });
        let all = join_all(asks);
        let known = async {
            sleep(PAUSE / 2).await;
            stories.jobs()
        };
        assert_eq!(tokio::join!(all, known).1, 100);
        assert_eq!(stories.jobs(), 0);
    }
}
