//! The client against a cluster that checks what a real one checks.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use vmctl_core::{clock::from_unix_ms, store::Position};
use vmctl_search::{
    Auth, Cluster, Document, Find, Flavour, Key, SearchError, Sent,
    testing::{Mood, Product, StandIn},
};

const DAY: Duration = Duration::from_secs(86_400);
const NAME: &str = "vmctl-events";

fn client(stand_in: &StandIn) -> Cluster {
    stand_in.client(Auth::None)
}

async fn prepared() -> (StandIn, Cluster) {
    let stand_in = StandIn::start(Product::Elasticsearch).await;
    let cluster = client(&stand_in);
    cluster.prepare(30 * DAY).await.unwrap();
    (stand_in, cluster)
}

async fn send(cluster: &Cluster, documents: Vec<Document>) -> Result<Sent, SearchError> {
    cluster.send(documents, Flavour::Lifecycle).await
}

fn document(number: u128, source: &Value) -> Document {
    Document {
        id: Uuid::from_u128(number),
        line: source.to_string().into_bytes(),
    }
}

/// An event of a job of a project, with words.
fn event(number: u128, job: u128, project: &str, created: i64, input: &str) -> Document {
    let job = Uuid::from_u128(job);
    let source = json!({
        "@timestamp": "2026-11-23T17:00:00Z", "job": job, "root": job, "project": project,
        "created": created, "kind": "vm.create", "state": "queued", "input": input,
    });
    document(number, &source)
}

fn find(text: &str) -> Find<'_> {
    Find {
        project: "demo",
        text,
        kind: None,
        parent: None,
        root: None,
        created_from: None,
        created_to: None,
        oldest_first: false,
        after: None,
        size: 10,
    }
}

async fn jobs(cluster: &Cluster, find: Find<'_>) -> Vec<u128> {
    let found = cluster.find(&find, Duration::from_secs(5)).await.unwrap();
    assert!(found.whole);
    let id = |key: &Key| key.job.as_uuid().as_u128();
    found.keys.iter().map(id).collect()
}

#[tokio::test]
async fn each_product_gets_its_own_retention_and_a_change_of_it() {
    for (product, flavour, path, pointer) in [
        (
            Product::Elasticsearch,
            Flavour::Lifecycle,
            "_data_stream/vmctl-events/_lifecycle",
            "/data_retention",
        ),
        (
            Product::OldElasticsearch,
            Flavour::Ilm,
            "_ilm/policy/vmctl-events",
            "/policy/phases/delete/min_age",
        ),
        (
            Product::OpenSearch,
            Flavour::OpenSearch,
            "_plugins/_ism/policies/vmctl-events",
            "/policy/states/0/transitions/0/conditions/min_rollover_age",
        ),
    ] {
        let stand_in = StandIn::start(product).await;
        let cluster = client(&stand_in);
        for days in [30, 30, 7] {
            assert_eq!(cluster.prepare(days * DAY).await.unwrap(), flavour);
            let put = stand_in.put_at(path).unwrap();
            assert_eq!(
                put.pointer(pointer),
                Some(&json!(format!("{days}d"))),
                "{put}"
            );
        }
        let sent = cluster.send(vec![event(1, 1, "demo", 1, "lx1")], flavour);
        assert_eq!(sent.await.unwrap().indexed, 1);
    }
}

#[tokio::test]
async fn a_position_is_kept_until_the_cluster_is_made_anew() {
    let (stand_in, cluster) = prepared().await;
    assert_eq!(cluster.position().await.unwrap(), None);
    for offset in [7, 9, 3] {
        let position = Position {
            offset,
            id: format!("entry-{offset}"),
        };
        cluster
            .set_position(&position, from_unix_ms(0))
            .await
            .unwrap();
        cluster.prepare(30 * DAY).await.unwrap();
        assert_eq!(cluster.position().await.unwrap(), Some(position));
    }
    stand_in.wipe();
    assert_eq!(cluster.position().await.unwrap(), None);
    let sent = send(&cluster, vec![event(1, 1, "demo", 1, "a")])
        .await
        .unwrap();
    assert!(sent.gone && sent.again.len() == 1);
}

