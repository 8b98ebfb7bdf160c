//! What a real Prometheus makes of the programs and of RabbitMQ: it scrapes each, and every expression of the rules and
//! of the dashboard is one that it can answer. Says so and does nothing when there is none.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use vmctl_daemon::testing::free_port;

use crate::support::{
    api::creation,
    environment::var,
    process::Process,
    suite::{Suite, Three},
    wait::eventually,
};

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}

/// The configuration that ships, for programs and a broker that listen elsewhere, and scraped every second.
fn configuration(three: &Three) -> Result<String> {
    let mut text = fs::read_to_string(shipped("prometheus/prometheus.yaml"))?;
    let rabbitmq = var("VMCTL_TEST_RABBITMQ_METRICS")?;
    let rules = shipped("prometheus/alerts.yaml").canonicalize()?;
    for (from, to) in [
        ("127.0.0.1:8080", address(&three.server)),
        ("127.0.0.1:8081", address(&three.worker)),
        ("127.0.0.1:8082", address(&three.reader)),
        ("127.0.0.1:15692", rabbitmq),
        ("[alerts.yaml]", format!("[{}]", rules.display())),
        ("scrape_interval: 15s", "scrape_interval: 1s".to_owned()),
        (
            "evaluation_interval: 15s",
            "evaluation_interval: 1s".to_owned(),
        ),
    ] {
        ensure!(text.contains(from), "{from} is not in the configuration");
        text = text.replace(from, &to);
    }
    Ok(text)
}

fn address(process: &Process) -> String {
    process.url().trim_start_matches("http://").to_owned()
}

/// What `promtool` finds in the metrics of a program; nothing when all is well.
async fn lint(suite: &Suite, process: &Process) -> Result<String> {
    let path = suite.directory().join("metrics");
    fs::write(&path, suite.metrics(process).await?)?;
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(File::open(path)?)
        .output()?;
    let told = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&told).into_owned())
}

struct Prometheus {
    http: reqwest::Client,
    url: String,
}

impl Prometheus {
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let url = format!("{}/api/v1/{path}", self.url);
        let answer = self.http.get(url).query(query).send().await?;
        let body: Value = answer.json().await?;
        ensure!(body["status"] == "success", "{query:?}: {body}");
        Ok(body["data"].clone())
    }

    /// Asks, with what Grafana puts in for its variables.
    async fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let expression = expression.replace("$__rate_interval", "10s");
        let data = self.get("query", &[("query", &expression)]).await?;
        Ok(data["result"].as_array().context("no result")?.clone())
    }
}

/// Every metric of RabbitMQ that the rules or the dashboard name is one that RabbitMQ has.
async fn names_of_rabbitmq(prometheus: &Prometheus) -> Result<()> {
    let mut text = fs::read_to_string(shipped("prometheus/alerts.yaml"))?;
    text += &fs::read_to_string(shipped("grafana/vmctl.json"))?;
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names: BTreeSet<_> = words.filter(|word| word.starts_with("rabbitmq_")).collect();
    ensure!(names.len() >= 5, "{names:?}");
    for name in names {
        eventually(name, async || {
            let found = prometheus.query(name).await;
            let found = found.map_err(|error| format!("{error:#}"))?;
            (!found.is_empty())
                .then_some(())
                .ok_or_else(|| "nothing".to_owned())
        })
        .await?;
    }
    Ok(())
}

