//! One trace from the client's request to what the reader makes visible, in a collector.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use vmctl_daemon::testing::{Authority, free_port};

use crate::support::{environment, receiver::Receiver, suite::Suite, wait::eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// What the collector knows the programs by.
const CREDENTIALS: &str = "Basic dm1jdGw6Y2FuYXJ5";
const CLIENT: &str = "00f067aa0ba902b7";

/// A span as a collector has it.
#[derive(Debug, Clone)]
struct Span {
    service: String,
    name: String,
    id: String,
    parent: String,
    attributes: BTreeMap<String, Value>,
}

/// Returns the spans of the trace that have arrived.
fn arrived(collector: &Receiver) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for hit in collector.hits() {
        ensure!(hit.uri.path() == "/v1/traces", "{}", hit.uri);
        ensure!(hit.header("content-type") == "application/json");
        ensure!(hit.header("authorization") == CREDENTIALS, "{hit:?}");
        let body: Value = serde_json::from_slice(&hit.body)?;
        for resource in list(&body["resourceSpans"]) {
            let service = attributes(&resource["resource"]["attributes"]);
            let service = service.get("service.name").and_then(Value::as_str);
            let service = service.context("a service has a name")?;
            let scopes = list(&resource["scopeSpans"]).iter();
            for span in scopes.flat_map(|scope| list(&scope["spans"])) {
                if span["traceId"] == TRACE {
                    spans.push(read(service, span));
                }
            }
        }
    }
    Ok(spans)
}

fn read(service: &str, span: &Value) -> Span {
    let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
    Span {
        service: service.to_owned(),
        name: text("name"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        attributes: attributes(&span["attributes"]),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn attributes(value: &Value) -> BTreeMap<String, Value> {
    let read = |pair: &Value| {
        let (_, value) = pair["value"].as_object()?.iter().next()?;
        Some((pair["key"].as_str()?.to_owned(), value.clone()))
    };
    list(value).iter().filter_map(read).collect()
}

/// Finds the one span of a service that has a name and a parent.
fn find<'a>(
    spans: &'a [Span],
    service: &str,
    name: &str,
    parent: &str,
) -> Result<&'a Span, String> {
    let fits = |span: &&Span| span.service == service && span.name == name && span.parent == parent;
    let found = spans.iter().find(fits);
    found.ok_or_else(|| format!("no {name} of {service} below {parent} in {spans:#?}"))
}

#[tokio::test]
async fn one_trace_leads_from_the_client_to_the_view() -> Result<()> {
    let Some(mut suite) = Suite::new("traces").await? else {
        return Ok(());
    };
    let authority = Authority::new("of a test");
    let shown = authority.issue(&["127.0.0.1"]);
    let collector = Receiver::with_identity(&shown).await;
    suite.trust(&authority)?;
    suite.set(
        "VMCTL_OTLP_ENDPOINT",
        format!("https://{}", collector.address),
    );
    suite.set("VMCTL_OTLP_HEADERS", format!("authorization={CREDENTIALS}"));
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let home = suite.home()?;
    let output = Command::new(environment::program("vmctl")?)
        .args(["vm", "create", "--profile", "Micro", "--wait"])
        .env_clear()
        .env("HOME", &home)
        .env("VMCTL_TOKEN", &api.token)
        .env("VMCTL_ENDPOINT", three.server.url())
        .env("TRACEPARENT", format!("00-{TRACE}-{CLIENT}-01"))
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.success(), "{output:?}");

    eventually("the whole trace", async || {
        let spans = arrived(&collector).map_err(|error| error.to_string())?;
        let request = find(&spans, "vmctl-server", "POST /v1/jobs", CLIENT)?;
        let publish = find(&spans, "vmctl-server", "publish", &request.id)?;
        find(
            &spans,
            "vmctl-reader",
            "fold jobs.submitted.v1",
            &publish.id,
        )?;
        let slice = find(&spans, "vmctl-worker", "process vm.create", &publish.id)?;
        find(&spans, "vmctl-reader", "fold jobs.started.v1", &slice.id)?;
        // The last slice stands beside the first one, and says how the job has ended.
        let ends = spans
            .iter()
            .filter(|span| span.name == "fold jobs.succeeded.v1");
        let ends: Vec<_> = ends.collect();
        let [end] = &ends[..] else {
            return Err(format!("{ends:#?}"));
        };
        let last = spans.iter().find(|span| span.id == end.parent);
        let last = last.ok_or_else(|| "the last slice".to_owned())?;
        let is_beside = last.name == "process vm.create" && last.parent == publish.id;
        for (span, operation, key) in [
            (publish, "publish", "job.vm.create"),
            (slice, "process", "job.vm.create"),
            (*end, "process", "event.vm.create.succeeded"),
        ] {
            let told = |name: &str| span.attributes.get(name).and_then(Value::as_str);
            let expected = [
                ("messaging.system", "rabbitmq"),
                ("messaging.operation.name", operation),
                ("messaging.destination.name", &format!("jobs:{key}")),
                ("messaging.rabbitmq.destination.routing_key", key),
            ];
            if let Some((name, value)) = expected.iter().find(|(n, v)| told(n) != Some(*v)) {
                return Err(format!("{name} is not {value} in {span:#?}"));
            }
            if told("messaging.message.conversation_id").is_none() {
                return Err(format!("no job in {span:#?}"));
            }
        }
        let status = request.attributes.get("http.response.status_code");
        let is_told = status == Some(&json!("202"));
        (is_beside && is_told)
            .then_some(())
            .ok_or_else(|| format!("{last:#?} {request:#?}"))
    })
    .await?;
    let (server, worker) = (three.server.log()?, three.worker.log()?);
    for log in [&server, &worker] {
        ensure!(log.contains(&format!("\"trace.id\":\"{TRACE}\"")), "{log}");
    }
    let mut published = server.lines().filter(|line| line.contains("\"published\""));
    let published: Value = serde_json::from_str(published.next().context("nothing published")?)?;
    let request = &published["span"]["request.id"];
    ensure!(request.is_string(), "{published}");
    ensure!(
        worker.contains(&format!("\"request.id\":{request}")),
        "{worker}"
    );
    three.stop().await
}

