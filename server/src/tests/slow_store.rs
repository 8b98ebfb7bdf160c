//! A store that takes its time, as one across a network does, and counts the reads of stories.

use std::{
    collections::BTreeSet,
    future,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::sleep;
use vmctl_api_types::{JobId, LogLine};
use vmctl_core::{
    fact::JobFact,
    memory::store::InMemoryJobStore,
    store::{
        DeadKey, IndexKey, JobStore, Lookup, PartitionState, RunKey, StoreError, Story,
        project::{Entered, Entry, Holder, ProjectLimits, ProjectStore, Run, Usage},
    },
    turn::Line,
};

/// Half of what it takes to read a story.
const WAY: Duration = Duration::from_millis(1);

/// The view in memory, behind a delay.
pub(super) struct SlowStore {
    pub inner: InMemoryJobStore,
    /// How many stories were read.
    pub stories: AtomicUsize,
    /// Whether they are answered.
    pub hangs: AtomicBool,
}

/// Passes calls on.
macro_rules! passes_on {
    ($(async fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $answer:ty;)*) => {
        #[async_trait]
        impl ProjectStore for SlowStore {
            $(async fn $name(&self $(, $arg: $type)*) -> Result<$answer, StoreError> {
                self.inner.$name($($arg),*).await
            })*
        }
    };
    (job; $(async fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $answer:ty;)*) => {
        #[async_trait]
        impl JobStore for SlowStore {
            async fn story(&self, id: JobId) -> Result<Story, StoreError> {
                self.stories.fetch_add(1, Ordering::SeqCst);
                if self.hangs.load(Ordering::SeqCst) {
                    future::pending::<()>().await;
                }
                sleep(WAY).await;
                let story = self.inner.story(id).await;
                sleep(WAY).await;
                story
            }

            $(async fn $name(&self $(, $arg: $type)*) -> Result<$answer, StoreError> {
                self.inner.$name($($arg),*).await
            })*
        }
    };
}

passes_on! {
    job;
    async fn prewrite(&self, fact: &JobFact, now: Timestamp) -> ();
    async fn get(&self, id: JobId) -> Lookup;
    async fn get_many(&self, ids: &[JobId]) -> Vec<Lookup>;
    async fn lines(&self, id: JobId) -> Vec<LogLine>;
    async fn list(&self, project: &str, after: Option<&IndexKey>, limit: usize) -> Vec<IndexKey>;
    async fn list_oldest(&self, project: &str, after: Option<&IndexKey>, limit: usize) -> Vec<IndexKey>;
    async fn unlist(&self, project: &str, keys: &[IndexKey]) -> ();
    async fn dead(&self, after: Option<&DeadKey>, limit: usize) -> Vec<DeadKey>;
    async fn partitions(&self) -> Vec<PartitionState>;
    async fn claim_run(&self, run: &RunKey, worker: &str, ttl: Duration) -> bool;
    async fn claim(&self, project: &str, name: &str, value: &str, ttl: Duration) -> String;
    async fn line(&self, project: &str, keys: &[String]) -> Line;
    async fn ping(&self) -> ();
    async fn time(&self) -> Timestamp;
}

passes_on! {
    async fn enter(&self, project: &str, entry: &Entry) -> (Entered, Usage);
    async fn leave(&self, project: &str, run: Run, keys: &BTreeSet<String>, since: Timestamp) -> ();
    async fn release(&self, project: &str, holders: &[Holder]) -> ();
    async fn holders(&self, project: &str, keys: &[String]) -> Vec<Holder>;
    async fn usage(&self, project: &str, limits: ProjectLimits) -> Usage;
    async fn active(&self, project: &str, limit: usize) -> Vec<Run>;
}
