//! How far the log reaches back.

use std::{sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusBuilder;
use vmctl_core::{
    clock::{ManualClock, from_unix_ms},
    memory::{bus::Limits, store::InMemoryJobStore},
};

use crate::support::{World, until, value};

#[tokio::test(start_paused = true)]
async fn how_far_the_log_reaches_back_is_told_once_something_is_gone_from_it() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let seen = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let clock = Arc::new(ManualClock::new(from_unix_ms(1_795_000_000_000)));
    let store = InMemoryJobStore::new(clock.clone());
    let limits = Limits {
        log_entries: 20,
        log_segment_entries: 5,
        ..Limits::default()
    };
    let world = World::on(clock, store, limits).await;
    let reader = world.start("r1");
    let told = || value(&seen.render(), "log_oldest_age_seconds");
    world.mark().await;
    until("it is looked at", async || {
        seen.render().contains("log_oldest_age_seconds")
    })
    .await;
    assert!(told().is_nan());

    for _ in 0..40 {
        world.clock.advance(Duration::from_secs(10));
        world.mark().await;
    }
    // It looks once a minute.
    tokio::time::sleep(Duration::from_secs(60)).await;
    until("some of it is gone", async || told() > 0.0).await;
    assert!((100.0..210.0).contains(&told()), "{} s", told());
    reader.stop().await;
}
