//! The API, on the simulation.

use std::{sync::Arc, time::Duration};

use super::router;
use crate::{
    progress,
    provisioner::{
        Call, Provisioner, VmSpec,
        simulated::{Simulated, SimulatedConfig},
    },
};
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use vmctl_core::{JobId, clock::SystemClock, kinds::Registry};

struct Site {
    provisioner: Arc<dyn Provisioner>,
    api: Router,
    _directory: TempDir,
}

fn site(fail: Option<&str>) -> Site {
    let directory = tempfile::tempdir().unwrap();
    let config = SimulatedConfig {
        directory: directory.path().to_owned(),
        duration: Duration::ZERO,
        fail: fail.map(|rule| rule.parse().unwrap()),
    };
    let provisioner: Arc<dyn Provisioner> =
        Arc::new(Simulated::open(config, Arc::new(SystemClock)).unwrap());
    Site {
        api: router(Arc::clone(&provisioner), "token".to_owned().into()),
        provisioner,
        _directory: directory,
    }
}

fn job(n: u8) -> JobId {
    format!("0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b{n:02x}")
        .parse()
        .unwrap()
}

fn call(n: u8) -> Call {
    let (progress, _) = progress::channel(None, Arc::new(SystemClock), Duration::ZERO);
    Call {
        job: job(n),
        epoch: 0,
        attempt: 1,
        worker: "test".to_owned(),
        from: None,
        budget: Duration::from_secs(10),
        stop: CancellationToken::new(),
        lost: CancellationToken::new(),
        progress,
    }
}

impl Site {
    async fn create(&self, n: u8, project: &str, hostname: &str) {
        let spec = VmSpec {
            job: job(n),
            project_id: project.to_owned(),
            hostname: hostname.to_owned(),
            profile: Registry::built_in().unwrap().profiles()[0].clone(),
            region: "North".to_owned(),
            environment: "DEV".to_owned(),
            trigram: "abc".to_owned(),
            description: "a machine".to_owned(),
        };
        // A phase that fails leaves the machine in it.
        let _ = self.provisioner.create(&spec, &call(n)).await;
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.api.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask(path, &[("Authorization", "Bearer token")]).await
    }
}

#[tokio::test]
async fn a_project_sees_its_own_machines_that_exist() {
    let site = site(None);
    site.create(1, "demo", "lx1").await;
    site.create(2, "other", "lx2").await;
    site.create(3, "demo", "lx3").await;
    site.create(4, "demo", "lx4").await;
    site.provisioner.delete(job(3), &call(5)).await.unwrap();
    let (status, list) = site.get("/machines?project=demo").await;
    assert_eq!(status, StatusCode::OK);
    let names: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vm| vm["vm_hostname"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["lx4", "lx1"]);
    let machine = &list["items"][1];
    for (name, value) in [
        ("job_id", &*job(1).to_string()),
        ("state", "ready"),
        ("vm_profile", "Micro"),
        ("vm_region", "North"),
    ] {
        assert_eq!(machine[name], value);
    }
    assert!(machine["addresses"][0].as_str().unwrap().starts_with("10."));

    let (status, shown) = site.get("/machines/LX1?project=demo").await;
    assert_eq!((status, &shown), (StatusCode::OK, machine));
    for path in ["/machines/lx2?project=demo", "/machines/lx3?project=demo"] {
        let (status, problem) = site.get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(problem["type"], "/problems/machine-not-found");
    }
}

#[tokio::test]
async fn pages_show_each_machine_once() {
    let site = site(None);
    for n in 0..7 {
        site.create(n, "demo", &format!("lx{n}")).await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for _ in 0..4 {
        let (status, page) = site
            .get(&format!("/machines?project=demo&limit=2{cursor}"))
            .await;
        assert_eq!(status, StatusCode::OK, "{page}");
        for vm in page["items"].as_array().unwrap() {
            seen.push(vm["vm_hostname"].as_str().unwrap().to_owned());
        }
        cursor = match page["next_cursor"].as_str() {
            Some(next) => format!("&cursor={next}"),
            None => break,
        };
    }
    assert_eq!(seen, ["lx6", "lx5", "lx4", "lx3", "lx2", "lx1", "lx0"]);
}

#[tokio::test]
async fn a_machine_that_its_job_has_left_is_shown_with_its_phase() {
    let site = site(Some("define"));
    site.create(1, "demo", "lx1").await;
    let (_, shown) = site.get("/machines/lx1?project=demo").await;
    assert_eq!(
        (&shown["state"], &shown["phase"]),
        (&"building".into(), &"define".into())
    );
    assert_eq!(shown["addresses"], serde_json::json!([]));
}

#[tokio::test]
async fn only_components_may_ask_and_for_one_project() {
    let site = site(None);
    let path = "/machines?project=demo";
    for (headers, status) in [
        (vec![], 401),
        (vec![("Authorization", "Bearer wrong")], 401),
        (vec![("Authorization", "Bearer toke")], 401),
        (vec![("Authorization", "Basic token")], 401),
        (
            vec![("Authorization", "Bearer token"), ("X-Project-Id", "demo")],
            200,
        ),
        (
            vec![("Authorization", "Bearer token"), ("X-Project-Id", "other")],
            400,
        ),
    ] {
        let (answer, body) = site.ask(path, &headers).await;
        assert_eq!(answer.as_u16(), status, "{headers:?} {body}");
    }
    for bad in [
        "/machines",
        "/machines?project=",
        "/machines?project=demo&limit=0",
        "/machines?project=demo&cursor=x",
        "/machines?project=demo&limt=1",
    ] {
        assert_eq!(site.get(bad).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
}
