//! Where secrets must not be: logs, Redis, the broker.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    api::{Api, input},
    environment::var,
    suite::Suite,
};

const EXCHANGES: [&str; 5] = [
    "jobs",
    "jobs.ready",
    "jobs.dlx",
    "jobs.tick",
    "jobs.control",
];

/// What may be everywhere; where it is not, nobody has looked.
const MARKER: &str = "visible-marker-of-a-machine";

#[tokio::test]
async fn a_token_is_nowhere_but_in_the_request() -> Result<()> {
    let Some(mut suite) = Suite::new("secrets").await? else {
        return Ok(());
    };
    // The AMQP library has to be named: without that its lines are left out.
    suite.set("VMCTL_LOG", "trace,lapin=trace");
    suite.set("VMCTL_SIMULATED_DURATION", "4s");
    let three = suite.start_three().await?;
    suite.vhost.tap("tap", &EXCHANGES).await?;

    let mut secrets = vec![
        var("VMCTL_ID_SECRET")?,
        var("VMCTL_KEYSTONE_PASSWORD")?,
        suite
            .vhost
            .url
            .split(['@', ':'])
            .nth(2)
            .context("no password")?
            .to_owned(),
    ];
    let api = suite.user(&three.server).await?;
    secrets.push(api.token.clone());
    secrets.push(use_everything(&api).await?);

    let mut written = vec![("Redis", suite.redis.written()?)];
    let tapped = Value::from(suite.vhost.take("tap").await?);
    written.push(("the broker", tapped.to_string()));
    for (name, process) in [
        ("the server's log", &three.server),
        ("the reader's log", &three.reader),
        ("the worker's log", &three.worker),
    ] {
        written.push((name, process.log()?));
    }
    for (place, text) in &written {
        for (number, secret) in secrets.iter().enumerate() {
            ensure!(!text.contains(secret), "secret {number} is in {place}");
        }
    }
    for (place, text) in &written[..2] {
        ensure!(text.contains(MARKER), "nothing to be seen in {place}");
    }
    for (place, text) in &written[2..] {
        ensure!(text.contains("TRACE"), "nothing to be seen in {place}");
    }
    three.stop().await
}

/// Sends a token in every way there is; the token that the server drew.
async fn use_everything(api: &Api) -> Result<String> {
    let login = json!({"login": var("VMCTL_TEST_USER")?, "password": var("VMCTL_TEST_PASSWORD")?});
    let answer = api.post("/v1/connect", &login).await?.expect(200)?;
    let drawn = answer.body["access"]["token"]["id"]
        .as_str()
        .context("no token")?;
    let token = json!({"token": drawn});
    api.post("/v1/testtoken", &token).await?.expect(200)?;

    // First, because it waits for a server that has not seen the work queue yet.
    let second = api.create().await?;
    let mut compat = input();
    compat["vm_desc"] = MARKER.into();
    compat["token"] = drawn.into();
    let answer = api.post("/v1/vm", &compat).await?.expect(202)?;
    let first = answer.body["uuid"].as_str().context("no uuid")?.to_owned();
    for (header, value) in [
        ("X-Auth-Token", drawn.to_owned()),
        ("Authorization", format!("Bearer {drawn}")),
    ] {
        // Two different tokens are refused, and not repeated either.
        let headers = [(header, value.as_str())];
        let path = format!("/v1/jobs/{first}");
        let answer = api
            .send(reqwest::Method::GET, &path, &headers, None)
            .await?;
        ensure!(!answer.expect(400)?.text.contains(drawn));
    }
    api.until(&first, "succeeded").await?;
    api.until(&second, "succeeded").await?;
    api.get(&format!("/v1/jobs/{first}/events"))
        .await?
        .expect(200)?;
    let third = api.create().await?;
    api.post(&format!("/v1/jobs/{third}/cancel"), &json!({}))
        .await?
        .expect(202)?;
    api.until(&third, "cancelled").await?;
    Ok(drawn.to_owned())
}