#[tokio::test]
async fn a_document_that_is_sent_again_is_there_once() {
    let (stand_in, cluster) = prepared().await;
    let two = || vec![event(1, 1, "demo", 1, "a"), event(2, 1, "demo", 1, "a")];
    assert_eq!(send(&cluster, two()).await.unwrap().indexed, 2);
    let again = send(&cluster, two()).await.unwrap();
    assert_eq!((again.indexed, again.present), (0, 2));
    assert_eq!(stand_in.documents().len(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_document_costs_only_that_one() {
    let (stand_in, cluster) = prepared().await;
    let sent = send(
        &cluster,
        vec![
            document(1, &json!({"@timestamp": "yesterday"})),
            document(2, &json!({"job": "no time"})),
            document(
                3,
                &json!({"@timestamp": "2026-11-23T17:00:00Z", "seq": "canary"}),
            ),
            document(
                4,
                &json!({"@timestamp": "2026-11-23T17:00:00Z", "new": {"field": 1}}),
            ),
        ],
    );
    let sent = sent.await.unwrap();
    let refused = |id| (Uuid::from_u128(id), "document_parsing_exception".to_owned());
    let expected = Sent {
        indexed: 1,
        refused: vec![refused(1), refused(2), refused(3)],
        ..Sent::default()
    };
    assert_eq!(sent, expected);
    assert_eq!(stand_in.documents().len(), 1);
}

#[tokio::test]
async fn a_busy_cluster_names_what_it_has_not_taken() {
    let (stand_in, cluster) = prepared().await;
    stand_in.set_mood(Mood::BusyItems(1));
    let sent = send(
        &cluster,
        vec![event(1, 1, "demo", 1, "a"), event(2, 1, "demo", 1, "a")],
    );
    let sent = sent.await.unwrap();
    assert_eq!((sent.indexed, sent.again.len()), (1, 1));
    assert_eq!(sent.again[0].id, Uuid::from_u128(1));
}

#[tokio::test]
async fn a_cluster_that_does_not_do_it_says_how() {
    let (stand_in, cluster) = prepared().await;
    let fails = async || {
        let sent = send(&cluster, vec![event(1, 1, "demo", 1, "canary")]).await;
        let error = sent.unwrap_err();
        assert!(!error.to_string().contains("canary"));
        error.word()
    };
    stand_in.set_mood(Mood::Busy);
    assert_eq!(fails().await, "busy");
    stand_in.set_mood(Mood::Unavailable);
    assert_eq!(fails().await, "failed");
    stand_in.set_mood(Mood::Well);
    stand_in.set_most_bytes(100);
    assert_eq!(fails().await, "too_large");
    stand_in.leave().await;
    assert_eq!(fails().await, "unreachable");
    stand_in.come_back().await;
    stand_in.set_most_bytes(10_000);
    send(&cluster, vec![event(1, 1, "demo", 1, "a")])
        .await
        .unwrap();
    stand_in.set_mood(Mood::Silent);
    let error = cluster.find(&find("a"), Duration::from_millis(100)).await;
    assert!(matches!(error, Err(SearchError::Timeout(_))), "{error:?}");
}

#[tokio::test]
async fn who_we_are_is_sent_and_not_said() {
    let stand_in = StandIn::start(Product::Elasticsearch).await;
    for (header, auth) in [
        (
            "Basic am9lOmNhbmFyeQ==",
            Auth::of(Some("joe".into()), Some("canary".into()), None),
        ),
        ("ApiKey canary", Auth::of(None, None, Some("canary".into()))),
    ] {
        stand_in.set_credential(header);
        let cluster = stand_in.client(auth.unwrap());
        assert!(!format!("{cluster:?}").contains("canary"));
        cluster.prepare(DAY).await.unwrap();
        let nobody = client(&stand_in).prepare(DAY).await.unwrap_err();
        assert_eq!(nobody.status(), Some(401));
    }
}

#[tokio::test]
async fn jobs_are_found_once_in_order_and_by_their_project_only() {
    let (_stand_in, cluster) = prepared().await;
    let documents = vec![
        event(1, 1, "demo", 10, "lx-db-1 small"),
        event(2, 1, "demo", 10, "lx-db-1 small"),
        event(3, 2, "demo", 20, "lx-db-2"),
        event(4, 3, "demo", 20, "lx-db-3"),
        event(5, 4, "other", 30, "lx-db-1"),
    ];
    send(&cluster, documents).await.unwrap();
    for (text, expected) in [
        ("lx-db-1", vec![1]),
        ("LX", vec![3, 2, 1]),
        ("small queued", vec![1]),
        ("small | lx-db-3", vec![3, 1]),
        ("\"db 2\"", vec![2]),
        ("sma*", vec![1]),
        ("nothing", vec![]),
        // No language of the text's reaches another project.
        ("other | lx-db-1 | project:other | *", vec![3, 2, 1]),
    ] {
        // A star alone is a prefix of every word.
        assert_eq!(jobs(&cluster, find(text)).await, expected, "{text}");
    }
    let oldest_first = Find {
        oldest_first: true,
        ..find("lx")
    };
    assert_eq!(jobs(&cluster, oldest_first.clone()).await, [1, 2, 3]);
    for (oldest_first, expected) in [(false, [3, 2, 1]), (true, [1, 2, 3])] {
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = Find {
                after,
                oldest_first,
                size: 1,
                ..find("lx")
            };
            let found = cluster.find(&page, Duration::from_secs(5)).await.unwrap();
            let Some(key) = found.keys.into_iter().next() else {
                break;
            };
            seen.push(key.job.as_uuid().as_u128());
            after = Some(key);
        }
        assert_eq!(seen, expected);
    }
    let narrowed = |change: fn(&mut Find<'_>)| {
        let mut narrowed = find("lx");
        change(&mut narrowed);
        narrowed
    };
    let root = narrowed(|find| find.root = Some(vmctl_core::JobId::from_uuid(Uuid::from_u128(2))));
    assert_eq!(jobs(&cluster, root).await, [2]);
    let kind = narrowed(|find| find.kind = Some("vm.delete"));
    assert_eq!(jobs(&cluster, kind).await, [0_u128; 0]);
    let late = narrowed(|find| find.created_from = Some(from_unix_ms(20)));
    assert_eq!(jobs(&cluster, late).await, [3, 2]);
    let early = narrowed(|find| find.created_to = Some(from_unix_ms(10)));
    assert_eq!(jobs(&cluster, early).await, [1]);
}

/// The stand-in must not be kinder than a real one.
#[tokio::test]
async fn the_stand_in_refuses_what_a_real_one_refuses() {
    let (stand_in, _cluster) = prepared().await;
    let http = reqwest::Client::builder().build().unwrap();
    let bulk = async |content_type: &str, body: &str| {
        let request = http.post(format!("{}/_bulk", stand_in.url()));
        let request = request
            .header("content-type", content_type)
            .body(body.to_owned());
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap())
    };
    let source = r#"{"@timestamp":"2026-11-23T17:00:00Z"}"#;
    let create = format!("{{\"create\":{{\"_index\":\"{NAME}\",\"_id\":\"a\"}}}}\n{source}");
    let ndjson = "application/x-ndjson";
    let long = "a".repeat(513);
    for (content_type, body, status) in [
        ("application/json", format!("{create}\n"), 406),
        (ndjson, String::new(), 400),
        (ndjson, create.clone(), 400),
        (ndjson, create.replace("create", "put") + "\n", 400),
        (ndjson, create.replace("_id", "id") + "\n", 400),
        (
            ndjson,
            create.replace("\"a\"", &format!("{long:?}")) + "\n",
            400,
        ),
        (ndjson, format!("{{}}\n{source}\n"), 400),
    ] {
        assert_eq!(bulk(content_type, &body).await.0, status, "{body}");
    }
    for (from, to, status) in [
        ("create", "create", 201),
        ("create", "create", 409),
        ("create", "index", 400),
        (NAME, "nobody-has-made-it", 404),
        (source, "{}", 400),
        (source, "{", 400),
    ] {
        let (answered, answer) = bulk(ndjson, &(create.replace(from, to) + "\n")).await;
        assert_eq!(answered, 200);
        let item = answer["items"][0]
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap();
        assert_eq!(item["status"], status, "{answer}");
        assert_eq!(answer["errors"], status != 201);
    }
}
