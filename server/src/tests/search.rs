//! `GET /v1/jobs?q=…`, over a search cluster in memory behind a real socket: tokio's clock is not paused.

use std::time::Duration;

use serde_json::{Value, json};
use vmctl_core::{
    JobError, JobState,
    bus::LogStart,
    event::EventType,
    fact::{Fact, interpret},
};
use vmctl_search::{
    Auth, Cluster, Document,
    testing::{Mood, Product, StandIn},
};

use super::support::{MEMBER, OTHER, READER, Suite, create, eventually, next};

struct Searched {
    suite: Suite,
    stand_in: StandIn,
    cluster: Cluster,
}

impl Searched {
    async fn start() -> Self {
        let stand_in = StandIn::start(Product::OpenSearch).await;
        let cluster = stand_in.client(Auth::None);
        let suite = Suite::with(|config| {
            config.search = Some(cluster.clone());
            config.limits.search_deadline = Duration::from_millis(500);
        })
        .await;
        Self {
            suite,
            stand_in,
            cluster,
        }
    }

    /// Submits a machine of that name, and returns the job's id.
    async fn submit(&self, host: &str) -> String {
        let mut body = create();
        body["input"]["vm_hostname"] = json!(host);
        let reply = self.suite.post("/v1/jobs", body).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// Does what the reader does: the whole log goes into the cluster.
    async fn index(&self) {
        self.suite.caught_up().await;
        let flavour = self
            .cluster
            .prepare(Duration::from_secs(86_400))
            .await
            .unwrap();
        let log = &self.suite.app.bus.log;
        let mut reader = log.read(LogStart::First).await.unwrap();
        let mut documents = Vec::new();
        let quiet = Duration::from_millis(100);
        while let Ok(entries) = tokio::time::timeout(quiet, reader.next_batch(1000)).await {
            for entry in entries.unwrap() {
                if let Fact::Job(fact) = interpret(&entry, self.suite.app.retention()) {
                    documents.push(Document::of(&fact));
                }
            }
            if documents.len() > 1000 {
                break;
            }
        }
        let sent = self.cluster.send(documents, flavour).await.unwrap();
        assert_eq!((sent.refused.len(), sent.again.len()), (0, 0));
    }

    async fn find_as(&self, token: &str, query: &str) -> Vec<String> {
        let path = format!("/v1/jobs?{query}");
        let reply = self.suite.request("GET", &path).token(token).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        ids(&reply.json())
    }

    async fn find(&self, query: &str) -> Vec<String> {
        self.find_as(MEMBER, query).await
    }
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    let id = |job: &Value| job["id"].as_str().unwrap().to_owned();
    items.iter().map(id).collect()
}

#[tokio::test]
async fn a_job_is_found_by_host_name_error_text_id_and_label() {
    let searched = Searched::start().await;
    let mut work = searched.suite.work("vm.create").await;
    let one = searched.submit("lx-db-1").await;
    let command = next(&mut work).await;
    let event = vmctl_core::event::Event::parse(&command.message.body).unwrap();
    searched
        .suite
        .say(&event, EventType::Failed, |event| {
            event.data.state = JobState::Failed;
            event.data.error = Some(JobError {
                error_type: "no-capacity".into(),
                title: "no room".into(),
                detail: Some("hypervisor kvm-7 is full".into()),
                retryable: false,
                attempt: None,
                worker: None,
            });
        })
        .await;
    let mut body = create();
    body["input"]["vm_hostname"] = json!("lx-db-2");
    body["labels"] = json!({"team": "web"});
    let two = searched.suite.post("/v1/jobs", body).await.json();
    let two = two["id"].as_str().unwrap().to_owned();
    searched.index().await;
    for (query, expected) in [
        ("q=lx-db-1", vec![&one]),
        ("q=lx-db", vec![&two, &one]),
        ("q=lx-db&order=created_at", vec![&one, &two]),
        ("q=hypervisor+full", vec![&one]),
        ("q=no-capacity", vec![&one]),
        ("q=kvm*", vec![&one]),
        ("q=lx-db-1+queued", vec![&one]),
        ("q=team:web", vec![&two]),
        (&format!("q={two}"), vec![&two]),
        ("q=lx-db&state=failed", vec![&one]),
        ("q=lx-db&kind=vm.delete", vec![]),
        ("q=lx-db&label=team:web", vec![&two]),
        ("q=lx-db-3", vec![]),
    ] {
        let found = searched.find(query).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    assert_eq!(searched.find_as(READER, "q=lx-db-1").await, [one]);
}

#[tokio::test]
async fn t09_no_word_finds_a_job_of_another_project() {
    let searched = Searched::start().await;
    let own = searched.submit("lx1").await;
    searched.index().await;
    for query in [
        "q=lx1",
        "q=*",
        "q=demo",
        "q=project:demo",
        "q=lx1+%7C+*",
        "q=%29+%7C+%28lx1",
        &format!("q={own}"),
        &format!("q=lx1&root={own}"),
    ] {
        assert_eq!(
            searched.find_as(OTHER, query).await,
            Vec::<String>::new(),
            "{query}"
        );
    }
    // Somebody forges an event of this job, as one of the other project.
    let forged = json!({
        "@timestamp": "2026-11-23T17:00:00Z", "job": own, "root": own, "project": "other",
        "created": 1, "input": "lx1", "state": "queued", "kind": "vm.create",
    });
    let forged = Document {
        id: vmctl_core::clock::new_uuid(&*searched.suite.app.clock),
        line: forged.to_string().into_bytes(),
    };
    let flavour = searched
        .cluster
        .prepare(Duration::from_secs(1))
        .await
        .unwrap();
    searched.cluster.send(vec![forged], flavour).await.unwrap();
    assert_eq!(searched.find_as(OTHER, "q=lx1").await, Vec::<String>::new());
    assert_eq!(searched.find("q=lx1").await, [own]);
}

#[tokio::test]
async fn pages_follow_each_other_and_show_each_job_once() {
    let searched = Searched::start().await;
    let mut all = Vec::new();
    for number in 0..5 {
        all.insert(0, searched.submit(&format!("lx-{number}")).await);
    }
    searched.index().await;
    let mut seen = Vec::new();
    let mut path = "/v1/jobs?q=lx&limit=2".to_owned();
    loop {
        let reply = searched.suite.get(&path).await;
        let page = reply.json();
        seen.extend(ids(&page));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        assert!(reply.header("link").contains("q=lx"));
        path = format!("/v1/jobs?q=lx&limit=2&cursor={cursor}");
    }
    seen.sort();
    all.sort();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn what_the_view_has_forgotten_is_not_found() {
    let searched = Searched::start().await;
    let job = searched.submit("lx1").await;
    searched.index().await;
    assert_eq!(searched.find("q=lx1").await, [job]);
    searched.suite.set_reading(false);
    searched.suite.store.flush();
    assert_eq!(searched.find("q=lx1").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cluster_that_gives_no_answer_is_said_in_time_and_costs_only_the_search() {
    let searched = Searched::start().await;
    let reply = searched.suite.get("/v1/jobs?q=lx1").await;
    // Nothing was ever indexed.
    reply.is_problem(503, "search-unavailable");
    searched.submit("lx1").await;
    searched.index().await;
    for mood in [Mood::Silent, Mood::Unavailable, Mood::Busy] {
        searched.stand_in.set_mood(mood);
        let asked = tokio::time::Instant::now();
        let reply = searched.suite.get("/v1/jobs?q=lx1").await;
        reply.is_problem(503, "search-unavailable");
        assert!(!reply.header("retry-after").is_empty());
        assert!(asked.elapsed() < Duration::from_secs(3));
        assert_eq!(searched.suite.get("/v1/jobs").await.status, 200);
    }
    searched.stand_in.set_mood(Mood::Well);
    searched.stand_in.leave().await;
    let reply = searched.suite.get("/v1/jobs?q=lx1").await;
    reply.is_problem(503, "search-unavailable");
    searched.stand_in.come_back().await;
    eventually("it is found again", async || {
        searched.suite.get("/v1/jobs?q=lx1").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn searches_beyond_their_number_are_refused() {
    let stand_in = StandIn::start(Product::OpenSearch).await;
    let suite = Suite::with(|config| {
        config.search = Some(stand_in.client(Auth::None));
        config.limits.searches = 0;
    })
    .await;
    let reply = suite.get("/v1/jobs?q=lx1").await;
    reply.is_problem(503, "search-unavailable");
}

#[tokio::test(start_paused = true)]
async fn t08_without_a_cluster_or_with_unusable_words_nothing_is_searched() {
    let suite = Suite::start().await;
    suite
        .get("/v1/jobs?q=lx1")
        .await
        .is_problem(501, "search-not-set-up");
    let (long, many) = ("a".repeat(257), "a+".repeat(17));
    for q in ["", "+", &long, &many, "a&q=b"] {
        let reply = suite.get(&format!("/v1/jobs?q={q}")).await;
        reply.is_problem(400, "bad-query");
    }
}
