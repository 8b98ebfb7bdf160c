//! Many streams of one job share what is read of it, over a store that takes its time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use vmctl_core::event::Event;

use super::{
    slow_store::SlowStore,
    streams::ids,
    support::{Frames, Suite},
};

/// How many streams follow a job.
const STREAMS: usize = 200;

/// After a ring the view is looked at until it has the event; each look is at most two reads.
const READS_EACH: usize = 8;

impl SlowStore {
    /// Returns how many stories were read since this was asked last.
    fn reads(&self) -> usize {
        self.stories.swap(0, Ordering::SeqCst)
    }
}

async fn start() -> (Suite, Arc<SlowStore>) {
    let (config, mut backends, parts) = Suite::parts(|_| {});
    let store = Arc::new(SlowStore {
        inner: parts.1.clone(),
        stories: AtomicUsize::new(0),
        hangs: AtomicBool::new(false),
    });
    backends.store = Arc::clone(&store) as _;
    (Suite::of((config, backends, parts)).await, store)
}

/// Opens the streams of a job that nobody has begun.
async fn follow(suite: &Suite) -> (String, Event, Vec<Frames>) {
    let (id, command) = suite.job().await;
    suite.caught_up().await;
    let open = (0..STREAMS).map(|_| suite.events(&id, None));
    let streams = join_all(open).await;
    (id, command, streams)
}

/// Checks that each stream has shown the whole history, once and in order.
async fn all_is_shown(suite: &Suite, id: &str, streams: Vec<Frames>) -> usize {
    let seen = join_all(streams.into_iter().map(Frames::rest)).await;
    let all = suite.history(id).await;
    for frames in seen {
        assert_eq!(ids(&frames), all);
    }
    all.len()
}

#[tokio::test(start_paused = true)]
async fn many_streams_of_a_job_read_together_and_each_shows_every_event_once() {
    let (suite, store) = start().await;
    let (id, command, streams) = follow(&suite).await;
    store.reads();
    let live = async {
        suite.started(&command).await;
        for seq in 1..=60 {
            suite.continued(&command, seq).await;
            // Some come while others are read.
            sleep(Duration::from_millis(u64::from(seq % 7))).await;
        }
        suite.succeeded(&command).await;
    };
    let (shown, ()) = tokio::join!(all_is_shown(&suite, &id, streams), live);
    assert_eq!(shown, 63);
    let reads = store.reads();
    assert!((20..READS_EACH * shown).contains(&reads), "{reads}");
    assert_eq!(suite.app.stories.jobs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_away_costs_no_stream_an_event() {
    let (suite, store) = start().await;
    let (id, command, streams) = follow(&suite).await;
    let live = async {
        suite.started(&command).await;
        sleep(Duration::from_secs(1)).await;
        store.reads();
        suite.store.set_down(true);
        for seq in 1..=3 {
            suite.continued(&command, seq).await;
        }
        sleep(Duration::from_secs(10)).await;
        // Each stream asks once a second.
        let reads = store.reads();
        assert!((10..50).contains(&reads), "{reads}");
        suite.store.set_down(false);
        suite.continued(&command, 4).await;
        suite.succeeded(&command).await;
    };
    let (shown, ()) = tokio::join!(all_is_shown(&suite, &id, streams), live);
    assert_eq!(shown, 7);
    assert_eq!(suite.app.stories.jobs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_is_told_to_all_in_time() {
    let (suite, store) = start().await;
    let (id, _) = suite.job().await;
    let id = id.parse().unwrap();
    store.reads();
    store.hangs.store(true, Ordering::SeqCst);
    let started = Instant::now();
    let ask = |after: u64| {
        let app = &suite.app;
        async move {
            sleep(Duration::from_millis(after % 10)).await;
            app.story(id).await.is_err()
        }
    };
    let failed = join_all((0..100).map(ask)).await;
    assert!(failed.iter().all(|failed| *failed));
    assert_eq!(store.reads(), 2);
    let bound = 2 * suite.app.config.limits.store_deadline;
    let taken = started.elapsed();
    assert!(taken <= bound + Duration::from_millis(10), "{taken:?}");
    // What hung holds nobody up afterwards.
    store.hangs.store(false, Ordering::SeqCst);
    assert!(suite.app.story(id).await.is_ok());
    assert_eq!(suite.app.stories.jobs(), 0);
}
