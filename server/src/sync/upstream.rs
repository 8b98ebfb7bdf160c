//! One upstream, by scheme, host and port: how many may ask it at once, whether it is left alone, and
//! one exchange with it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, Method, StatusCode};
use bytes::{Bytes, BytesMut};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use url::Url;

use super::breaker::{Breaker, Pass, Policy, Verdict};

/// An upstream. It lives as long as the server.
pub(super) struct Upstream {
    origin: String,
    breaker: Mutex<Breaker>,
    slots: Semaphore,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("as many requests as it may get are under way")]
    Busy,
    #[error("it is left alone after failures")]
    Open(Duration),
    #[error("no connection")]
    Connect(#[source] reqwest::Error),
    #[error("no whole answer in time")]
    Timeout,
    #[error("the exchange broke off")]
    Broken(#[source] reqwest::Error),
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

impl Failure {
    /// Says whether the upstream may have seen the request.
    pub const fn may_have_arrived(&self) -> bool {
        !matches!(self, Self::Busy | Self::Open(_) | Self::Connect(_))
    }

    /// Says whether the upstream was asked at all.
    pub const fn was_tried(&self) -> bool {
        !matches!(self, Self::Busy | Self::Open(_))
    }

    pub const fn word(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Open(_) => "open",
            Self::Timeout => "timeout",
            Self::Connect(_) | Self::Broken(_) | Self::TooLarge(_) => "broken",
        }
    }
}

/// Tells the breaker how a request ended, also when its client leaves half-way.
struct Trial<'u> {
    upstream: &'u Upstream,
    pass: Pass,
    verdict: Verdict,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let mut breaker = self.upstream.breaker();
        breaker.ended(self.pass, self.verdict, Instant::now());
        let open = f64::from(u8::from(breaker.is_open()));
        metrics::gauge!("sync_upstream_open", "upstream" => self.upstream.origin.clone()).set(open);
    }
}

impl Upstream {
    pub fn new(origin: String, policy: Policy, slots: usize) -> Arc<Self> {
        Arc::new(Self {
            origin,
            breaker: Mutex::new(Breaker::new(policy)),
            slots: Semaphore::new(slots),
        })
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks once, within a time and a size.
    pub async fn ask(
        &self,
        http: &reqwest::Client,
        url: Url,
        outgoing: Outgoing,
        within: Duration,
        most: usize,
    ) -> Result<Answer, Failure> {
        let _slot = self.slots.try_acquire().map_err(|_| Failure::Busy)?;
        let pass = self
            .breaker()
            .admit(Instant::now())
            .map_err(Failure::Open)?;
        let mut trial = Trial {
            upstream: self,
            pass,
            verdict: Verdict::None,
        };
        let answer = timeout(within, exchange(http, url, outgoing, most))
            .await
            .unwrap_or(Err(Failure::Timeout));
        trial.verdict = match &answer {
            Ok(answer) if answer.status.is_server_error() => Verdict::Bad,
            Ok(_) => Verdict::Good,
            Err(_) => Verdict::Bad,
        };
        answer
    }
}

async fn exchange(
    http: &reqwest::Client,
    url: Url,
    outgoing: Outgoing,
    most: usize,
) -> Result<Answer, Failure> {
    let request = http
        .request(outgoing.method, url)
        .headers(outgoing.headers)
        .body(outgoing.body);
    // The address may hold what the caller asked for; it is not for the log.
    let mut response = request.send().await.map_err(|error| {
        let error = error.without_url();
        if error.is_connect() {
            Failure::Connect(error)
        } else {
            Failure::Broken(error)
        }
    })?;
    let mut body = BytesMut::new();
    let broken = |error: reqwest::Error| Failure::Broken(error.without_url());
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > most {
            return Err(Failure::TooLarge(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body: body.freeze(),
    })
}
