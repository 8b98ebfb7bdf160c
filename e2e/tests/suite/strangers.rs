//! What strangers publish where servers read themselves: the log, and what is said beside it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    api::{self, Api},
    suite::Suite,
    wait::eventually,
};

/// What a server reads itself, by exchange and the beginning of the routing key.
const READ: [(&str, &str); 5] = [
    ("jobs", "event."),
    ("jobs", "mark"),
    ("jobs.tick", "tick.vm.create.progress"),
    ("jobs.tick", "tick.vm.create.log"),
    ("jobs.tick", "tick.worker."),
];

/// An honest message that has passed the broker.
#[derive(Clone)]
struct Said {
    exchange: String,
    key: String,
    body: Value,
}

/// Takes what was said since the last look, and finds one message of each kind that a server reads.
async fn honest(suite: &Suite, said: &mut Vec<Said>) -> Result<Vec<Said>> {
    for message in suite.vhost.take("tap").await? {
        let text = |member: &str| message[member].as_str().unwrap_or_default().to_owned();
        said.push(Said {
            exchange: text("exchange"),
            key: text("routing_key"),
            body: serde_json::from_str(&text("payload"))?,
        });
    }
    let one = |(exchange, key): (&str, &str)| {
        let is = |said: &&Said| said.exchange == exchange && said.key.starts_with(key);
        let found = said.iter().rfind(is);
        found
            .cloned()
            .with_context(|| format!("nobody said {key} on {exchange}"))
    };
    READ.into_iter().map(one).collect()
}

/// Returns where each value in a document is.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(items) => (0..).map(|n: usize| n.to_string()).zip(items).collect(),
        _ => Vec::new(),
    };
    for (name, member) in members {
        let at = format!("{at}/{name}");
        pointers(member, &at, all);
        all.push(at);
    }
}

/// The message with one value after the other made into what it never is.
fn spoilt(body: &Value) -> Result<Vec<String>> {
    let mut all = Vec::new();
    pointers(body, "", &mut all);
    let mut bodies = Vec::new();
    for at in all {
        for bad in [
            json!(null),
            json!([[[]]]),
            json!("\u{0}\u{1b}[31m\n"),
            json!(-1e300),
        ] {
            let mut body = body.clone();
            *body.pointer_mut(&at).context("no such place")? = bad;
            bodies.push(body.to_string());
        }
    }
    let text = body.to_string();
    bodies.push(text[..text.len() / 2].to_owned());
    bodies.push("[".repeat(100_000));
    bodies.push("x".repeat(1 << 20));
    Ok(bodies)
}

/// The message as said for another project, under an id of its own.
fn foreign(body: &Value, project: &str) -> Value {
    let mut body = body.clone();
    body["id"] = json!(Uuid::from_u128(rand::random()));
    if let Some(said) = body.pointer_mut("/data/job/auth/project_id") {
        *said = json!(project);
    }
    body
}

async fn story(api: &Api, id: &str) -> Result<(Value, Value)> {
    let job = api.job(id).await?.expect(200)?.body;
    let events = api.get(&format!("/v1/jobs/{id}/events")).await?;
    Ok((job, events.expect(200)?.body))
}

#[tokio::test]
async fn what_strangers_say_to_servers_reaches_nobody_and_stops_nothing() -> Result<()> {
    let Some(mut suite) = Suite::new("strangers").await? else {
        return Ok(());
    };
    let (token, project) = api::operator(&suite.http).await?;
    suite.set("VMCTL_ADMIN_PROJECT", project.clone());
    suite.set("VMCTL_SIMULATED_DURATION", "4s");
    let three = suite.start_three().await?;
    suite.vhost.tap("tap", &["jobs", "jobs.tick"]).await?;
    let (user, other) = (
        suite.user(&three.server).await?,
        suite.stranger(&three.server).await?,
    );
    let operator = Api::new(&suite.http, &three.server, &token);

    let ended = user.create().await?;
    user.until(&ended, "succeeded").await?;
    let before = story(&user, &ended).await?;
    let mut said = Vec::new();
    let said = eventually("each kind of message was said", async || {
        let found = honest(&suite, &mut said).await;
        found.map_err(|error| format!("{error:#}"))
    })
    .await?;

    // While they shout, one job runs and is followed; another project follows its own jobs.
    let runs = user.create().await?;
    let followed = user
        .follow(&format!("/v1/jobs/{runs}/events"), None)
        .await?;
    let mut theirs = other.follow("/v1/events", None).await?;
    ensure!(theirs.one().await?.event == "snapshot");
    eventually("nobody else knows the job", async || {
        let told = other.job(&ended).await;
        let told = told.map_err(|error| format!("{error:#}"))?;
        (told.status == 404).then_some(()).ok_or(told.text)
    })
    .await?;
    for said in &said {
        for body in spoilt(&said.body)? {
            suite
                .vhost
                .publish(&said.exchange, &said.key, &body)
                .await?;
        }
        let lie = foreign(&said.body, &project).to_string();
        suite.vhost.publish(&said.exchange, &said.key, &lie).await?;
    }

    let frames = followed.rest().await?;
    let end = frames.last().context("nothing came")?;
    ensure!(end.event == "succeeded", "{end:?}");
    let strange = frames.iter().filter(|frame| {
        let percent = frame
            .data
            .pointer("/progress/percent")
            .and_then(Value::as_f64);
        percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent))
            || frame.data.to_string().contains("\\u001b")
    });
    ensure!(strange.count() == 0, "{frames:?}");
    let after = story(&user, &ended).await?;
    ensure!(after == before, "{after:?} was {before:?}");

    let own = other.create().await?;
    let first = theirs.event().await?;
    ensure!(first.data.to_string().contains(&own), "{first:?}");
    let workers = operator.get("/v1/admin/workers").await?.expect(200)?.body;
    let count = workers["items"].as_array().map(Vec::len);
    ensure!(count == Some(1), "{workers}");
    other.until(&own, "succeeded").await?;
    three.stop().await
}
