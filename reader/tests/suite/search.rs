//! The log goes into a search cluster: one in memory, behind a real socket, so tokio's clock is not paused.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use vmctl_core::{
    JobState,
    bus::LogStart,
    event::{Event, EventType},
};
use vmctl_reader::{Config, Search};
use vmctl_search::{
    Auth,
    testing::{Mood, Product, StandIn},
};

use crate::support::{Running, World, until};

/// After so long nobody has the lease of a reader that was killed.
const LAPSED: Duration = Duration::from_secs(11);

fn search(stand_in: &StandIn) -> Search {
    Search {
        cluster: stand_in.client(Auth::None),
        retention: Duration::from_secs(86_400),
    }
}

/// Starts a reader that folds and indexes, or only indexes.
fn start(world: &World, name: &str, stand_in: &StandIn, folds: bool) -> Running {
    let config = Config {
        folds,
        search: Some(search(stand_in)),
        position_timeout: Duration::from_millis(300),
        ..Config::new(name)
    };
    world.start_with(config)
}

/// Every event of the log, by id.
async fn logged(world: &World) -> BTreeSet<String> {
    let mut reader = world.bus.log.read(LogStart::First).await.unwrap();
    let mut ids = BTreeSet::new();
    while let Ok(entries) =
        tokio::time::timeout(Duration::from_millis(200), reader.next_batch(1000)).await
    {
        let events = entries.unwrap().into_iter();
        ids.extend(events.filter_map(|e| Some(Event::parse(&e.message.body).ok()?.id.to_string())));
    }
    ids
}

/// Waits until the cluster has every event of the log, and checks that it has each once.
async fn all_indexed(world: &World, stand_in: &StandIn) {
    let wanted = logged(world).await;
    until("the cluster has the whole log", async || {
        stand_in.documents().len() >= wanted.len()
    })
    .await;
    let ids: Vec<_> = stand_in.documents().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), wanted.len());
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), wanted);
}

async fn run_jobs(world: &World, count: usize) {
    for _ in 0..count {
        let job = world.submit().await;
        world
            .end(&job, EventType::Succeeded, JobState::Succeeded)
            .await;
    }
}

#[tokio::test]
async fn t10_a_cluster_that_was_away_for_the_whole_run_has_every_event_afterwards() {
    let world = World::new().await;
    let stand_in = StandIn::start(Product::OpenSearch).await;
    stand_in.leave().await;
    let first = start(&world, "r1", &stand_in, true);
    let mut jobs = Vec::new();
    for number in 0..200 {
        let job = world.submit().await;
        world
            .end(&job, EventType::Succeeded, JobState::Succeeded)
            .await;
        world.mark().await;
        jobs.push(job);
        if number == 100 {
            world.store.flush();
        }
    }
    // The view goes on without it.
    for job in &jobs {
        world.until(job.id, JobState::Succeeded).await;
    }
    until("the reader says why it does not index", async || {
        first.status.get().search.trouble.is_some()
    })
    .await;
    assert_eq!(first.status.get().trouble, None);
    first.kill();
    // Its lease lapses; the clock of the store is the test's.
    world.clock.advance(LAPSED);

    let second = start(&world, "r2", &stand_in, true);
    stand_in.come_back().await;
    all_indexed(&world, &stand_in).await;
    assert_eq!(stand_in.documents().len(), 600);
    until("the trouble is over", async || {
        second.status.get().search.trouble.is_none()
    })
    .await;
    second.stop().await;
}

#[tokio::test]
async fn flushes_and_killed_readers_leave_no_gap_and_no_copy() {
    let world = World::new().await;
    let stand_in = StandIn::start(Product::Elasticsearch).await;
    for round in 0..4 {
        let reader = start(&world, &format!("r{round}"), &stand_in, false);
        run_jobs(&world, 10).await;
        let before = stand_in.documents().len();
        until("something more is indexed", async || {
            stand_in.documents().len() > before || round == 3
        })
        .await;
        reader.kill();
        world.store.flush();
    }
    let last = start(&world, "last", &stand_in, false);
    all_indexed(&world, &stand_in).await;
    last.stop().await;
}

