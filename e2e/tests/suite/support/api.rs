//! The API as a client sees it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Certificate, Method, header::HeaderMap};
use serde_json::{Value, json};
use vmctl_daemon::testing::Authority;

use super::{
    environment::var,
    frames::Frames,
    process::Process,
    wait::{eventually, pace, patience},
};

/// More than the server takes for any answer that these tests ask for.
const DEADLINE: Duration = Duration::from_secs(60);

/// Installs the TLS provider; a second test finds it there.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Makes the client of a test.
pub fn http() -> Result<reqwest::Client> {
    Ok(builder().build()?)
}

/// Makes one that keeps its connections to servers of ours.
pub fn pooled() -> Result<reqwest::Client> {
    Ok(builder().pool_max_idle_per_host(8).build()?)
}

/// Makes a client that trusts the authority of a test.
pub fn https(authority: &Authority) -> Result<reqwest::Client> {
    let trusted = Certificate::from_pem(authority.pem().as_bytes())?;
    Ok(builder().tls_certs_merge([trusted]).build()?)
}

fn builder() -> reqwest::ClientBuilder {
    install_tls();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(DEADLINE)
        // Keystone's server closes connections without saying so.
        .pool_max_idle_per_host(0)
}

/// Logs in at Keystone, as `vmctl login` does.
pub async fn token(http: &reqwest::Client, user: &str, project: &str) -> Result<String> {
    let domain = json!({"name": "Default"});
    let user = json!({"name": user, "domain": domain, "password": var("VMCTL_TEST_PASSWORD")?});
    let auth = json!({
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": project, "domain": domain}},
    });
    let url = format!("{}/auth/tokens", var("VMCTL_TEST_KEYSTONE_URL")?);
    let answer = http.post(url).json(&json!({"auth": auth})).send().await?;
    let answer = answer.error_for_status()?;
    let token = answer.headers().get("X-Subject-Token");
    Ok(token.context("no token")?.to_str()?.to_owned())
}

/// Logs in as who runs the service; returns the token, and the id of its project.
pub async fn operator(http: &reqwest::Client) -> Result<(String, String)> {
    let domain = json!({"name": "Default"});
    let (name, password) = (
        var("VMCTL_TEST_KEYSTONE_ADMIN")?,
        var("VMCTL_TEST_KEYSTONE_ADMIN_PASSWORD")?,
    );
    let project = var("VMCTL_TEST_KEYSTONE_ADMIN_PROJECT")?;
    let user = json!({"name": name, "domain": domain, "password": password});
    let auth = json!({
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": project, "domain": domain}},
    });
    let url = format!("{}/auth/tokens", var("VMCTL_TEST_KEYSTONE_URL")?);
    let answer = http.post(url).json(&json!({"auth": auth})).send().await?;
    let answer = answer.error_for_status()?;
    let token = answer.headers().get("X-Subject-Token");
    let token = token.context("no token")?.to_str()?.to_owned();
    let body: Value = answer.json().await?;
    let project = body["token"]["project"]["id"]
        .as_str()
        .context("no project")?;
    Ok((token, project.to_owned()))
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null when the text is no JSON.
    pub body: Value,
}

impl Answer {
    /// Returns the last part of the problem's type.
    pub fn problem(&self) -> &str {
        let problem = self.body["type"].as_str().unwrap_or_default();
        problem.rsplit('/').next().unwrap_or_default()
    }

    /// Checks the status.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "{} for {status}: {}",
            self.status,
            self.text
        );
        Ok(self)
    }
}

/// A server and one user of it.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    pub token: String,
}

impl Api {
    /// Talks to a server with a token.
    pub fn new(http: &reqwest::Client, server: &Process, token: &str) -> Self {
        Self::at(http, &server.url(), token)
    }

    /// The same, by another address.
    pub fn at(http: &reqwest::Client, base: &str, token: &str) -> Self {
        Self {
            http: http.clone(),
            base: base.to_owned(),
            token: token.to_owned(),
        }
    }

