//! The contract of the store, on a real Redis, and the model of names.
//!
//! A failure of the model prints the steps, and a seed that is tried first from then on.
#![cfg(feature = "redis")]

mod redis_support;

use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, TestRunner},
};
use redis_support::Redis;
use vmctl_core::{
    store_suite,
    testing::store::{
        StoreFixture as _,
        names::{Names, Step},
    },
};

store_suite!(Redis, #[tokio::test]);

#[test]
fn a_name_belongs_to_one_job_and_every_key_ends_by_itself() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if runtime.block_on(Redis::set_up("names")).is_none() {
        return;
    }
    let config = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        source_file: Some(file!()),
        ..ProptestConfig::with_cases(40)
    };
    let steps = prop::collection::vec(any::<[u8; 3]>().prop_map(Step::of), 1..60);
    let run = TestRunner::new(config).run(&steps, |steps| {
        runtime.block_on(async {
            let redis = Redis::set_up("names").await.unwrap();
            Names::check(&redis, &steps).await;
            let eternal = redis.eternal().await;
            redis.tear_down().await;
            prop_assert!(eternal.is_empty(), "{eternal:?}");
            Ok(())
        })
    });
    run.unwrap();
}
