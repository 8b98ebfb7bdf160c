//! One request to the cluster, and its whole answer.

use std::time::Duration;

use reqwest::{
    Method,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use crate::config::{Config, ConfigError, IndexName};

/// Most bytes of an answer. That of the largest bulk request has half a megabyte.
const MOST_ANSWER: usize = 8 * 1024 * 1024;

/// Most characters of the cluster's own words in an error.
const MOST_WORDS: usize = 200;

/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Time for an answer that needs little work.
pub(crate) const QUICK: Duration = Duration::from_secs(10);

/// Why the cluster has not done what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No connection, or it broke off.
    #[error("the search cluster cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// No whole answer in time.
    #[error("no answer of the search cluster within {0:?}")]
    Timeout(Duration),
    /// An answer that says no.
    #[error("the search cluster answered {status} ({kind}){reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The type of the error, as the cluster calls it.
        kind: String,
        /// What it says of it, behind a colon; empty where that may quote what was sent.
        reason: String,
    },
    /// An answer that is none of a search cluster.
    #[error("the answer is not one of a search cluster")]
    Unreadable,
}

impl SearchError {
    /// Returns the status of an answer that says no.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Says whether the cluster calls the error this.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == wanted)
    }

    /// Returns a word for a metric.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Refused { status: 429, .. } => "busy",
            Self::Refused { status: 413, .. } => "too_large",
            Self::Refused { status: 500.., .. } => "failed",
            Self::Refused { .. } => "refused",
            Self::Unreadable => "unreadable",
        }
    }

    /// Leaves out what may quote a document or a query.
    pub(crate) fn without_reason(mut self) -> Self {
        if let Self::Refused { reason, .. } = &mut self {
            reason.clear();
        }
        self
    }
}

/// What is sent.
pub(crate) enum Body {
    None,
    Json(Value),
    Lines(Vec<u8>),
}

/// A client of one cluster and one data stream.
#[derive(Debug, Clone)]
pub struct Cluster {
    http: reqwest::Client,
    base: Url,
    pub(crate) name: IndexName,
}

impl Cluster {
    /// Makes a client; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for an address, a credential or a certificate that cannot be used.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        // An error means that the process has a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = config.base()?;
        let mut headers = HeaderMap::new();
        if let Some(value) = config.auth.header()? {
            headers.insert(AUTHORIZATION, value);
        }
        // A redirect would carry documents and credentials elsewhere.
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy();
        if let Some(pem) = &config.ca_pem {
            let bundle = reqwest::Certificate::from_pem_bundle(pem).map_err(ConfigError::Client)?;
            builder = builder.tls_certs_merge(bundle);
        }
        Ok(Self {
            http: builder.build().map_err(ConfigError::Client)?,
            base,
            name: config.name.clone(),
        })
    }

    pub(crate) async fn get(&self, path: &[&str]) -> Result<Value, SearchError> {
        self.call(Method::GET, path, &[], Body::None, QUICK).await
    }

    pub(crate) async fn put(&self, path: &[&str], body: Body) -> Result<Value, SearchError> {
        self.call(Method::PUT, path, &[], body, QUICK).await
    }

    /// Asks once, within a time.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Body,
        within: Duration,
    ) -> Result<Value, SearchError> {
        timeout(within, self.exchange(method, path, query, body))
            .await
            .unwrap_or(Err(SearchError::Timeout(within)))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Body,
    ) -> Result<Value, SearchError> {
        let mut url = self.base.clone();
        // An address with a host has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        let request = match body {
            Body::None => request,
            Body::Json(value) => request.json(&value),
            Body::Lines(lines) => request
                .header(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/x-ndjson"),
                )
                .body(lines),
        };
        let broken = |error: reqwest::Error| SearchError::Unreachable(error.without_url());
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MOST_ANSWER {
                return Err(SearchError::Unreadable);
            }
            body.extend_from_slice(&chunk);
        }
        let value: Option<Value> = serde_json::from_slice(&body).ok();
        if status.is_success() {
            return value.ok_or(SearchError::Unreadable);
        }
        Err(refused(status.as_u16(), &value.unwrap_or_default()))
    }
}

/// Reads what an answer that says no says of it.
fn refused(status: u16, body: &Value) -> SearchError {
    let error = &body["error"];
    let text = |value: &Value| value.as_str().map(words).filter(|text| !text.is_empty());
    SearchError::Refused {
        status,
        kind: text(&error["type"]).unwrap_or_else(|| "no reason".to_owned()),
        reason: text(&error["reason"])
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default(),
    }
}

/// A text of the cluster's, fit for a log.
pub(crate) fn words(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    plain.take(MOST_WORDS).collect()
}
