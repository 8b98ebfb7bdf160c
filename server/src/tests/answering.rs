//! What is said about one job, and about one that is not there.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use vmctl_core::{
    JobId, JobState,
    clock::{self, Clock},
    event::{Event, EventType},
    fact::JobFact,
    partition::Partition,
    store::{FoldStore as _, JobStore, Position},
};

use super::support::{MEMBER, OTHER, Suite, eventually, next};
use crate::{
    Backends,
    app::App,
    jobs::{
        list,
        view::{self, Reach},
    },
    server,
};

fn path(id: impl std::fmt::Display) -> String {
    format!("/v1/jobs/{id}")
}

/// An id that was drawn some time ago, for nothing.
fn drawn(suite: &Suite, ago: Duration) -> String {
    drawn_at(suite.app.now().checked_sub(ago).unwrap())
}

/// Not by the clock: the process draws no id that is older than the last one.
fn drawn_at(at: Timestamp) -> String {
    let ms = u64::try_from(at.as_millisecond()).unwrap();
    uuid::Builder::from_unix_timestamp_millis(ms, &[7; 10])
        .into_uuid()
        .to_string()
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_an_etag_and_304_saves_the_body() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    let first = suite.get(&path(&id)).await;
    assert_eq!(first.header("cache-control"), "private, no-cache");
    assert_eq!(first.header("retry-after"), "2");
    let etag = first.header("etag").to_owned();
    for known in [
        etag.clone(),
        format!("W/{etag}"),
        format!("\"x\", {etag}"),
        "*".to_owned(),
    ] {
        for path in [path(&id), format!("/v1/vm/{id}")] {
            let reply = suite
                .request("GET", &path)
                .token(MEMBER)
                .header("If-None-Match", &known)
                .send()
                .await;
            assert_eq!((reply.status.as_u16(), reply.body.len()), (304, 0));
            assert_eq!(reply.header("etag"), etag);
        }
    }
    let mut work = suite.work("vm.create").await;
    suite.finish(next(&mut work).await).await;
    suite.caught_up().await;
    let reply = suite
        .request("GET", &path(&id))
        .token(MEMBER)
        .header("If-None-Match", &etag)
        .send()
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("retry-after")),
        (200, "")
    );
    assert_eq!(reply.json()["state"], "succeeded");
}

