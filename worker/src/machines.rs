//! The worker's own API: which machines exist, for the server and for other workers.
//!
//! | request | answer |
//! |---|---|
//! | `GET /machines?project=ID[&limit=N][&cursor=C]` | a page of the project's machines, newest first |
//! | `GET /machines/{vm_hostname}?project=ID` | the newest machine of that name |
//!
//! Callers show the service token as `Authorization: Bearer …`; it stands for every project, so that
//! the API is for components, never for users. The project may also come as `X-Project-Id`, as the
//! server sends it; two different ones are refused. Errors are `application/problem+json`. What the
//! provisioner says now is the answer: nothing is kept here.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::{sync::Semaphore, time::timeout};
use vmctl_api_types::{Machine, MachineList, MachineState, Problem, ProblemType};
use vmctl_core::{JobId, error::chain};

use crate::provisioner::{Observed, ProvisionError, Provisioner, Vm};

/// Machines on one page.
const PAGE: usize = 200;
/// Machines that are looked at together.
const LOOKS: usize = 8;
/// Requests in work; more get 503.
const REQUESTS: usize = 64;
/// How long the provisioner may take.
const DEADLINE: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests;

struct Api {
    provisioner: Arc<dyn Provisioner>,
    token: SecretString,
    requests: Semaphore,
}

/// Returns the API over a provisioner, for callers who show `token`.
pub fn router(provisioner: Arc<dyn Provisioner>, token: SecretString) -> Router {
    let api = Arc::new(Api {
        provisioner,
        token,
        requests: Semaphore::new(REQUESTS),
    });
    Router::new()
        .route("/machines", get(list))
        .route("/machines/{vm_hostname}", get(show))
        .layer(from_fn_with_state(Arc::clone(&api), guard))
        .with_state(api)
}

/// Lets callers with the token in, so many at once, and each for so long.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let Some(token) = bearer(request.headers()) else {
        return Refusal::new(ProblemType::TokenMissing).into_response();
    };
    if !bool::from(token.ct_eq(api.token.expose_secret().as_bytes())) {
        return Refusal::new(ProblemType::TokenInvalid).into_response();
    }
    let Ok(_permit) = api.requests.try_acquire() else {
        return Refusal::new(ProblemType::Overloaded).into_response();
    };
    timeout(DEADLINE, next.run(request))
        .await
        .unwrap_or_else(|_| {
            let late = Refusal::new(ProblemType::UpstreamTimeout);
            late.detail("the provisioner did not answer in time")
                .into_response()
        })
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    headers
        .get(header::AUTHORIZATION)?
        .as_bytes()
        .strip_prefix(b"Bearer ")
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    project: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    project: Option<String>,
}

