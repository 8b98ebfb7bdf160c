//! `POST /v1/jobs`, and what goes wrong behind it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use vmctl_core::{
    bus::{BusError, QueueStats, RoutingKey, TopologyAdmin},
    clock,
    memory::bus::{ConfirmFailure, InMemoryBus},
    topology::{QUEUE_LOG, QueueSpec, Topology, work_queue},
};

use super::support::{MEMBER, Suite, another, create, eventually, next};
use crate::{app::App, jobs::admission, server};

#[tokio::test(start_paused = true)]
async fn t06_an_accepted_job_is_in_its_queue_and_can_be_looked_up_at_once() {
    let suite = Suite::start().await;
    // Not even a reader is needed for that.
    suite.set_reading(false);
    let mut work = suite.work("vm.create").await;
    let mut body = create();
    body["labels"] = json!({"team": "web"});
    body["deadline"] = "PT2H".into();
    let reply = suite
        .request("POST", "/v1/jobs")
        .token(MEMBER)
        .header("X-Request-Id", "req-1")
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .json(&body)
        .send()
        .await;
    assert_eq!(reply.status, 202);
    let job = reply.json();
    let id = job["id"].as_str().unwrap();
    assert_eq!(reply.header("location"), format!("/v1/jobs/{id}"));
    assert_eq!(reply.header("retry-after"), "2");
    assert_eq!(reply.header("idempotency-replayed"), "false");
    assert_eq!(reply.header("x-degraded"), "");
    assert!(reply.header("etag").starts_with('"'));
    assert_eq!(job["state"], "queued");
    assert_eq!(job["labels"], json!({"team": "web"}));
    assert_eq!(job["owner"]["user_name"], "joe");
    assert_eq!(job["request_id"], "req-1");

    let found = suite.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!((found.status.as_u16(), found.json()), (200, job.clone()));
    assert_eq!(found.header("etag"), reply.header("etag"));

    let message = next(&mut work).await.message;
    assert_eq!(message.routing_key, "job.vm.create");
    let command: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(command["subject"], id);
    assert!(
        command["traceparent"]
            .as_str()
            .unwrap()
            .starts_with("00-4bf9")
    );
    assert_eq!(command["data"]["job"]["auth"]["project_id"], "demo");
}

#[tokio::test(start_paused = true)]
async fn validate_only_publishes_nothing() {
    let suite = Suite::start().await;
    let reply = suite.post("/v1/jobs?validate_only=true", create()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["input"], create()["input"]);
    let mut body = create();
    body["input"]["vm_profile"] = "Huge".into();
    suite
        .post("/v1/jobs?validate_only=true", body)
        .await
        .is_problem(422, "validation");
    suite
        .post("/v1/jobs?validate_only=maybe", create())
        .await
        .is_problem(400, "bad-query");
    let stats = suite
        .broker
        .inspect("work.vm.create")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stats.ready, 0);
}

#[tokio::test(start_paused = true)]
async fn t08_wrong_fields_are_422_all_at_once_with_pointers() {
    let suite = Suite::start().await;
    let mut body = create();
    body["input"]["vm_profile"] = "Huge".into();
    body["input"]["vm_desc"] = "a\u{0}".into();
    body["deadline"] = "2020-01-01T00:00:00Z".into();
    let problem = suite
        .post("/v1/jobs", body)
        .await
        .is_problem(422, "validation");
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        pointers,
        ["/deadline", "/input/vm_desc", "/input/vm_profile"]
    );
    for deadline in ["9d", "2999-01-01T00:00:00Z", "soon"] {
        let mut body = create();
        body["deadline"] = deadline.into();
        suite
            .post("/v1/jobs", body)
            .await
            .is_problem(422, "validation");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_an_unknown_field_is_422_unless_handling_is_lenient() {
    let suite = Suite::start().await;
    let mut body = create();
    body["priority"] = "high".into();
    body["input"]["token"] = "x".into();
    let problem = suite
        .post("/v1/jobs", body.clone())
        .await
        .is_problem(422, "unknown-field");
    assert_eq!(problem["errors"][0]["pointer"], "/priority");
    let reply = suite
        .request("POST", "/v1/jobs")
        .token(MEMBER)
        .header("Prefer", "handling=lenient")
        .json(&body)
        .send()
        .await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("preference-applied"), "handling=lenient");
    assert_eq!(reply.json()["input"], create()["input"]);
}

