//! From a submission with a callback to a receiver that verifies it, and once more by hand.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use axum_server::tls_rustls::RustlsConfig;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::sync::mpsc;
use vmctl_daemon::testing::{Authority, Identity};
use vmctl_egress::Policy;
use vmctl_standalone::Standalone;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How long a test waits; more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

type Hits = mpsc::UnboundedReceiver<(HeaderMap, Bytes)>;

/// A receiver that answers 200, over TLS if there is something to show; its port, and what it is sent.
async fn receiver(shown: Option<Identity>) -> (u16, Hits) {
    let (sender, hits) = mpsc::unbounded_channel();
    let sender = Arc::new(sender);
    let take = move |headers: HeaderMap, body: Bytes| async move {
        sender.send((headers, body)).unwrap();
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/hook", post(take));
    let service = router.into_make_service();
    if let Some(Identity { certificate, key }) = shown {
        let config = RustlsConfig::from_pem(certificate.into(), key.into()).await;
        let server = axum_server::from_tcp_rustls(listener, config.unwrap()).unwrap();
        tokio::spawn(server.serve(service));
    } else {
        let server = axum_server::from_tcp(listener).unwrap();
        tokio::spawn(server.serve(service));
    }
    (port, hits)
}

async fn take(hits: &mut Hits) -> (HeaderMap, Value) {
    let (headers, body) = tokio::time::timeout(PATIENCE, hits.recv())
        .await
        .unwrap()
        .unwrap();
    Webhook::new(SECRET)
        .unwrap()
        .verify(&body, &headers)
        .unwrap();
    (headers, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn t16_the_end_of_a_job_is_told_and_told_again_by_hand() {
    told(None).await;
}

#[tokio::test]
async fn a_receiver_that_a_private_authority_vouches_for_is_told() {
    told(Some(Authority::new("ours"))).await;
}

async fn told(authority: Option<Authority>) {
    vmctl_daemon::install_crypto();
    let shown = authority.as_ref().map(|ours| ours.issue(&["127.0.0.1"]));
    let scheme = if shown.is_some() { "https" } else { "http" };
    let (port, mut hits) = receiver(shown).await;
    let policy = Policy {
        allow_http: authority.is_none(),
        ports: vec![port],
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
    };
    let running = Standalone::builder()
        .user("joe", "1234", "demo")
        .simulated_duration(Duration::ZERO)
        .callback_policy(policy)
        .callback_secret(Some(SECRET.into()))
        .ca_pem(authority.map(|ours| ours.pem().into_bytes()))
        .start()
        .await
        .unwrap();
    let http = Client::builder().timeout(PATIENCE).build().unwrap();
    let login = json!({"login": "joe", "password": "1234"});
    let login = http
        .post(format!("{}/v1/connect", running.url()))
        .json(&login);
    let login: Value = login.send().await.unwrap().json().await.unwrap();
    let token = login["access"]["token"]["id"].as_str().unwrap().to_owned();
    let ask = async |method: Method, path: &str, body: Option<Value>| {
        let mut call = http
            .request(method, format!("{}{path}", running.url()))
            .header("X-Auth-Token", &token);
        if let Some(body) = body {
            call = call.json(&body);
        }
        let answer = call.send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    let body = json!({
        "kind": "vm.create",
        "input": {
            "vm_hostname": "lxcall", "vm_profile": "Micro", "vm_region": "GreaterParis",
            "vm_desc": "", "app_env": "DEV", "app_trigram": "vmc",
        },
        "callback": {"url": format!("{scheme}://127.0.0.1:{port}/hook"), "full": true},
    });
    let (status, job) = ask(Method::POST, "/v1/jobs", Some(body)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());

    let (headers, event) = take(&mut hits).await;
    assert_eq!(event["type"], "jobs.succeeded.v1");
    assert_eq!(
        (&event["subject"], &event["data"]["state"]),
        (&job["id"], &json!("succeeded"))
    );
    assert_eq!(event["data"]["output"]["vm_hostname"], "lxcall");
    assert_eq!(headers["webhook-id"], event["id"].as_str().unwrap());

    let delivered = async || {
        let wait = async {
            loop {
                let (_, job) = ask(Method::GET, &path, None).await;
                if job["callback"]["state"] == "delivered" {
                    return job["callback"].clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    };
    let callback = delivered().await;
    assert_eq!(
        (&callback["attempts"], &callback["last_status"]),
        (&json!(1), &json!(200))
    );

    let again = format!(
        "{path}/callbacks/{}/redeliver",
        event["id"].as_str().unwrap()
    );
    let (status, _) = ask(Method::POST, &again, None).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let (headers_again, event_again) = take(&mut hits).await;
    assert_eq!(headers_again["webhook-id"], headers["webhook-id"]);
    assert_eq!(event_again, event);
    delivered().await;
    running.stop().await.unwrap();
}
