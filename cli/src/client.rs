//! HTTP, and nothing of vmctl's meaning.
//!
//! Must always hold: the token goes to the configured server only (redirects are not followed) and
//! is never printed; a request has a deadline; a body has a bound. Transport failures are told
//! apart from answers, so that a lost network never looks like a refused token.

use std::time::{Duration, Instant};

use reqwest::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::{
    credentials::Credential,
    endpoint::Endpoint,
    error::CliError,
    exit::Exit,
    output::Output,
    retry::{self, Backoff},
    sse::{Frame, Parser},
};

/// Largest body that is read.
pub const MAX_BODY: usize = 1024 * 1024;

/// Requests of one command that are sent again when the server is busy or away.
const ATTEMPTS: u32 = 4;

/// Longest pause that an ordinary command makes because the server asks for it.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Media type of a stream of events.
const EVENTS: &str = "text/event-stream";

/// Longest silence of a stream that is alive: the server says something every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// Keystone's header for the caller's own token.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-auth-token");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Deadlines.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To connect, TLS included.
    pub connect: Duration,
    /// For one request, body included.
    pub request: Duration,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, beginning with a slash.
    pub path: String,
    /// Query parameters.
    pub query: Vec<(&'static str, String)>,
    /// More headers.
    pub headers: Vec<(HeaderName, String)>,
    /// The body.
    pub body: Option<Value>,
    /// How much longer than an ordinary request it may take: a long poll's wait.
    pub extra_time: Duration,
}

impl Request {
    /// Makes a request without parameters.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            extra_time: Duration::ZERO,
        }
    }

    /// Makes a `GET`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

/// What a request for a stream was answered with.
pub enum Opened {
    /// A stream.
    Stream(Box<Stream>),
    /// Something else.
    Answer(Answer),
}

/// A stream of events that is being read.
pub struct Stream {
    response: reqwest::Response,
    parser: Parser,
    begun: bool,
    first: Duration,
    silence: Duration,
}

impl Stream {
    /// Returns the headers of the answer.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Waits for the next events, none for a sign of life; `None` at the end. Errs when nothing comes
    /// for longer than a server that is alive lets pass.
    pub async fn next(&mut self) -> Result<Option<Vec<Frame>>, Failure> {
        let limit = if self.begun { self.silence } else { self.first };
        let chunk = tokio::time::timeout(limit, self.response.chunk()).await;
        let Some(chunk) = chunk
            .map_err(|_| Failure::Timeout(limit))?
            .map_err(failure)?
        else {
            return Ok(None);
        };
        self.begun = true;
        let frames = self.parser.feed(&chunk);
        frames.map(Some).map_err(|_| Failure::TooLarge)
    }
}

/// One answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns a header as text.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns what `Retry-After` asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        retry::retry_after(self.header(header::RETRY_AFTER)?, crate::clock::now())
    }

    /// Says whether the same request may succeed a little later.
    pub fn is_temporary(&self) -> bool {
        matches!(self.status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
    }
}

/// No answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// Nothing was sent: DNS, TCP or TLS.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// No answer in time; the request may have arrived.
    #[error("no answer within {}", crate::text::duration(*.0))]
    Timeout(Duration),
    /// The connection ended before the answer did; the request may have arrived.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The answer is larger than any that this client expects.
    #[error("the answer is larger than 1 MiB")]
    TooLarge,
    /// The request cannot be written: a header that HTTP does not allow.
    #[error("the request cannot be sent: {0}")]
    Invalid(String),
}

impl Failure {
    /// Says whether sending again may help.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Timeout(_) | Self::Lost(_))
    }

    /// Says whether it was too slow.
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Says whether the server may have acted on the request.
    pub const fn may_have_arrived(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Lost(_) | Self::TooLarge)
    }
}

/// Talks to one server.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    credential: Option<Credential>,
    limits: Limits,
    out: Output,
    traceparent: Option<HeaderValue>,
}

