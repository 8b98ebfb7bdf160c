//! Synchronous kinds: the request goes to an upstream, and its answer to the client.
//!
//! ```text
//! authenticated, checked --> address 1 --> answer
//!                              | no connection; or a safe request and 502, 503, 504, no answer
//!                              v
//!                            address 2 --> …
//! ```
//!
//! The whole exchange has the kind's deadline, of which each further address of a safe request gets
//! its share. A client that leaves drops the exchange. Redirects are not followed: the server's
//! credential and the caller's identity go to the addresses of the registry only.

mod address;
mod breaker;
mod headers;
mod upstream;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use axum::{
    body::Body,
    http::{HeaderMap, Method, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;
use vmctl_api_types::ProblemType;
use vmctl_core::kinds::{self, SyncSpec};

use crate::{
    app::App,
    config::{Limits, SyncConfig},
    edge::AsItIs,
    error::ApiError,
    http::{auth::Permitted, request_id::RequestId},
};

use breaker::Policy;
use upstream::{Answer, Failure, Outgoing, Upstream};

/// What the server knows of its upstreams.
#[derive(Default)]
pub(crate) struct Upstreams {
    http: OnceLock<reqwest::Client>,
    /// By scheme, host and port. Bounded by the registry: addresses come from nowhere else.
    by_origin: Mutex<HashMap<String, Arc<Upstream>>>,
}

/// A request that may go out.
pub(crate) struct Ask<'a> {
    pub spec: &'a SyncSpec,
    pub method: Method,
    /// What the schema has allowed: the query's pairs, or the body.
    pub input: Value,
    /// The body as it came; empty for methods without one.
    pub body: Bytes,
    pub headers: &'a HeaderMap,
    pub caller: &'a Permitted,
    pub request_id: &'a RequestId,
}

/// Passes a request on, and returns the upstream's answer.
pub(crate) async fn forward(app: &App, ask: Ask<'_>) -> Result<Response, ApiError> {
    let started = Instant::now();
    let kind = ask.spec.kind.to_string();
    let (outcome, word) = match exchange(app, &ask).await {
        Ok(Ok(answer)) => (pass_on(answer), "answered"),
        Ok(Err(failure)) => {
            let word = failure.word();
            (Err(refusal(failure)), word)
        }
        Err(error) => (Err(error), "refused"),
    };
    metrics::counter!("sync_requests_total", "kind" => kind.clone(), "outcome" => word)
        .increment(1);
    metrics::histogram!("sync_request_duration_seconds", "kind" => kind)
        .record(started.elapsed().as_secs_f64());
    outcome
}

async fn exchange(app: &App, ask: &Ask<'_>) -> Result<Result<Answer, Failure>, ApiError> {
    let (config, limits) = (&app.config.sync, &app.config.limits);
    let spec = ask.spec;
    let in_query = ask.body.is_empty();
    let urls = address::addresses(&spec.upstreams, &config.workers, &ask.input, in_query)
        .map_err(|field| ApiError::new(ProblemType::Validation).errors(vec![field]))?;
    if urls.is_empty() {
        return Err(ApiError::new(ProblemType::KindUnavailable)
            .detail("the server was not told where the workers' API is"));
    }
    let http = app.upstreams.client(config)?;
    let headers = headers::to_upstream(ask.headers, ask.caller, ask.request_id)?;
    let safe = matches!(ask.method, Method::GET | Method::HEAD);
    let deadline = Instant::now() + spec.timeout;
    let mut kept = Err(Failure::Timeout);
    for (tried, url) in urls.iter().enumerate() {
        let more = u32::try_from(urls.len() - tried).unwrap_or(u32::MAX);
        let left = deadline.saturating_duration_since(Instant::now());
        let mut outgoing = Outgoing {
            method: ask.method.clone(),
            headers: headers.clone(),
            body: ask.body.clone(),
        };
        if let Some(token) = token(config, spec) {
            headers::authorize(&mut outgoing.headers, token)?;
        }
        let share = if safe { left / more } else { left };
        let upstream = app.upstreams.of(url, limits);
        let most = limits.sync_body_bytes;
        let answer = upstream.ask(http, url.clone(), outgoing, share, most).await;
        let go_on = match &answer {
            Ok(answer) => safe && matches!(answer.status.as_u16(), 502..=504),
            Err(failure) => safe || !failure.may_have_arrived(),
        };
        if tried == 0 || tells_more(&answer) {
            kept = answer;
        }
        if !go_on {
            break;
        }
    }
    Ok(kept)
}

/// An address that was not even asked says less than one that was.
fn tells_more(answer: &Result<Answer, Failure>) -> bool {
    answer.as_ref().err().is_none_or(Failure::was_tried)
}

/// The credential for this kind: the workers' own goes to nobody else.
fn token<'c>(config: &'c SyncConfig, spec: &SyncSpec) -> Option<&'c SecretString> {
    let workers = |upstream: &kinds::Upstream| matches!(upstream, kinds::Upstream::Workers(_));
    if spec.upstreams.iter().all(workers) {
        config.workers_token.as_ref()
    } else {
        config.token.as_ref()
    }
}

