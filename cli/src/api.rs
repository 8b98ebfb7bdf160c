//! The server's routes, typed, and what their refusals mean to a person.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{
    Method, StatusCode,
    header::{self, HeaderName},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vmctl_api_types::{
    AccessResponse, CallbackDelivery, CallbackList, CancelRequest, ConnectRequest, DeadJob,
    DeadList, Discovery, Job, JobEventList, JobId, JobList, JobState, Kind, KindList, Machine,
    MachineList, Problem, ProblemType, ProfileList, QueueList, Quota, RegionList, ReplayRequest,
    ReplayResult, SubmitRequest, WorkerList,
};

use crate::{
    client::{Answer, Client, Failure, Request},
    error::CliError,
    exit::Exit,
    text,
};

/// Jobs per page that are asked for; the server's own ceiling.
const PAGE: usize = 200;

/// Pages that one command reads at most.
const MAX_PAGES: usize = 100;

/// A document: as this client understands it, and as the server sent it.
#[derive(Debug, Clone)]
pub struct Document<T> {
    /// What this client knows of it.
    pub value: T,
    /// All of it, for `-o json`.
    pub raw: Value,
}

/// One job of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The job.
    pub job: Job,
    /// The job as the server sent it.
    pub raw: Value,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// With these words.
    pub search: Option<String>,
    /// In these states; all when empty.
    pub states: Vec<JobState>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Asked for by this job.
    pub parent: Option<JobId>,
    /// This job, and those asked for below it.
    pub root: Option<JobId>,
    /// Submitted later than this.
    pub created_after: Option<Timestamp>,
    /// Submitted earlier than this.
    pub created_before: Option<Timestamp>,
    /// Oldest first, and not newest first.
    pub oldest_first: bool,
    /// At most so many; all when `None`.
    pub limit: Option<usize>,
}

/// Which dead jobs to list.
#[derive(Debug, Clone, Default)]
pub struct DeadQuery {
    /// Of this kind.
    pub kind: Option<String>,
    /// With an error of this type.
    pub error: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// A server's routes.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

impl Api {
    /// Wraps a client.
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Returns the client, for exchanges that look at the answer themselves.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Asks the server to introduce itself.
    pub async fn discovery(&self) -> Result<Discovery, CliError> {
        let answer = self.ask(&Request::get("/v1")).await?;
        let found: Document<Discovery> = self.parse(&answer)?;
        Ok(found.value)
    }

    /// Gets one job.
    pub async fn job(&self, id: JobId) -> Result<Document<Job>, CliError> {
        let answer = self.ask(&Request::get(format!("/v1/jobs/{id}"))).await?;
        self.parse(&answer)
    }

    /// Lists jobs, newest first, and says whether some may be missing.
    pub async fn list_jobs(&self, query: &ListQuery) -> Result<(Vec<Listed>, bool), CliError> {
        let mut jobs = Vec::new();
        let mut incomplete = false;
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let wanted = query
                .limit
                .map_or(PAGE, |limit| limit - jobs.len())
                .min(PAGE);
            if wanted == 0 {
                break;
            }
            let mut request = Request::get("/v1/jobs").query("limit", wanted.to_string());
            if !query.states.is_empty() {
                let states: Vec<&str> = query.states.iter().map(|state| state.as_str()).collect();
                request = request.query("state", states.join(","));
            }
            if let Some(words) = &query.search {
                request = request.query("q", words);
            }
            if let Some(kind) = &query.kind {
                request = request.query("kind", kind);
            }
            for (name, job) in [("parent", query.parent), ("root", query.root)] {
                if let Some(job) = job {
                    request = request.query(name, job.to_string());
                }
            }
            let times = [
                ("created_after", query.created_after),
                ("created_before", query.created_before),
            ];
            for (name, time) in times {
                if let Some(time) = time {
                    request = request.query(name, time.to_string());
                }
            }
            if query.oldest_first {
                request = request.query("order", "created_at");
            }
            if let Some(cursor) = &cursor {
                request = request.query("cursor", cursor);
            }
            let page: Document<JobList> = self.parse(&self.ask(&request).await?)?;
            incomplete |= page.value.incomplete;
            let raws = match page.raw {
                Value::Object(mut object) => match object.remove("items") {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                },
                _ => Vec::new(),
            };
            let page_items = page.value.items.into_iter().zip(raws);
            jobs.extend(page_items.map(|(job, raw)| Listed { job, raw }));
            match page.value.next_cursor {
                // A cursor that does not move would never end.
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => break,
            }
        }
        if let Some(limit) = query.limit {
            jobs.truncate(limit);
        }
        Ok((jobs, incomplete))
    }