/// Has a job done whose spans reach nobody, and looks for the reason in the server's log.
async fn not_exported(suite: &Suite, reason: &str) -> Result<()> {
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    let id = api.create().await?;
    api.until(&id, "succeeded").await?;
    eventually("the failure is counted", async || {
        let metrics = suite.metrics(&three.server).await;
        let metrics = metrics.map_err(|error| error.to_string())?;
        let line = "otlp_exports_total{outcome=\"unreachable\"}";
        metrics.contains(line).then_some(()).ok_or(metrics)
    })
    .await?;
    let log = three.server.log()?;
    let told = log
        .lines()
        .find(|line| line.contains("traces are not exported"));
    ensure!(told.is_some_and(|line| line.contains(reason)), "{log}");
    three.stop().await
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() -> Result<()> {
    let Some(mut suite) = Suite::new("no-collector").await? else {
        return Ok(());
    };
    let nobody = format!("http://127.0.0.1:{}", free_port());
    suite.set("VMCTL_OTLP_ENDPOINT", nobody);
    not_exported(&suite, "Connection refused").await
}

#[tokio::test]
async fn a_collector_that_nobody_vouches_for_is_told_nothing() -> Result<()> {
    let Some(mut suite) = Suite::new("strange-collector").await? else {
        return Ok(());
    };
    let shown = Authority::new("of others").issue(&["127.0.0.1"]);
    let collector = Receiver::with_identity(&shown).await;
    suite.trust(&Authority::new("of a test"))?;
    let strange = format!("https://{}", collector.address);
    suite.set("VMCTL_OTLP_ENDPOINT", strange);
    not_exported(&suite, "UnknownIssuer").await?;
    ensure!(collector.hits().is_empty(), "{:?}", collector.hits());
    Ok(())
}