#[tokio::test(start_paused = true)]
async fn t08_an_id_of_another_version_is_404_at_once() {
    let suite = Suite::start().await;
    suite.set_reading(false);
    let started = tokio::time::Instant::now();
    for id in [
        "7fda68b7-b4de-45a6-99fd-57b019cf19ae",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ] {
        suite.get(&path(id)).await.is_problem(404, "job-not-found");
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_old_id_that_was_never_seen_is_404_at_once() {
    let suite = Suite::start().await;
    // The view starts with the first mark: an id must be younger than that, and older than 10 s.
    let id = drawn(&suite, Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(20)).await;
    suite.caught_up().await;
    let started = tokio::time::Instant::now();
    suite.get(&path(&id)).await.is_problem(404, "job-not-found");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_id_that_was_never_seen_is_404_after_the_next_mark() {
    let suite = Suite::start().await;
    for id in [
        drawn(&suite, Duration::ZERO),
        "0198f2a4-7c1e-8a00-8abc-1f2e3d4c5b6a".to_owned(),
    ] {
        let started = tokio::time::Instant::now();
        suite.get(&path(&id)).await.is_problem(404, "job-not-found");
        assert!(
            started.elapsed() <= Duration::from_millis(1_400),
            "{:?}",
            started.elapsed()
        );
    }
    // A time in the future proves nothing.
    let future = drawn_at(clock::add(
        suite.app.now(),
        Duration::from_secs(86_400 * 365),
    ));
    suite
        .get(&path(future))
        .await
        .is_problem(404, "job-not-found");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_forgotten_for_want_of_room_has_said_so_and_is_410() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    suite.finish(next(&mut work).await).await;
    suite.caught_up().await;
    let first = suite.get(&path(&id)).await;
    let partition = Partition::of(id.parse().unwrap());
    let far = clock::add(suite.app.now(), Duration::from_hours(48));
    let at = clock::add(suite.app.now(), Duration::from_secs(60));
    assert_eq!(suite.store.shorten(partition, far, at).await.unwrap(), 1);
    let shown = suite.get(&path(&id)).await;
    let goes: Timestamp = shown.json()["expires_at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(goes.as_millisecond(), at.as_millisecond());
    assert_ne!(shown.header("etag"), first.header("etag"));
    tokio::time::sleep(Duration::from_secs(61)).await;
    suite.caught_up().await;
    suite.get(&path(&id)).await.is_problem(410, "job-expired");
    // One that was drawn later cannot be one of them.
    let own = id.parse::<JobId>().unwrap().unix_ms().unwrap();
    let other = (1..9000)
        .map(|ms| drawn_at(clock::from_unix_ms(own + ms)))
        .find(|id| Partition::of(id.parse().unwrap()) == partition)
        .unwrap();
    suite
        .get(&path(&other))
        .await
        .is_problem(404, "job-not-found");
}

#[tokio::test(start_paused = true)]
async fn t08_an_id_from_before_the_retention_is_410() {
    let suite = Suite::start().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    suite.caught_up().await;
    for ago in [25 * 3600, 30 * 86_400] {
        let id = drawn(&suite, Duration::from_secs(ago));
        suite.get(&path(&id)).await.is_problem(410, "job-expired");
    }
    // Older than the oldest entry that the view was built from.
    let id = drawn(&suite, Duration::from_secs(3600));
    suite.get(&path(&id)).await.is_problem(410, "job-expired");
}

#[tokio::test(start_paused = true)]
async fn without_a_reader_an_absent_job_is_503_within_two_seconds() {
    let suite = Suite::start().await;
    suite.set_reading(false);
    let id = drawn(&suite, Duration::ZERO);
    let started = tokio::time::Instant::now();
    let problem = suite
        .get(&path(&id))
        .await
        .is_problem(503, "state-rebuilding");
    assert_eq!(problem["retryable"], true);
    assert!(started.elapsed() <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn t05_after_a_flush_nothing_is_called_unknown_and_everything_comes_back() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let done = suite.submit().await;
    suite.finish(next(&mut work).await).await;
    let live = suite.submit().await;
    suite.caught_up().await;
    suite.set_reading(false);
    // The lists must not be believed either.
    assert_eq!(suite.get("/v1/jobs").await.json()["incomplete"], false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    suite.store.flush();
    for id in [&done, &live] {
        suite
            .get(&path(id))
            .await
            .is_problem(503, "state-rebuilding");
    }
    assert_eq!(suite.get("/v1/jobs").await.json()["incomplete"], true);
    // A job that is submitted now is there.
    let fresh = suite.submit().await;
    assert_eq!(suite.get(&path(&fresh)).await.status, 200);
    suite.set_reading(true);
    suite.caught_up().await;
    assert_eq!(suite.get(&path(&done)).await.json()["state"], "succeeded");
    assert_eq!(suite.get(&path(&live)).await.json()["state"], "queued");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let list = suite.get("/v1/jobs").await.json();
    assert_eq!(
        (
            list["incomplete"].as_bool(),
            list["items"].as_array().unwrap().len()
        ),
        (Some(false), 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_live_record_is_not_believed_while_its_partition_is_behind() {
    let suite = Suite::start().await;
    let id = suite.submit().await;
    suite.caught_up().await;
    // A partition that this server has seen further, as after a fail-over to a late replica.
    suite.set_reading(false);
    let lookup = suite.store.get(id.parse().unwrap()).await.unwrap();
    let mut ahead = lookup.partition.clone();
    let later = |stands: Position| Position {
        offset: stands.offset + 1_000,
        ..stands
    };
    ahead.newest_mark = Some(clock::add(suite.app.now(), clock::DIFFERENCE));
    ahead.position = ahead.position.map(later);
    let number = Partition::of(id.parse().unwrap());
    suite.app.seen.observe(number, &ahead, suite.app.now());
    // Younger than a minute and confirmed: nobody else can know more.
    assert_eq!(suite.get(&path(&id)).await.status, 200);
    tokio::time::sleep(Duration::from_secs(61)).await;
    suite
        .get(&path(&id))
        .await
        .is_problem(503, "state-rebuilding");
}

/// Another server over the same broker and view, which has observed nothing.
pub(super) fn second(suite: &Suite) -> Arc<App> {
    second_by(suite, Arc::clone(&suite.app.clock))
}

/// The same, with a clock of its own.
pub(super) fn second_by(suite: &Suite, clock: Arc<dyn Clock>) -> Arc<App> {
    let app = &suite.app;
    let mut config = app.config.clone();
    config.name = "server-second".to_owned();
    let backends = Backends {
        bus: app.bus.clone(),
        store: Arc::clone(&app.store),
        identity: Arc::clone(&app.identity),
        clock,
        registry: Arc::clone(&app.registry),
    };
    Arc::new(App::new(config, backends))
}

#[tokio::test(start_paused = true)]
async fn a_second_server_does_not_take_back_what_the_first_has_told() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    let held = next(&mut work).await;
    let command = Event::parse(&held.message.body).unwrap();
    suite
        .say(&command, EventType::Started, |event| {
            event.data.state = JobState::Running;
        })
        .await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    suite.caught_up().await;
    assert_eq!(suite.get(&path(&id)).await.json()["state"], "running");
    // Flushed, and read again up to the command.
    suite.set_reading(false);
    suite.store.flush();
    let fact = JobFact {
        confirmed: true,
        ..JobFact::from_event(command, None, suite.app.retention())
    };
    suite.store.prewrite(&fact, suite.app.now()).await.unwrap();
    let second = second(&suite);
    let _tasks = server::background(&second);
    let ask = async || {
        let found = view::find_of(&second, "demo", id.parse().unwrap()).await;
        found
            .map(|record| record.to_job().unwrap().state)
            .map_err(|error| error.problem().problem_type.clone())
    };
    assert_eq!(ask().await, Err("/problems/state-rebuilding".into()));
    assert!(second.marks.first().is_some());
    assert!(list::is_incomplete(&second).await.unwrap());
    suite.set_reading(true);
    eventually("the second server answers", async || {
        let answer = ask().await;
        assert_ne!(answer, Ok(JobState::Queued));
        answer == Ok(JobState::Running)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_finds_a_fresh_record_before_its_first_mark() {
    let suite = Suite::start().await;
    suite.set_reading(false);
    let id = suite.submit().await;
    let second = second(&suite);
    let started = tokio::time::Instant::now();
    let found = view::find_of(&second, "demo", id.parse().unwrap()).await;
    assert!(found.is_ok());
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_nobody_asks_knows_how_far_the_view_is() {
    let suite = Suite::start().await;
    suite.caught_up().await;
    let second = second(&suite);
    let _tasks = server::background(&second);
    let now = suite.store.partitions().await.unwrap();
    eventually("the second server has seen it", async || {
        Partition::all()
            .zip(&now)
            .all(|(number, state)| second.seen.reach(number) >= Reach::of(state))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn t09_a_job_of_another_project_is_answered_like_one_that_does_not_exist() {
    let suite = Suite::start().await;
    let foreign = suite.submit().await;
    let absent = drawn(&suite, Duration::ZERO);
    let ask = async |id: &str| {
        let started = tokio::time::Instant::now();
        let reply = suite.request("GET", &path(id)).token(OTHER).send().await;
        let mut problem = reply.is_problem(404, "job-not-found");
        for member in ["job_id", "instance", "request_id"] {
            problem[member] = "…".into();
        }
        (problem, started.elapsed() > Duration::ZERO)
    };
    assert_eq!(ask(&foreign).await, ask(&absent).await);
}

#[tokio::test(start_paused = true)]
async fn the_history_is_in_the_order_of_the_log() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let id = suite.submit().await;
    suite.finish(next(&mut work).await).await;
    suite.caught_up().await;
    let events = suite.get(&format!("{}/events", path(&id))).await.json();
    let words: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["type"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["submitted", "started", "succeeded"]);
    let first = events["items"][0]["id"].as_str().unwrap();
    let rest = suite
        .get(&format!("{}/events?after={first}&limit=1", path(&id)))
        .await
        .json();
    assert_eq!(rest["items"][0]["type"], "started");
    assert_eq!(rest["next_after"], rest["items"][0]["id"]);
    suite
        .get(&format!("{}/events?limit=0", path(&id)))
        .await
        .is_problem(400, "bad-query");
    suite
        .get(&format!("{}/events?follow=1", path(&id)))
        .await
        .is_problem(400, "bad-query");
}

#[tokio::test(start_paused = true)]
async fn the_catalogue_is_the_registry() {
    let suite = Suite::start().await;
    let kinds = suite.get("/v1/kinds").await.json();
    let kinds = kinds["items"].as_array().unwrap();
    assert!(kinds.iter().any(|kind| kind["kind"] == "vm.create"));
    let kind = suite.get("/v1/kinds/vm.create").await.json();
    assert_eq!(kind["required_role"], "member");
    assert!(kind["input_schema"]["properties"]["vm_hostname"].is_object());
    for name in ["vm.explode", "x", "%ff"] {
        suite
            .get(&format!("/v1/kinds/{name}"))
            .await
            .is_problem(404, "not-found");
    }
    assert_eq!(
        suite.get("/v1/profiles").await.json()["items"][0]["name"],
        "Micro"
    );
    assert_eq!(
        suite.get("/v1/regions").await.json()["items"][0]["name"],
        "GreaterParis"
    );
    // A catalogue is no project's.
    let unscoped = suite
        .request("GET", "/v1/kinds")
        .token(super::support::UNSCOPED)
        .send()
        .await;
    assert_eq!(unscoped.status, 200);
}