    /// Lists the jobs that a job has asked for, in that order, and says whether some are not known.
    pub async fn children(&self, id: JobId) -> Result<(Vec<Listed>, bool), CliError> {
        let mut jobs = Vec::new();
        let mut incomplete = false;
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut request =
                Request::get(format!("/v1/jobs/{id}/children")).query("limit", PAGE.to_string());
            if let Some(cursor) = &cursor {
                request = request.query("cursor", cursor);
            }
            let page: Document<JobList> = self.parse(&self.ask(&request).await?)?;
            incomplete |= page.value.incomplete;
            let raws = page.raw["items"].as_array().cloned().unwrap_or_default();
            let items = page.value.items.into_iter().zip(raws);
            jobs.extend(items.map(|(job, raw)| Listed { job, raw }));
            match page.value.next_cursor {
                // A cursor that does not move would never end.
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => break,
            }
        }
        Ok((jobs, incomplete))
    }

    /// Gets a job's history, oldest first.
    pub async fn events(
        &self,
        id: JobId,
    ) -> Result<Vec<Document<vmctl_api_types::JobEvent>>, CliError> {
        let mut events = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut request = Request::get(format!("/v1/jobs/{id}/events"))
                .header(header::ACCEPT, "application/json");
            if let Some(after) = &after {
                request = request.query("after", after);
            }
            let page: Document<JobEventList> = self.parse(&self.ask(&request).await?)?;
            let raws = page.raw["items"].as_array().cloned().unwrap_or_default();
            let items = page.value.items.into_iter().zip(raws);
            events.extend(items.map(|(value, raw)| Document { value, raw }));
            match page.value.next_after {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                _ => break,
            }
        }
        Ok(events)
    }

    /// Submits a job once; the caller decides about trying again, always with the same key.
    pub async fn submit(&self, body: &SubmitRequest, key: &str) -> Result<Answer, Failure> {
        let request = Request::new(Method::POST, "/v1/jobs")
            .header(HeaderName::from_static("idempotency-key"), key)
            .body(json!(body));
        self.client.send(&request).await
    }

    /// Asks to cancel a job; asking twice is the same as once.
    pub async fn cancel(
        &self,
        id: JobId,
        reason: Option<String>,
    ) -> Result<Document<Job>, CliError> {
        let request = Request::new(Method::POST, format!("/v1/jobs/{id}/cancel"))
            .body(json!(CancelRequest { reason }));
        let answer = self.ask(&request).await?;
        self.parse(&answer)
    }

    /// Runs an ended job again. Sent once: a second request would find the job live and be refused.
    pub async fn retry(&self, id: JobId) -> Result<Document<Job>, CliError> {
        let request = Request::new(Method::POST, format!("/v1/jobs/{id}/retry"));
        let answer = self.accepted(self.client.send(&request).await)?;
        self.parse(&answer)
    }

    /// Lists the callbacks of a job, the newest first.
    pub async fn callbacks(&self, id: JobId) -> Result<Document<CallbackList>, CliError> {
        let request = Request::get(format!("/v1/jobs/{id}/callbacks"));
        self.parse(&self.ask(&request).await?)
    }

    /// Delivers a callback again. Sent once: a second request would find it being delivered.
    pub async fn redeliver(
        &self,
        id: JobId,
        callback: JobId,
    ) -> Result<Document<CallbackDelivery>, CliError> {
        let path = format!("/v1/jobs/{id}/callbacks/{callback}/redeliver");
        let request = Request::new(Method::POST, path);
        let answer = self.accepted(self.client.send(&request).await)?;
        self.parse(&answer)
    }

    /// Lists the queues of the broker.
    pub async fn queues(&self) -> Result<Document<QueueList>, CliError> {
        self.parse(&self.ask(&Request::get("/v1/admin/queues")).await?)
    }

    /// Lists the workers that live; those of one kind if it is given.
    pub async fn workers(&self, kind: Option<&Kind>) -> Result<Document<WorkerList>, CliError> {
        let mut request = Request::get("/v1/admin/workers");
        if let Some(kind) = kind {
            request = request.query("kind", kind.as_str());
        }
        self.parse(&self.ask(&request).await?)
    }

    /// Lists jobs that have failed for good, newest first, and says whether some may be missing.
    pub async fn dead(
        &self,
        query: &DeadQuery,
    ) -> Result<(Vec<Document<DeadJob>>, bool), CliError> {
        let mut jobs = Vec::new();
        let mut incomplete = false;
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let wanted = query.limit.saturating_sub(jobs.len()).min(PAGE);
            if wanted == 0 {
                break;
            }
            let mut request = Request::get("/v1/admin/dead").query("limit", wanted.to_string());
            for (name, value) in [
                ("kind", &query.kind),
                ("error", &query.error),
                ("project", &query.project),
                ("cursor", &cursor),
            ] {
                if let Some(value) = value {
                    request = request.query(name, value);
                }
            }
            let page: Document<DeadList> = self.parse(&self.ask(&request).await?)?;
            incomplete |= page.value.incomplete;
            let raws = page.raw["items"].as_array().cloned().unwrap_or_default();
            let items = page.value.items.into_iter().zip(raws);
            jobs.extend(items.map(|(value, raw)| Document { value, raw }));
            match page.value.next_cursor {
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => break,
            }
        }
        Ok((jobs, incomplete))
    }

    /// Runs dead jobs again. Sent once: a second request would find them live and refuse them.
    pub async fn replay(&self, wanted: &ReplayRequest) -> Result<Document<ReplayResult>, CliError> {
        let request = Request::new(Method::POST, "/v1/admin/dead/replay").body(json!(wanted));
        let answer = self.accepted(self.client.send(&request).await)?;
        self.parse(&answer)
    }

    /// Lists the profiles, smallest first.
    pub async fn profiles(&self) -> Result<Document<ProfileList>, CliError> {
        self.parse(&self.ask(&Request::get("/v1/profiles")).await?)
    }

    /// Lists the regions, the default first.
    pub async fn regions(&self) -> Result<Document<RegionList>, CliError> {
        self.parse(&self.ask(&Request::get("/v1/regions")).await?)
    }

    /// Gets the project's quota.
    pub async fn quota(&self) -> Result<Document<Quota>, CliError> {
        self.parse(&self.ask(&Request::get("/v1/quota")).await?)
    }

    /// Lists the kinds.
    pub async fn kinds(&self) -> Result<Document<KindList>, CliError> {
        self.parse(&self.ask(&Request::get("/v1/kinds")).await?)
    }

    /// Lists the machines that exist, newest first; at most so many, all when `None`.
    pub async fn machines(&self, limit: Option<usize>) -> Result<Vec<Document<Machine>>, CliError> {
        let mut machines = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let wanted = limit.map_or(PAGE, |limit| limit - machines.len()).min(PAGE);
            if wanted == 0 {
                break;
            }
            let mut request = Request::get("/v1/sync/vm.list").query("limit", wanted.to_string());
            if let Some(cursor) = &cursor {
                request = request.query("cursor", cursor.clone());
            }
            let page: Document<MachineList> = self.parse(&self.ask(&request).await?)?;
            let raw = page.raw.get("items").and_then(Value::as_array).cloned();
            let raw = raw.unwrap_or_default();
            let items = page.value.items.into_iter().zip(raw).take(wanted);
            machines.extend(items.map(|(value, raw)| Document { value, raw }));
            cursor = page.value.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(machines)
    }

    /// Gets the machine of this host name.
    pub async fn machine(&self, hostname: &str) -> Result<Document<Machine>, CliError> {
        let request = Request::get("/v1/sync/vm.show").query("vm_hostname", hostname);
        self.parse(&self.ask(&request).await?)
    }

    /// Logs in through the server. Sent once: a password is not repeated behind the user's back.
    pub async fn connect(&self, login: &ConnectRequest) -> Result<AccessResponse, CliError> {
        let request = Request::new(Method::POST, "/v1/connect").body(json!(login));
        let answer = self.client.send(&request).await;
        let answer = self.accepted(answer)?;
        let access: Document<AccessResponse> = self.parse(&answer)?;
        Ok(access.value)
    }

    /// Asks the server whose token this is.
    pub async fn test_token(&self, token: &SecretString) -> Result<AccessResponse, CliError> {
        let request = Request::new(Method::POST, "/v1/testtoken")
            .body(json!({ "token": token.expose_secret() }));
        let access: Document<AccessResponse> = self.parse(&self.ask(&request).await?)?;
        Ok(access.value)
    }

    /// Sends a request that may arrive twice and expects a 2xx.
    async fn ask(&self, request: &Request) -> Result<Answer, CliError> {
        let answer = self.client.send_patiently(request).await;
        self.accepted(answer)
    }

    fn accepted(&self, answer: Result<Answer, Failure>) -> Result<Answer, CliError> {
        match answer {
            Ok(answer) if answer.status.is_success() => Ok(answer),
            Ok(answer) => Err(self.refusal(&answer)),
            Err(failure) => Err(self.unreachable(&failure)),
        }
    }

    /// Reads a body as JSON of the expected shape.
    pub fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<Document<T>, CliError> {
        let strange = |why: String| {
            CliError::new(
                Exit::Incompatible,
                format!(
                    "the answer of {} cannot be understood",
                    self.client.endpoint()
                ),
            )
            .why(why)
            .next("check that the endpoint is vmctl's server, and that both versions fit")
        };
        let raw: Value = serde_json::from_slice(&answer.body).map_err(|error| {
            strange(format!(
                "not JSON ({}, status {}): {error}",
                content_type(answer),
                answer.status.as_u16()
            ))
        })?;
        let value = T::deserialize(&raw).map_err(|error| strange(error.to_string()))?;
        Ok(Document { value, raw })
    }

    /// Says that there was no answer.
    pub fn unreachable(&self, failure: &Failure) -> CliError {
        let what = format!("the server {} cannot be reached", self.client.endpoint());
        let error = match failure {
            Failure::TooLarge => CliError::new(
                Exit::Incompatible,
                format!("the answer of {} cannot be used", self.client.endpoint()),
            ),
            Failure::Invalid(_) => {
                CliError::new(Exit::NotAuthenticated, "the request cannot be sent")
            }
            _ => CliError::new(Exit::Unreachable, what),
        };
        let error = error.why(failure.to_string());
        if !matches!(failure, Failure::Connect(_)) {
            return error;
        }
        error.next(if failure.to_string().contains("UnknownIssuer") {
            "name the authority of the server: --ca-file FILE or VMCTL_CA_FILE; or check the address: --endpoint URL"
        } else {
            "check the address: --endpoint URL or VMCTL_ENDPOINT"
        })
    }

    /// Says what an answer that is no success means.
    pub fn refusal(&self, answer: &Answer) -> CliError {
        let status = answer.status;
        if status.is_redirection() {
            return CliError::new(
                Exit::Incompatible,
                format!(
                    "{} redirects elsewhere, and that is not followed",
                    self.client.endpoint()
                ),
            )
            .why("the token is for one server only")
            .next("give the final address with --endpoint");
        }
        let problem = problem(answer);
        let mut error = CliError::new(exit_of(status), headline(status, self));
        match &problem {
            Some(problem) => describe(&mut error, problem),
            None => error.why.push(format!(
                "the server answered {} ({})",
                status_text(status),
                content_type(answer)
            )),
        }
        let known = problem
            .as_ref()
            .and_then(|problem| problem.request_id.clone());
        if let Some(id) = known.or_else(|| answer.header("x-request-id").map(str::to_owned)) {
            error.why.push(format!("request {id}"));
        }
        error.problem = problem.map(Box::new);
        self.advise(error, answer)
    }

    fn advise(&self, error: CliError, answer: &Answer) -> CliError {
        match answer.status {
            StatusCode::UNAUTHORIZED => match self.client.credential() {
                Some(credential) => {
                    let mut error = error;
                    if let Some(at) = credential.expires_at.filter(|at| *at < crate::clock::now()) {
                        error.why.push(format!("the saved token expired at {at}"));
                    }
                    error.next(credential.source.remedy())
                }
                None => error,
            },
            StatusCode::FORBIDDEN => error.next("vmctl whoami"),
            StatusCode::NOT_FOUND => match problem_type(answer) {
                Some(ProblemType::JobNotFound) => error.next("vmctl job list"),
                Some(ProblemType::MachineNotFound) => error.next("vmctl vm list"),
                _ => error,
            },
            StatusCode::TOO_MANY_REQUESTS => {
                let quota = error
                    .problem
                    .as_ref()
                    .is_some_and(|problem| !problem.violated_policies.is_empty());
                let error = error.next(format!("wait {} and try again", pause(answer)));
                if quota {
                    error.next("vmctl quota   shows what the project may have")
                } else {
                    error
                }
            }
            StatusCode::CONFLICT => {
                let other = error.problem.as_ref().and_then(|problem| problem.job_id);
                match (problem_type(answer), other) {
                    (Some(ProblemType::Duplicate), Some(id)) => {
                        error.next(format!("vmctl job show {id}   is the other job"))
                    }
                    _ => error,
                }
            }
            _ => error,
        }
    }
}

