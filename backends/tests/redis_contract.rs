//! The contract of the store, on a real Redis.
#![cfg(feature = "redis")]

mod redis_support;

use redis_support::Redis;
use vmctl_core::store_suite;

store_suite!(Redis, #[tokio::test]);