#[tokio::test(start_paused = true)]
async fn t08_an_unknown_kind_is_422() {
    let suite = Suite::start().await;
    for kind in ["vm.explode", "vm", "../vm.create"] {
        let body = json!({"kind": kind, "input": {}});
        suite
            .post("/v1/jobs", body)
            .await
            .is_problem(422, "unknown-kind");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_a_kind_without_its_queue_is_503_before_anything_is_published() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let seen = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let is_missing = |told: u8| {
        let line = format!("queue_missing{{queue=\"work.vm.create\"}} {told}\n");
        seen.render().contains(&line)
    };
    let suite = Suite::start().await;
    suite.broker.delete_queue("work.vm.create").await.unwrap();
    let mut slug = String::new();
    eventually("the missing queue is noticed", async || {
        let reply = suite.post("/v1/jobs", another()).await;
        slug = reply.json()["type"].as_str().unwrap_or_default().to_owned();
        reply.status == 503
    })
    .await;
    assert_eq!(slug, "/problems/kind-unavailable");
    assert!(is_missing(1), "{}", seen.render());
    // The other kind is not concerned.
    let body = json!({"kind": "vm.delete", "input": {"vm_hostname": "lx1"}});
    assert_eq!(suite.post("/v1/jobs", body).await.status, 202);
    // It is declared again without anybody's help.
    eventually("the queue is back", async || {
        suite.post("/v1/jobs", another()).await.status == 202
    })
    .await;
    assert!(is_missing(0), "{}", seen.render());
    assert!(holds(&suite, "work.vm.create").await >= 1);
}

#[tokio::test(start_paused = true)]
async fn t08_a_paused_kind_is_503_and_what_it_has_goes_on() {
    let suite =
        Suite::with(|config| config.paused_kinds = vec!["vm.delete".parse().unwrap()]).await;
    let body = json!({"kind": "vm.delete", "input": {"vm_hostname": "lx1"}});
    let reply = suite.post("/v1/jobs", body).await;
    reply.is_problem(503, "kind-paused");
    assert_eq!(reply.header("retry-after"), "60");
    assert_eq!(holds(&suite, "work.vm.delete").await, 0);
    // The other kind is not concerned.
    assert_eq!(suite.post("/v1/jobs", another()).await.status, 202);
}

async fn holds(suite: &Suite, queue: &str) -> u64 {
    let stats = suite.broker.inspect(queue).await.unwrap();
    stats.expect("the queue is there").ready
}

#[tokio::test(start_paused = true)]
async fn without_the_log_nothing_is_accepted_until_it_is_back() {
    let suite = Suite::start().await;
    suite.broker.delete_queue(QUEUE_LOG).await.unwrap();
    eventually("the missing log is noticed", async || {
        let reply = suite.post("/v1/jobs", another()).await;
        reply.status == 503 && reply.json()["type"] == "/problems/kind-unavailable"
    })
    .await;
    eventually("the log is back", async || {
        suite.post("/v1/jobs", another()).await.status == 202
    })
    .await;
    assert!(holds(&suite, QUEUE_LOG).await >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nothing_would_hold_is_503_also_before_that_is_noticed() {
    let suite = Suite::start().await;
    suite.submit().await;
    for queue in ["work.vm.create", QUEUE_LOG] {
        suite.broker.delete_queue(queue).await.unwrap();
    }
    suite
        .post("/v1/jobs", create())
        .await
        .is_problem(503, "bus-unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_comes_back_empty_has_the_queue_before_the_first_job() {
    let suite = Suite::start().await;
    suite.broker.set_down(true);
    suite
        .post("/v1/jobs", create())
        .await
        .is_problem(503, "bus-unavailable");
    suite.broker.set_down(false);
    for queue in ["work.vm.create", QUEUE_LOG] {
        suite.broker.delete_queue(queue).await.unwrap();
    }
    suite.submit().await;
    assert_eq!(holds(&suite, "work.vm.create").await, 1);
    // Also when no submission has met the broker's absence.
    suite.broker.set_down(true);
    tokio::time::sleep(Duration::from_millis(200)).await;
    suite.broker.set_down(false);
    suite.broker.delete_queue("work.vm.create").await.unwrap();
    suite.submit().await;
    assert_eq!(holds(&suite, "work.vm.create").await, 1);
}

/// Looks at queues as long as its eyes are open.
struct Eyes {
    broker: InMemoryBus,
    open: AtomicBool,
}

#[async_trait::async_trait]
impl TopologyAdmin for Eyes {
    async fn declare(&self, topology: &Topology) -> Result<(), BusError> {
        self.broker.declare(topology).await
    }

    async fn declare_queue(&self, queue: &QueueSpec) -> Result<(), BusError> {
        self.broker.declare_queue(queue).await
    }

    async fn delete_queue(&self, queue: &str) -> Result<(), BusError> {
        self.broker.delete_queue(queue).await
    }

    async fn inspect(&self, queue: &str) -> Result<Option<QueueStats>, BusError> {
        if self.open.load(Ordering::Relaxed) {
            return self.broker.inspect(queue).await;
        }
        Err(BusError::Timeout(Duration::from_secs(1)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_nobody_has_seen_takes_no_job_and_a_failed_look_forgets_none() {
    let (config, mut backends, (broker, ..)) = Suite::parts(|_| {});
    let eyes = Arc::new(Eyes {
        broker,
        open: AtomicBool::new(false),
    });
    backends.bus.admin = Arc::clone(&eyes) as Arc<dyn TopologyAdmin>;
    let app = Arc::new(App::new(config, backends));
    let _tasks = server::background(&app);
    let admit = async || {
        let refused = admission::admit(
            &app,
            &"vm.create".parse().unwrap(),
            admission::Passage::Straight,
            clock::new_job_id(&*app.clock),
        )
        .await
        .err();
        refused.map(|error| error.problem().problem_type.clone())
    };
    let started = tokio::time::Instant::now();
    assert_eq!(admit().await.as_deref(), Some("/problems/kind-unavailable"));
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    // Not at the next interval: at once.
    eyes.open.store(true, Ordering::Relaxed);
    assert_eq!(admit().await, None);
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    eyes.open.store(false, Ordering::Relaxed);
    tokio::time::sleep(app.config.limits.inspect_every * 3).await;
    assert_eq!(admit().await, None);
}

#[tokio::test(start_paused = true)]
async fn t08_a_full_queue_is_503_before_anything_is_published() {
    let suite = Suite::with(|c| c.limits.queue_ready = 3).await;
    for _ in 0..3 {
        suite.submit().await;
    }
    eventually("the full queue is noticed", async || {
        suite
            .app
            .admission
            .check(&"vm.create".parse().unwrap(), 3)
            .is_err()
    })
    .await;
    suite
        .post("/v1/jobs", create())
        .await
        .is_problem(503, "queue-full");
    let stats = suite
        .broker
        .inspect("work.vm.create")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stats.ready, 3);
}

#[tokio::test(start_paused = true)]
async fn t02_without_the_broker_it_is_503_at_once_and_no_id_is_given() {
    let suite = Suite::start().await;
    let started = tokio::time::Instant::now();
    suite.broker.set_blocked(Some("memory"));
    let problem = suite
        .post("/v1/jobs", create())
        .await
        .is_problem(503, "bus-unavailable");
    assert!(problem.get("job_id").is_none());
    suite.broker.set_blocked(None);
    suite.broker.set_down(true);
    for path in ["/v1/jobs", "/v1/vm/"] {
        let body = if path == "/v1/jobs" {
            create()
        } else {
            super::support::vm()
        };
        let problem = suite
            .post(path, body)
            .await
            .is_problem(503, "bus-unavailable");
        assert!(problem.get("job_id").is_none() && problem.get("uuid").is_none());
    }
    assert!(started.elapsed() < std::time::Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn t08_an_unknown_outcome_is_said_with_the_id() {
    for how in [
        ConfirmFailure::Timeout,
        ConfirmFailure::Lost,
        ConfirmFailure::Nacked,
    ] {
        let suite = Suite::start().await;
        fail_next_submission(&suite, how).await;
        let problem = suite
            .post("/v1/jobs", create())
            .await
            .is_problem(503, "outcome-unknown");
        let id = problem["job_id"].as_str().unwrap().to_owned();
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("Idempotency-Key")
        );
        // The broker had taken it, so it shows up.
        suite.caught_up().await;
        assert_eq!(suite.get(&format!("/v1/jobs/{id}")).await.status, 200);
    }
}

/// Right after a mark, so that the next confirm is the submission's.
async fn fail_next_submission(suite: &Suite, how: ConfirmFailure) {
    let last = suite.app.marks.newest().map(|m| m.time);
    eventually("a mark", async || {
        suite.app.marks.newest().map(|m| m.time) != last
    })
    .await;
    suite.broker.fail_next_confirms(1, how);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_jobs_are_accepted_and_visible_when_it_is_back() {
    let suite = Suite::start().await;
    suite.store.set_down(true);
    let reply = suite.post("/v1/jobs", create()).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("x-degraded")),
        (202, "cache")
    );
    let path = format!("/v1/jobs/{}", reply.json()["id"].as_str().unwrap());
    suite.get(&path).await.is_problem(503, "state-unavailable");
    suite
        .get("/v1/jobs")
        .await
        .is_problem(503, "state-unavailable");
    suite.store.set_down(false);
    suite.caught_up().await;
    assert_eq!(suite.get(&path).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_does_not_stop_the_publish() {
    let suite = Suite::start().await;
    {
        let call = suite.post("/v1/jobs", create());
        let mut call = Box::pin(call);
        // One step into the handler, then the client is gone.
        let polled = futures::poll!(&mut call);
        assert!(polled.is_pending());
    }
    let queue = work_queue(&"vm.create".parse().unwrap());
    eventually("the command is published", async || {
        suite.broker.inspect(&queue).await.unwrap().unwrap().ready == 1
    })
    .await;
    assert_eq!(
        RoutingKey::job(&"vm.create".parse().unwrap()).as_str(),
        "job.vm.create"
    );
}