/// What the programs must have told of those two jobs, each metric by the program that has it. The oldest
/// job of a queue is told of after five minutes, so not here.
const TOLD: [&str; 22] = [
    r#"jobs_submitted_total{job="vmctl-server",kind="vm.create",outcome="accepted"} == 2"#,
    r#"jobs_finished_total{job="vmctl-worker",kind="vm.create",state="succeeded"} == 1"#,
    r#"jobs_finished_total{job="vmctl-worker",kind="vm.create",state="failed"} == 1"#,
    r#"job_queue_wait_seconds_count{job="vmctl-worker",kind="vm.create"} == 2"#,
    r#"job_run_seconds_count{job="vmctl-worker",kind="vm.create"} > 0"#,
    r#"job_total_seconds_count{job="vmctl-worker",kind="vm.create"} > 0"#,
    r#"jobs_active{job="vmctl-worker",kind="vm.create",state="running"} == 0"#,
    r#"job_retries_total{job="vmctl-worker",kind="vm.create"} == 1"#,
    r#"jobs_dead_total{job="vmctl-worker",kind="vm.create",reason!=""} == 1"#,
    r#"callback_deliveries_total{job="vmctl-worker",outcome="delivered"} == 1"#,
    r#"queue_messages_ready{job="vmctl-server",queue="work.vm.create"} == 0"#,
    r#"queue_consumers{job="vmctl-server",queue="work.vm.create"} == 1"#,
    r#"publish_confirm_seconds_count{job="vmctl-server"} > 0"#,
    r#"publish_total{job="vmctl-worker",outcome="confirmed"} > 2"#,
    r#"reader_events_total{job="vmctl-reader",result="applied"} > 2"#,
    r#"reader_lag_seconds{job="vmctl-reader"} < 30"#,
    r#"cache_rebuild_seconds_count{job="vmctl-reader"} > 0"#,
    r#"lease_lost_total{job="vmctl-reader"} == 0"#,
    r#"auth_cache_total{job="vmctl-server",result="hit"} > 0"#,
    r#"http_server_request_duration_seconds_count{job="vmctl-server",method="POST",status="202"} > 0"#,
    r#"store_command_seconds_count{job="vmctl-server"} > 0"#,
    // A quorum queue of the one node has one member.
    r#"count by (vhost, queue) (rabbitmq_detailed_raft_term_total{job="rabbitmq-queues",queue="work.vm.create"}) == 1"#,
];

#[tokio::test]
async fn a_real_prometheus_scrapes_each_program_and_answers_the_dashboard() -> Result<()> {
    if Command::new("promtool").arg("--version").output().is_err() {
        ensure!(
            std::env::var("VMCTL_TEST_STRICT").is_err(),
            "prometheus is not installed"
        );
        eprintln!("nothing tested: prometheus is not installed");
        return Ok(());
    }
    let Some(mut suite) = Suite::new("monitoring").await? else {
        return Ok(());
    };
    let receiver = suite.receiver().await;
    suite.set("VMCTL_SIMULATED_FAIL", "storage:2");
    let three = suite.start_three().await?;
    let user = suite.user(&three.server).await?;
    // One that has no second attempt, and one that succeeds at it.
    let mut job = creation();
    job["retry"] = json!({"max_attempts": 1});
    let id = user.submit(&job).await?;
    user.until(&id, "failed").await?;
    let mut job = creation();
    job["input"]["vm_hostname"] = json!("lxtwice");
    job["callback"] = json!({"url": format!("http://{}/hook", receiver.address)});
    let id = user.submit(&job).await?;
    user.until(&id, "succeeded").await?;
    for process in [&three.server, &three.worker, &three.reader] {
        let found = lint(&suite, process).await?;
        ensure!(found.is_empty(), "{}: {found}", process.url());
    }

    let (configured, port) = (suite.directory().join("prometheus.yaml"), free_port());
    fs::write(&configured, configuration(&three)?)?;
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", configured.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            suite.directory().join("tsdb").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let running = suite.spawn("prometheus", command)?;
    let prometheus = Prometheus {
        http: suite.http.clone(),
        url: format!("http://127.0.0.1:{port}"),
    };
    eventually("all three are scraped, and RabbitMQ twice", async || {
        let up = prometheus.query("sum(up)").await;
        let up = up.map_err(|error| format!("{error:#}"))?;
        let all = up.first().is_some_and(|sum| sum["value"][1] == "5");
        all.then_some(()).ok_or(format!("{up:?}"))
    })
    .await?;

    let dashboard: Value = serde_json::from_slice(&fs::read(shipped("grafana/vmctl.json"))?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let expressions: Vec<&str> = targets
        .flatten()
        .filter_map(|target| target["expr"].as_str())
        .collect();
    ensure!(expressions.len() > 30, "{} expressions", expressions.len());
    for expression in expressions {
        prometheus.query(expression).await?;
    }
    for expression in TOLD {
        eventually(expression, async || {
            let found = prometheus.query(expression).await;
            let found = found.map_err(|error| format!("{error:#}"))?;
            (!found.is_empty())
                .then_some(())
                .ok_or("nothing".to_owned())
        })
        .await?;
    }
    names_of_rabbitmq(&prometheus).await?;
    let rules = prometheus.get("rules", &[]).await?;
    let groups = rules["groups"].as_array().context("no rules")?;
    for rule in groups
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten()
    {
        ensure!(rule["health"] != "err", "{rule}");
    }
    let firing = prometheus.query(r#"ALERTS{alertstate="firing"}"#).await?;
    ensure!(firing.is_empty(), "{firing:?}");
    running.settle();
    three.stop().await
}