/// Says how long the server asks to wait, however long that is.
fn pause(answer: &Answer) -> String {
    let seconds = answer.header(header::RETRY_AFTER);
    let seconds = seconds.and_then(|text| text.trim().parse::<u32>().ok());
    seconds.map_or_else(
        || "a little".to_owned(),
        |seconds| text::duration(Duration::from_secs(seconds.into())),
    )
}

fn describe(error: &mut CliError, problem: &Problem) {
    error.why.push(match &problem.detail {
        Some(detail) => format!("{}: {detail}", problem.title),
        None => problem.title.clone(),
    });
    for field in problem.errors.iter().take(20) {
        error.why.push(format!(
            "{}: {} ({})",
            field.pointer, field.detail, field.code
        ));
    }
    if problem.errors.len() > 20 {
        error
            .why
            .push(format!("and {} more", problem.errors.len() - 20));
    }
}

/// Reads the problem document of an answer, if it is one.
pub fn problem(answer: &Answer) -> Option<Problem> {
    let media = answer.header(header::CONTENT_TYPE)?;
    if !media.starts_with("application/problem+json") {
        return None;
    }
    serde_json::from_slice(&answer.body).ok()
}

/// Returns the problem's type, where it is one of ours.
pub fn problem_type(answer: &Answer) -> Option<ProblemType> {
    ProblemType::from_uri(&problem(answer)?.problem_type)
}

fn exit_of(status: StatusCode) -> Exit {
    match status.as_u16() {
        401 => Exit::NotAuthenticated,
        403 => Exit::Forbidden,
        404 | 410 => Exit::NotFound,
        429 => Exit::RateLimited,
        408 | 500 | 502..=599 => Exit::Unreachable,
        // 501: what a server has not got does not come by asking again.
        400..=499 | 501 => Exit::Refused,
        _ => Exit::Incompatible,
    }
}

fn headline(status: StatusCode, api: &Api) -> String {
    match status.as_u16() {
        401 => "not authenticated".to_owned(),
        403 => "not allowed".to_owned(),
        404 | 410 => "not found".to_owned(),
        429 => "too many requests".to_owned(),
        501 => "the server cannot do this".to_owned(),
        408 | 500..=599 => format!(
            "the server {} cannot answer right now",
            api.client.endpoint()
        ),
        _ => "the request was refused".to_owned(),
    }
}

fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

fn content_type(answer: &Answer) -> String {
    text::clean(
        answer
            .header(header::CONTENT_TYPE)
            .unwrap_or("no content type"),
    )
}