async fn list(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<MachineList>, Refusal> {
    let Query(query) = query.map_err(|error| bad_query(error.body_text()))?;
    let project = project(query.project, &headers)?;
    let limit = match query.limit {
        Some(0) => return Err(bad_query("limit is 1 or more")),
        limit => limit.unwrap_or(PAGE).min(PAGE),
    };
    let after = query.cursor.as_deref().map(read_cursor);
    let after = after.transpose().map_err(bad_query)?;
    let mut vms = living(&*api.provisioner, &project).await?;
    vms.sort_by_key(|vm| std::cmp::Reverse(place(vm)));
    vms.retain(|vm| after.is_none_or(|after| place(vm) < after));
    let more = vms.len() > limit;
    vms.truncate(limit);
    let next_cursor = vms.last().filter(|_| more).map(cursor);
    let looks = stream::iter(vms).map(|vm| look(&*api.provisioner, vm));
    let items: Vec<Option<Machine>> = looks.buffered(LOOKS).try_collect().await?;
    Ok(Json(MachineList {
        items: items.into_iter().flatten().collect(),
        next_cursor,
    }))
}

async fn show(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Path(hostname): Path<String>,
    query: Result<Query<ShowQuery>, QueryRejection>,
) -> Result<Json<Machine>, Refusal> {
    let Query(query) = query.map_err(|error| bad_query(error.body_text()))?;
    let project = project(query.project, &headers)?;
    let vms = living(&*api.provisioner, &project).await?;
    let named = vms
        .into_iter()
        .filter(|vm| vm.spec.hostname.eq_ignore_ascii_case(&hostname));
    let machine = match named.max_by_key(place) {
        Some(vm) => look(&*api.provisioner, vm).await?,
        None => None,
    };
    let absent = || Refusal::new(ProblemType::MachineNotFound);
    machine.map(Json).ok_or_else(absent)
}

/// The project of a request: from the query or from the header, and one only.
fn project(query: Option<String>, headers: &HeaderMap) -> Result<String, Refusal> {
    let header = headers.get("x-project-id").map(|value| value.to_str());
    let header = header
        .transpose()
        .map_err(|_| bad_query("X-Project-Id is no text"))?;
    match (query, header) {
        (Some(query), Some(header)) if query != header => Err(bad_query("two projects are named")),
        (Some(project), _) if !project.is_empty() => Ok(project),
        (None, Some(project)) if !project.is_empty() => Ok(project.to_owned()),
        _ => Err(bad_query("project is missing")),
    }
}

/// The machines of a project that exist in any phase.
async fn living(provisioner: &dyn Provisioner, project: &str) -> Result<Vec<Vm>, Refusal> {
    let mut vms = provisioner.list().await?;
    vms.retain(|vm| vm.deleted.is_none() && vm.spec.project_id == project);
    Ok(vms)
}

/// Describes a machine as it is now; `None` when it was deleted in between.
async fn look(provisioner: &dyn Provisioner, vm: Vm) -> Result<Option<Machine>, Refusal> {
    let (state, phase, vm) = match provisioner.observe(vm.spec.job).await? {
        Observed::Ready(vm) => (MachineState::Ready, None, *vm),
        Observed::Partial { phase } => (MachineState::Building, Some(phase.to_owned()), vm),
        Observed::Absent | Observed::Deleted(_) => return Ok(None),
    };
    let ready = state == MachineState::Ready;
    Ok(Some(Machine {
        job_id: vm.spec.job,
        vm_hostname: vm.spec.hostname,
        state,
        phase,
        vm_profile: vm.spec.profile.name,
        vm_region: vm.spec.region,
        app_env: vm.spec.environment,
        app_trigram: vm.spec.trigram,
        vm_desc: vm.spec.description,
        addresses: vm.ip.filter(|_| ready).into_iter().collect(),
        created_at: vm.created_at,
    }))
}

/// Orders machines by age; the job tells those of one instant apart.
fn place(vm: &Vm) -> (Timestamp, JobId) {
    (vm.created_at, vm.spec.job)
}

fn cursor(vm: &Vm) -> String {
    format!("{}_{}", vm.created_at, vm.spec.job)
}

fn read_cursor(text: &str) -> Result<(Timestamp, JobId), &'static str> {
    let read = || {
        let (at, job) = text.split_once('_')?;
        Some((at.parse().ok()?, job.parse().ok()?))
    };
    read().ok_or("cursor is not one of ours")
}

/// An error answer.
struct Refusal(Box<Problem>);

impl Refusal {
    fn new(problem_type: ProblemType) -> Self {
        Self(Box::new(Problem::new(problem_type)))
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }
}

fn bad_query(detail: impl Into<String>) -> Refusal {
    Refusal::new(ProblemType::BadQuery).detail(detail)
}

impl From<ProvisionError> for Refusal {
    fn from(error: ProvisionError) -> Self {
        tracing::warn!(error = chain(&error), "the provisioner cannot be asked");
        Self::new(ProblemType::UpstreamFailed).detail("the provisioner cannot be asked")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status);
        let mut response = status
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/problem+json"),
        );
        if self.0.status == 503 {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        // Strings and numbers only, so this cannot fail.
        *response.body_mut() = serde_json::to_vec(&self.0).unwrap_or_default().into();
        response
    }
}
