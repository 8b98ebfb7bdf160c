//! The contract of the store, on memory.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use vmctl_core::{
    clock::{Clock, ManualClock, from_unix_ms},
    memory::store::InMemoryJobStore,
    partition::Partition,
    store::{FoldStore, JobStore, StoreError},
    store_suite,
    testing::store::{
        StoreFixture,
        names::{Names, Step},
        sample::Story,
    },
};

struct Fixture {
    clock: Arc<ManualClock>,
    store: InMemoryJobStore,
}

#[async_trait]
impl StoreFixture for Fixture {
    async fn set_up(_: &str) -> Option<Self> {
        let clock = Arc::new(ManualClock::new(from_unix_ms(1_795_000_000_000)));
        let store = InMemoryJobStore::new(clock.clone());
        Some(Self { clock, store })
    }

    fn store(&self) -> Arc<dyn FoldStore> {
        Arc::new(self.store.clone())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn flush(&self) {
        self.store.flush();
    }

    async fn bad(&self, partition: Partition) -> Vec<(u64, String)> {
        self.store.bad(partition)
    }
}

store_suite!(Fixture, #[tokio::test]);

#[tokio::test]
async fn a_full_store_says_so_until_records_expire() {
    let clock = Arc::new(ManualClock::new(from_unix_ms(1_795_000_000_000)));
    let full = InMemoryJobStore::with_limit(clock.clone(), 3);
    let story = Story { start: clock.now() };
    let submit = async |n: i64| {
        let spec = story.spec(story.job(&n.to_string(), n), "demo", n);
        let fact = story.submission(&spec);
        full.prewrite(&fact, clock.now()).await
    };
    for n in 0..3 {
        submit(n).await.unwrap();
    }
    assert!(matches!(submit(3).await, Err(StoreError::Full(_))));
    clock.advance(Duration::from_hours(26));
    assert!(full.list("demo", None, 10).await.unwrap().is_empty());
    let story = Story { start: clock.now() };
    let spec = story.spec(story.job("later", 0), "demo", 0);
    let fact = story.submission(&spec);
    full.prewrite(&fact, clock.now()).await.unwrap();
    assert_eq!(full.list("demo", None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_that_is_down_says_so_and_comes_back_with_its_data() {
    let fixture = Fixture::set_up("").await.unwrap();
    let story = Story {
        start: fixture.now(),
    };
    let spec = story.spec(story.job("job", 0), "demo", 0);
    let fact = story.submission(&spec);
    fixture.store.prewrite(&fact, story.start).await.unwrap();
    fixture.store.set_down(true);
    let error = fixture.store.get(spec.id).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    fixture.store.set_down(false);
    assert!(fixture.store.get(spec.id).await.unwrap().record.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(300)
    })]

    #[test]
    fn a_name_belongs_to_one_job_and_is_free_in_the_end(
        steps in prop::collection::vec(any::<[u8; 3]>().prop_map(Step::of), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::set_up("names").await.unwrap();
            Names::check(&fixture, &steps).await;
            // Longer than any deadline, and than it is remembered what has ended.
            fixture.pass(Duration::from_hours(26)).await;
            Names::check(&fixture, &[]).await;
        });
    }
}
