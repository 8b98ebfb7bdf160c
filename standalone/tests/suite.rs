//! The suite in memory, from a login to the end of a job.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use vmctl_server::BuildError;
use vmctl_standalone::{Builder, Error, Running, Standalone, users};

/// How long a test waits for a job; more than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Joe, and machines that take no time.
fn joe() -> Builder {
    Standalone::builder()
        .user("joe", "1234", "demo")
        .simulated_duration(Duration::ZERO)
}

/// A client that has logged in.
struct Caller {
    http: Client,
    url: String,
    token: String,
}

impl Caller {
    async fn login(running: &Running, name: &str, password: &str) -> Result<Self, StatusCode> {
        vmctl_daemon::install_crypto();
        let http = Client::builder().timeout(PATIENCE).build().unwrap();
        let answer = http
            .post(format!("{}/v1/connect", running.url()))
            .json(&json!({"login": name, "password": password}))
            .send()
            .await
            .unwrap();
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        let body: Value = answer.json().await.unwrap();
        Ok(Self {
            http,
            url: running.url(),
            token: body["access"]["token"]["id"].as_str().unwrap().to_owned(),
        })
    }

    /// Asks for a machine; the job's id.
    async fn create(&self, hostname: &str) -> String {
        let input = json!({
            "vm_hostname": hostname, "vm_profile": "Micro", "vm_region": "GreaterParis",
            "vm_desc": "", "app_env": "DEV", "app_trigram": "vmc",
        });
        let answer = self
            .http
            .post(format!("{}/v1/jobs", self.url))
            .header("X-Auth-Token", &self.token)
            .json(&json!({"kind": "vm.create", "input": input}))
            .send()
            .await
            .unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["id"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = self.http.get(format!("{}{path}", self.url));
        let answer = request.header("X-Auth-Token", &self.token);
        let answer = answer.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// Waits, by long polls, until the job is in one of these states.
    async fn wait(&self, id: &str, states: &[&str]) -> Value {
        let url = format!("{}/v1/jobs/{id}", self.url);
        let mut etag = String::new();
        let wait = async {
            loop {
                let request = self.http.get(&url).header("X-Auth-Token", &self.token);
                let request = request.header("Prefer", "wait=10");
                let answer = request.header("If-None-Match", &etag).send().await.unwrap();
                if answer.status() == StatusCode::NOT_MODIFIED {
                    continue;
                }
                assert_eq!(answer.status(), StatusCode::OK);
                let tag = answer.headers()["etag"].to_str().unwrap();
                tag.clone_into(&mut etag);
                let job: Value = answer.json().await.unwrap();
                if states.contains(&job["state"].as_str().unwrap()) {
                    return job;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_created() {
    let running = joe().start().await.unwrap();
    let joe = Caller::login(&running, "joe", "1234").await.unwrap();
    let id = joe.create("lx1").await;
    let job = joe.wait(&id, &["succeeded", "failed", "cancelled"]).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_seen_by_their_own_project() {
    let running = joe().user("eve", "1234", "other").start().await.unwrap();
    let joe = Caller::login(&running, "joe", "1234").await.unwrap();
    let eve = Caller::login(&running, "eve", "1234").await.unwrap();
    let id = joe.create("lx1").await;
    joe.wait(&id, &["succeeded"]).await;
    let show = "/v1/sync/vm.show?vm_hostname=lx1";
    let (status, machine) = joe.get(show).await;
    assert_eq!((status, &machine["job_id"]), (StatusCode::OK, &json!(id)));
    assert_eq!(machine["state"], "ready");
    let (_, list) = joe.get("/v1/sync/vm.list").await;
    assert_eq!(list, json!({"items": [machine], "next_cursor": null}));
    let (status, problem) = eve.get(show).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(problem["type"], "/problems/machine-not-found");
    let (_, list) = eve.get("/v1/sync/vm.list").await;
    assert_eq!(list, json!({"items": [], "next_cursor": null}));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn its_worker_is_shown_to_an_admin() {
    let mut ann = users::plain("ann", "1234", "demo");
    ann.roles.push(users::ADMIN.to_owned());
    let running = joe().users([ann]).start().await.unwrap();
    let joe = Caller::login(&running, "joe", "1234").await.unwrap();
    let (refused, _) = joe.get("/v1/admin/workers").await;
    assert_eq!(refused, StatusCode::FORBIDDEN);
    let ann = Caller::login(&running, "ann", "1234").await.unwrap();
    let working = async {
        loop {
            let (status, list) = ann.get("/v1/admin/workers").await;
            assert_eq!(status, StatusCode::OK);
            let worker = &list["items"][0];
            let mut kinds = worker["kinds"].as_array().into_iter().flatten();
            if kinds.any(|served| served["kind"] == "vm.create" && served["consuming"] == true) {
                return list;
            }
            tokio::task::yield_now().await;
        }
    };
    let list = tokio::time::timeout(PATIENCE, working).await.unwrap();
    let worker = &list["items"][0];
    assert_eq!(
        (&worker["app"], &worker["state"]),
        (&json!("vmctl-standalone"), &json!("working"))
    );
    assert_eq!(list["complete"], false, "{list}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_can_fail() {
    let running = joe()
        .simulated_fail(Some("storage".parse().unwrap()))
        .start()
        .await
        .unwrap();
    let joe = Caller::login(&running, "joe", "1234").await.unwrap();
    let id = joe.create("lx1").await;
    let job = joe.wait(&id, &["retrying", "failed"]).await;
    assert!(
        job["state"] == "retrying" || job["state"] == "failed",
        "{job}"
    );
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_get_in() {
    let running = joe().start().await.unwrap();
    for (name, password) in [("joe", "4321"), ("ann", "1234")] {
        let refused = Caller::login(&running, name, password).await.err();
        assert_eq!(refused, Some(StatusCode::UNAUTHORIZED));
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_ones_own_stops_it() {
    let token = CancellationToken::new();
    let running = joe().shutdown(token.clone()).start().await.unwrap();
    let url = running.url();
    token.cancel();
    tokio::time::timeout(PATIENCE, running.ended())
        .await
        .unwrap()
        .unwrap();
    vmctl_daemon::install_crypto();
    let http = Client::builder().timeout(PATIENCE).build().unwrap();
    assert!(http.get(url).send().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_kind_that_is_known_can_be_paused() {
    let error = joe().paused_kinds(vec!["vm.crate".parse().unwrap()]);
    let error = error.start().await.unwrap_err();
    assert!(
        matches!(error, Error::Server(BuildError::UnknownKind(_))),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_run_side_by_side_and_an_address_is_taken_once() {
    let first = joe().start().await.unwrap();
    let second = joe().start().await.unwrap();
    assert_ne!(first.address(), second.address());
    let error = joe().listen(first.address()).start().await.unwrap_err();
    assert!(matches!(error, Error::Server(_)), "{error}");
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}