#[tokio::test]
async fn a_cluster_that_is_made_anew_is_filled_anew() {
    let world = World::new().await;
    let stand_in = StandIn::start(Product::Elasticsearch).await;
    let reader = start(&world, "r1", &stand_in, false);
    run_jobs(&world, 5).await;
    all_indexed(&world, &stand_in).await;
    stand_in.wipe();
    // The next document meets no data stream, and the position is gone with the rest.
    run_jobs(&world, 1).await;
    all_indexed(&world, &stand_in).await;
    reader.stop().await;
}

#[tokio::test]
async fn a_busy_or_narrow_cluster_gets_the_rest_later_and_in_smaller_pieces() {
    let world = World::new().await;
    let stand_in = StandIn::start(Product::Elasticsearch).await;
    run_jobs(&world, 40).await;
    stand_in.set_most_bytes(8_000);
    stand_in.set_mood(Mood::BusyItems(7));
    let reader = start(&world, "r1", &stand_in, false);
    all_indexed(&world, &stand_in).await;
    let (_, most) = stand_in.bulks();
    assert!(most < 60, "{most}");
    for mood in [Mood::Unavailable, Mood::Busy] {
        stand_in.set_mood(mood);
        run_jobs(&world, 2).await;
        until("the reader says so", async || {
            reader.status.get().search.trouble.is_some()
        })
        .await;
        stand_in.set_mood(Mood::Well);
        all_indexed(&world, &stand_in).await;
    }
    reader.stop().await;
}

#[tokio::test]
async fn what_the_cluster_refuses_for_what_it_is_stops_nothing() {
    let world = World::new().await;
    let stand_in = StandIn::start(Product::Elasticsearch).await;
    let reader = start(&world, "r1", &stand_in, false);
    run_jobs(&world, 1).await;
    all_indexed(&world, &stand_in).await;
    stand_in.change_field("state", "long");
    run_jobs(&world, 1).await;
    until("the refusal is known", async || {
        !reader.status.get().search.refusals.is_empty()
    })
    .await;
    stand_in.change_field("state", "keyword");
    let job = world.submit().await;
    let has = |(_, source): &(String, Value)| source["job"] == job.id.to_string();
    until("later ones are indexed", async || {
        stand_in.documents().iter().any(has)
    })
    .await;
    assert_eq!(stand_in.documents().len(), 4);
    assert_eq!(reader.status.get().search.trouble, None);
    reader.stop().await;
}

#[tokio::test]
async fn a_log_that_is_another_one_is_indexed_from_its_start() {
    let world = World::new().await;
    let stand_in = StandIn::start(Product::Elasticsearch).await;
    let reader = start(&world, "r1", &stand_in, false);
    run_jobs(&world, 3).await;
    all_indexed(&world, &stand_in).await;
    reader.kill();
    world.store.flush();

    let other = world.with_new_broker().await;
    run_jobs(&other, 1).await;
    let reader = start(&other, "r2", &stand_in, false);
    until("the other log is there too", async || {
        stand_in.documents().len() == 12
    })
    .await;
    reader.stop().await;
}

#[tokio::test]
async fn one_reader_indexes_and_another_takes_over() {
    let world = World::new().await;
    let stand_in = StandIn::start(Product::Elasticsearch).await;
    let (first, second) = (
        start(&world, "r1", &stand_in, false),
        start(&world, "r2", &stand_in, false),
    );
    run_jobs(&world, 2).await;
    all_indexed(&world, &stand_in).await;
    let busy = |reader: &Running| reader.status.get().search.indexing;
    assert!(busy(&first) != busy(&second));
    let left = if busy(&first) {
        first.kill();
        second
    } else {
        second.kill();
        first
    };
    run_jobs(&world, 2).await;
    world.clock.advance(LAPSED);
    all_indexed(&world, &stand_in).await;
    assert!(busy(&left));
    left.stop().await;
}

#[tokio::test]
async fn a_reader_that_only_indexes_holds_no_partition() {
    let world = World::new().await;
    let stand_in = StandIn::start(Product::Elasticsearch).await;
    let reader = start(&world, "r1", &stand_in, false);
    run_jobs(&world, 1).await;
    all_indexed(&world, &stand_in).await;
    assert_eq!(reader.status.get().held, 0);
    reader.stop().await;
}