    /// Sends one request with more headers.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = self
            .http
            .request(method, url)
            .header("X-TOKEN", &self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answer {
            status,
            headers,
            text,
            body,
        })
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Sends a request until the server has asked the view. A Redis that is late on a busy machine is
    /// no answer to what these tests ask; a view that is behind is one.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let started = Instant::now();
        loop {
            let answer = self.send(method.clone(), path, &[], body).await?;
            let late = answer.problem() == "state-unavailable";
            if !late || started.elapsed() > patience() {
                return Ok(answer);
            }
            pace().await;
        }
    }

    /// Follows events, from behind one of them.
    pub async fn follow(&self, path: &str, last: Option<&str>) -> Result<Frames> {
        Frames::of(self.followed(path, last).await?)
    }

    /// Asks for a stream until the server has asked the view, as [`Self::ask`] does; the answer's head.
    pub async fn followed(&self, path: &str, last: Option<&str>) -> Result<reqwest::Response> {
        let started = Instant::now();
        loop {
            let answer = self.open(path, last).await?;
            if answer.status() != 503 || started.elapsed() > patience() {
                return Ok(answer);
            }
            pace().await;
        }
    }

    async fn open(&self, path: &str, last: Option<&str>) -> Result<reqwest::Response> {
        let url = format!("{}{path}", self.base);
        let request = self.http.get(url).header("X-TOKEN", &self.token);
        // As long as a test may take: the time is that of the whole stream.
        let request = request.timeout(10 * DEADLINE);
        let mut request = request.header("Accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        Ok(request.send().await?)
    }

    /// Looks a job up.
    pub async fn job(&self, id: &str) -> Result<Answer> {
        self.get(&format!("/v1/jobs/{id}")).await
    }

    /// Has a machine created; the job's id.
    pub async fn create(&self) -> Result<String> {
        self.submit(&creation()).await
    }

    /// Submits a job; its id.
    pub async fn submit(&self, job: &Value) -> Result<String> {
        let mut answer = self.post("/v1/jobs", job).await?;
        // A server that has just started may not have seen the work queue: it waits for a second, and says so.
        for _ in 0..30 {
            if answer.status != 503 || answer.problem() != "kind-unavailable" {
                break;
            }
            answer = self.post("/v1/jobs", job).await?;
        }
        let answer = answer.expect(202)?;
        let id = answer.body["id"].as_str();
        Ok(id.context("no id in the answer")?.to_owned())
    }

    /// Has so many machines created.
    pub async fn create_many(&self, count: usize) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.create().await?);
        }
        Ok(ids)
    }

    /// Waits until a job is in a state. Another end is an error at once; so is any answer but 200,
    /// except that the view is on its way.
    pub async fn until(&self, id: &str, state: &str) -> Result<Value> {
        let wrong = std::cell::Cell::new(None);
        let found = eventually(&format!("{id} is {state}"), async || {
            let job = match self.job(id).await {
                Ok(answer) if answer.status == 200 => answer.body,
                Ok(answer) if is_on_its_way(&answer) => return Err(answer.text),
                other => {
                    wrong.set(Some(format!("{other:?}")));
                    return Ok(Value::Null);
                }
            };
            let ended = job["terminal"] == true;
            match job["state"].as_str() {
                Some(now) if now == state => Ok(job),
                _ if ended => {
                    wrong.set(Some(job.to_string()));
                    Ok(Value::Null)
                }
                _ => Err(job.to_string()),
            }
        })
        .await?;
        match wrong.take() {
            Some(wrong) => bail!("{id} was to be {state}: {wrong}"),
            None => Ok(found),
        }
    }

    /// Waits until all of these have succeeded.
    pub async fn all_succeed(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            self.until(id, "succeeded").await?;
        }
        Ok(())
    }

    /// Counts these jobs by state.
    pub async fn states(&self, ids: &[String]) -> Result<BTreeMap<String, usize>> {
        let mut states = BTreeMap::new();
        for id in ids {
            let answer = self.job(id).await?;
            let state = answer.body["state"].as_str().unwrap_or("unknown");
            *states.entry(state.to_owned()).or_default() += 1;
        }
        Ok(states)
    }

    /// Waits until at least so many of these are in a state.
    pub async fn at_least(&self, count: usize, state: &str, ids: &[String]) -> Result<()> {
        eventually(&format!("{count} are {state}"), async || {
            let states = self.states(ids).await.map_err(|e| format!("{e:#}"))?;
            let there = states.get(state).copied().unwrap_or(0);
            (there >= count).then_some(()).ok_or(format!("{states:?}"))
        })
        .await
    }
}

/// Says whether an answer promises another one soon.
pub fn is_on_its_way(answer: &Answer) -> bool {
    let soon = matches!(answer.problem(), "state-rebuilding" | "state-unavailable");
    answer.status == 503 && soon
}

/// A request for a machine that no other request names.
pub fn creation() -> Value {
    json!({"kind": "vm.create", "input": input()})
}

/// The six fields of a machine.
pub fn input() -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    json!({
        "app_env": "DEV", "app_trigram": "e2e", "vm_desc": "a machine of a test",
        "vm_hostname": format!("lxe2e{next}"), "vm_profile": "Micro", "vm_region": "GreaterParis",
    })
}