/// Installs the TLS provider; a second call changes nothing.
pub fn install_tls() {
    // An error only says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Reads certificates, PEM. The error says why there is none.
pub fn certificates(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, String> {
    match reqwest::Certificate::from_pem_bundle(pem) {
        Ok(all) if all.is_empty() => Err("it holds no certificate".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(causes(&error)),
    }
}

impl Client {
    /// Builds a client that trusts these certificates, PEM, besides the system's; nothing is sent.
    pub fn new(
        endpoint: Endpoint,
        trusted: Option<&[u8]>,
        credential: Option<Credential>,
        limits: Limits,
        out: Output,
    ) -> Result<Self, CliError> {
        install_tls();
        let unmade =
            |why: String| CliError::new(Exit::Config, "the HTTP client cannot be made").why(why);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("vmctl/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(limits.connect)
            .tcp_keepalive(Duration::from_secs(15))
            .retry(reqwest::retry::never());
        if endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        if !may_use_tls(&endpoint) {
            // Nothing will be verified: the system's certificates need not be loaded, nor be there.
            builder = builder.tls_certs_only([]);
        } else if let Some(pem) = trusted {
            builder = builder.tls_certs_merge(certificates(pem).map_err(unmade)?);
        }
        let http = builder.build().map_err(|error| unmade(causes(&error)))?;
        Ok(Self {
            http,
            endpoint,
            credential,
            limits,
            out,
            traceparent: None,
        })
    }

    /// Has every request carry a trace context.
    #[must_use]
    pub fn traced(mut self, traceparent: Option<HeaderValue>) -> Self {
        self.traceparent = traceparent;
        self
    }

    /// Returns the server's address.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the credential that requests carry.
    pub const fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Sends one request, once.
    pub async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let started = Instant::now();
        let limit = self.limits.request + request.extra_time;
        let result = match tokio::time::timeout(limit, self.exchange(request)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Timeout(limit)),
        };
        let outcome = match &result {
            Ok(answer) => {
                let id = answer.header("x-request-id").unwrap_or("-");
                format!("{} request {id}", answer.status.as_u16())
            }
            Err(failure) => failure.to_string(),
        };
        self.out.trace(format!(
            "{} {} {outcome} {} ms",
            request.method,
            request.path,
            started.elapsed().as_millis()
        ));
        result
    }

    /// Asks for a stream of events. What it is not is an answer like any other.
    pub async fn open(&self, request: &Request) -> Result<Opened, Failure> {
        let request = request.clone().header(header::ACCEPT, EVENTS);
        let limit = self.limits.request;
        let opened = async {
            let response = self.build(&request)?.send().await.map_err(failure)?;
            let media = response.headers().get(header::CONTENT_TYPE);
            let is_stream = media
                .and_then(|media| media.to_str().ok())
                .is_some_and(|media| media.starts_with(EVENTS));
            if response.status() != StatusCode::OK || !is_stream {
                return read(response).await.map(Opened::Answer);
            }
            Ok(Opened::Stream(Box::new(Stream {
                response,
                parser: Parser::default(),
                begun: false,
                first: limit,
                silence: SILENCE.min(limit * 4),
            })))
        };
        let opened = tokio::time::timeout(limit, opened).await;
        let opened = opened.unwrap_or(Err(Failure::Timeout(limit)));
        let outcome = match &opened {
            Ok(Opened::Stream(_)) => "streams".to_owned(),
            Ok(Opened::Answer(answer)) => answer.status.as_u16().to_string(),
            Err(failure) => failure.to_string(),
        };
        self.out
            .trace(format!("{} {} {outcome}", request.method, request.path));
        opened
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, Failure> {
        read(self.build(request)?.send().await.map_err(failure)?).await
    }

    fn build(&self, request: &Request) -> Result<reqwest::RequestBuilder, Failure> {
        let mut builder = self
            .http
            .request(request.method.clone(), self.endpoint.join(&request.path));
        if request
            .headers
            .iter()
            .all(|(name, _)| name != header::ACCEPT)
        {
            builder = builder.header(header::ACCEPT, "application/json, application/problem+json");
        }
        if !request.query.is_empty() {
            builder = builder.query(&request.query);
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(traceparent) = &self.traceparent {
            builder = builder.header(TRACEPARENT, traceparent);
        }
        if let Some(credential) = &self.credential {
            let mut value =
                HeaderValue::from_str(credential.token.expose_secret()).map_err(|_| {
                    Failure::Invalid("the token holds characters that no token has".to_owned())
                })?;
            value.set_sensitive(true);
            builder = builder.header(TOKEN_HEADER, value);
        }
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        Ok(builder)
    }

    /// Sends a request that may safely arrive twice: again after lost connections and temporary
    /// answers, at most four times, and never before the server wants it.
    pub async fn send_patiently(&self, request: &Request) -> Result<Answer, Failure> {
        let mut backoff = Backoff::new(Duration::from_millis(300), Duration::from_secs(3));
        let mut attempt = 1;
        loop {
            let result = self.send(request).await;
            let pause = match &result {
                Ok(answer) if answer.is_temporary() => {
                    let delay = backoff.delay(rand::random());
                    answer.retry_after().map_or(delay, |asked| asked.max(delay))
                }
                Err(failure) if failure.is_temporary() => backoff.delay(rand::random()),
                _ => return result,
            };
            if attempt == ATTEMPTS || pause > MAX_PAUSE {
                return result;
            }
            attempt += 1;
            self.out
                .trace(format!("trying again in {} ms", pause.as_millis()));
            tokio::time::sleep(pause).await;
        }
    }
}

/// Reads an answer to its end.
async fn read(mut response: reqwest::Response) -> Result<Answer, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body,
    })
}

/// Says whether a connection may need TLS: to the server itself, or to a proxy before it.
pub fn may_use_tls(endpoint: &Endpoint) -> bool {
    let proxied = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    endpoint.is_https() || (proxied && !endpoint.is_loopback())
}

fn failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_builder() {
        Failure::Invalid(causes(&error))
    } else if error.is_connect() {
        Failure::Connect(causes(&error))
    } else {
        Failure::Lost(causes(&error))
    }
}

/// Returns the innermost causes of an error, the nearest last, without repeating itself.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if texts
            .last()
            .is_none_or(|last: &String| !last.contains(&text))
        {
            texts.push(text);
        }
        source = cause.source();
    }
    match texts.len() {
        0 => error.to_string(),
        // The outer layers only say "client error (Connect)" and the like.
        1 => texts.remove(0),
        n => texts.split_off(n.saturating_sub(2)).join(": "),
    }
}
