//! `GET /v1/jobs`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use vmctl_api_types::{JobId, JobState};
use vmctl_core::{
    event::{Event, EventData, EventType},
    fact::JobFact,
    store::JobStore,
};

use super::support::{OTHER, Suite, create, next};

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|job| job["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn pages_are_newest_first_and_end() {
    let suite = Suite::start().await;
    let mut all = Vec::new();
    for _ in 0..7 {
        all.insert(0, suite.submit().await);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/jobs?limit=3&kind=vm.create".to_owned();
    loop {
        let reply = suite.get(&path).await;
        assert_eq!(reply.status, 200);
        let page = reply.json();
        seen.extend(ids(&page));
        let Some(cursor) = page["next_cursor"].as_str() else {
            assert_eq!(reply.header("link"), "");
            break;
        };
        let next = format!("/v1/jobs?limit=3&kind=vm.create&cursor={cursor}");
        assert_eq!(reply.header("link"), format!("<{next}>; rel=\"next\""));
        path = next;
    }
    assert_eq!(seen, all);
    let other = suite
        .request("GET", "/v1/jobs")
        .token(OTHER)
        .send()
        .await
        .json();
    assert_eq!(ids(&other), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn t08_a_limit_above_the_largest_page_is_the_largest_page() {
    let suite = Suite::with(|c| c.limits.page = 2).await;
    for _ in 0..3 {
        suite.submit().await;
    }
    for limit in ["2", "3", "1000"] {
        let page = suite.get(&format!("/v1/jobs?limit={limit}")).await.json();
        assert_eq!(ids(&page).len(), 2, "{limit}");
        assert!(page["next_cursor"].is_string());
    }
}

#[tokio::test(start_paused = true)]
async fn filters_by_state_kind_and_labels() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let done = suite.submit().await;
    suite.finish(next(&mut work).await).await;
    let mut labelled = create();
    labelled["labels"] = json!({"team": "web", "a": "b:c"});
    let labelled = suite.post("/v1/jobs", labelled).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = json!({"kind": "vm.delete", "input": {"vm_hostname": "lx1"}});
    let delete = suite.post("/v1/jobs", body).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    suite.caught_up().await;
    for (query, expected) in [
        ("state=succeeded", vec![&done]),
        ("state=queued,failed&kind=vm.create", vec![&labelled]),
        ("kind=vm.delete", vec![&delete]),
        ("kind=no.such", vec![]),
        ("label=team:web", vec![&labelled]),
        ("label=team:web&label=a:b%3Ac", vec![&labelled]),
        ("label=team:db", vec![]),
        ("limit=1000", vec![&delete, &labelled, &done]),
    ] {
        let page = suite.get(&format!("/v1/jobs?{query}")).await.json();
        assert_eq!(ids(&page).iter().collect::<Vec<_>>(), expected, "{query}");
        assert_eq!(page["incomplete"], false);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_is_bounded_by_times_and_goes_both_ways() {
    let suite = Suite::start().await;
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(suite.submit().await);
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    let at = async |n: usize| {
        let job = suite.get(&format!("/v1/jobs/{}", all[n])).await.json();
        job["created_at"].as_str().unwrap().to_owned()
    };
    let (first, third, fifth) = (at(0).await, at(2).await, at(4).await);
    let offset = third.replace('Z', "+00:00");
    for (query, expected) in [
        (format!("created_after={third}"), vec![5, 4, 3]),
        (format!("created_before={third}"), vec![1, 0]),
        (
            format!("created_after={first}&created_before={fifth}"),
            vec![3, 2, 1],
        ),
        (
            format!("created_after={fifth}&created_before={first}"),
            vec![],
        ),
        (
            format!("created_after={offset}&order=created_at"),
            vec![3, 4, 5],
        ),
        ("order=created_at".to_owned(), vec![0, 1, 2, 3, 4, 5]),
        ("order=+created_at".to_owned(), vec![0, 1, 2, 3, 4, 5]),
        ("order=%2Bcreated_at".to_owned(), vec![0, 1, 2, 3, 4, 5]),
        ("order=-created_at".to_owned(), vec![5, 4, 3, 2, 1, 0]),
        (
            format!("order=created_at&created_before={third}"),
            vec![0, 1],
        ),
        ("created_after=2999-01-01T00:00:00Z".to_owned(), vec![]),
        (
            "created_before=2999-01-01T00:00:00Z&state=queued".to_owned(),
            vec![5, 4, 3, 2, 1, 0],
        ),
        ("created_before=-009999-01-02T01:59:59Z".to_owned(), vec![]),
        (
            "created_before=9999-12-30T22:00:00.9999Z".to_owned(),
            vec![5, 4, 3, 2, 1, 0],
        ),
        (
            "created_after=9999-12-30T22:00:00.9999Z&order=created_at".to_owned(),
            vec![],
        ),
    ] {
        for limit in [2, 200] {
            let mut seen = Vec::new();
            let mut cursor = String::new();
            loop {
                let path = format!("/v1/jobs?{query}&limit={limit}{cursor}");
                let page = suite.get(&path).await.json();
                seen.extend(ids(&page));
                let Some(next) = page["next_cursor"].as_str() else {
                    break;
                };
                cursor = format!("&cursor={next}");
            }
            let expected: Vec<_> = expected.iter().map(|n: &usize| all[*n].clone()).collect();
            assert_eq!(seen, expected, "{query}, {limit} on a page");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t08_parameters_that_cannot_be_used_are_400() {
    let suite = Suite::start().await;
    for query in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "cursor=",
        "cursor=x",
        "cursor=AAAA",
        "state=INPROGRESS",
        "state=",
        "kind=vm",
        "label=team",
        "sort=asc",
        "order=state",
        "order=",
        "created_after=yesterday",
        "created_before=",
        "created_after=2026-11-24",
        "limit=1&limit=2",
    ] {
        suite
            .get(&format!("/v1/jobs?{query}"))
            .await
            .is_problem(400, "bad-query");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_of_jobs_that_are_gone_are_removed_once_the_view_is_complete() {
    let suite = Suite::start().await;
    let fresh = suite.submit().await;
    // Lines without a record: one that is old enough to be judged, and one that may only be late.
    let line = |ago: u64| {
        let at = suite
            .app
            .now()
            .checked_sub(Duration::from_secs(ago))
            .unwrap();
        let ms = u64::try_from(at.as_millisecond()).unwrap();
        let id = uuid::Builder::from_unix_timestamp_millis(ms, &[7; 10]).into_uuid();
        (at, JobId::from_uuid(id))
    };
    let lines = [line(120), line(1)];
    for (created_at, id) in lines {
        dangle(&suite, created_at, id).await;
    }
    let left = async || {
        let page = suite.get("/v1/jobs").await.json();
        assert_eq!(ids(&page), [fresh.as_str()]);
        suite.store.list("demo", None, 10).await.unwrap().len()
    };
    // A view that stands still has not seen everything.
    suite.set_reading(false);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(left().await, 3);
    suite.set_reading(true);
    suite.caught_up().await;
    assert_eq!(left().await, 2);
}

/// Leaves a line in the index whose job is decided by nothing.
async fn dangle(suite: &Suite, created_at: Timestamp, id: JobId) {
    let template = suite.store.list("demo", None, 1).await.unwrap();
    let known = suite
        .store
        .get(template[0].id)
        .await
        .unwrap()
        .record
        .unwrap();
    let mut spec = known.spec.unwrap().spec;
    spec.id = id;
    spec.created_at = created_at;
    let event = Event::new(
        *id.as_uuid(),
        EventType::CancelRequested,
        "/server/test",
        created_at,
        EventData::new(JobState::Queued, spec),
    );
    let fact = JobFact::from_event(event, None, suite.app.retention());
    suite.store.prewrite(&fact, suite.app.now()).await.unwrap();
}