/// Answers as the upstream did, but for what would mislead the caller.
fn pass_on(answer: Answer) -> Result<Response, ApiError> {
    let refused = |detail: &str| Err(ApiError::new(ProblemType::UpstreamFailed).detail(detail));
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return refused("the upstream refuses the server's own credential");
        }
        StatusCode::NOT_MODIFIED => {}
        status if status.is_redirection() => {
            return refused("the upstream redirects elsewhere, and that is not followed");
        }
        _ => {}
    }
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = headers::to_client(&answer.headers);
    response.extensions_mut().insert(AsItIs);
    Ok(response)
}

fn refusal(failure: Failure) -> ApiError {
    let error = match &failure {
        Failure::Busy => ApiError::new(ProblemType::UpstreamUnavailable)
            .detail("too many requests to the upstream are under way")
            .retry_after(1),
        Failure::Open(left) => ApiError::new(ProblemType::UpstreamUnavailable)
            .detail("the upstream has failed several times and is left alone for a while")
            // Rounded up.
            .retry_after(left.as_secs() + u64::from(left.subsec_nanos() > 0)),
        Failure::Timeout => ApiError::new(ProblemType::UpstreamTimeout),
        Failure::Connect(_) | Failure::Broken(_) => ApiError::new(ProblemType::UpstreamFailed),
        Failure::TooLarge(_) => ApiError::new(ProblemType::UpstreamFailed)
            .detail("the upstream's answer is larger than may be passed on"),
    };
    error.because(failure)
}

impl Upstreams {
    fn of(&self, url: &Url, limits: &Limits) -> Arc<Upstream> {
        let origin = url.origin().ascii_serialization();
        let mut all = self
            .by_origin
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let policy = Policy {
            failures: limits.sync_failures,
            open: limits.sync_open,
        };
        let new = || Upstream::new(origin.clone(), policy, limits.sync_in_flight);
        Arc::clone(all.entry(origin.clone()).or_insert_with(new))
    }

    /// Returns the client of all upstreams, made at the first use: it reads the system's
    /// certificates.
    fn client(&self, config: &SyncConfig) -> Result<&reqwest::Client, ApiError> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        let client =
            build(config).map_err(|error| ApiError::new(ProblemType::Internal).because(error))?;
        Ok(self.http.get_or_init(|| client))
    }
}

fn build(config: &SyncConfig) -> Result<reqwest::Client, reqwest::Error> {
    // An error means that the process has a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy();
    if let Some(pem) = &config.ca_pem {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    builder.build()
}

/// Returns `Allow` for a kind.
pub(crate) fn allow(spec: &SyncSpec) -> Option<header::HeaderValue> {
    header::HeaderValue::from_str(&spec.methods.join(", ")).ok()
}
