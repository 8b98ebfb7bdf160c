//! One request, bounded, to addresses that were checked.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{
    Certificate, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect,
};
use vmctl_core::event::CONTENT_TYPE as CLOUDEVENTS;
use vmctl_egress::{Guard, GuardError, Target};

use super::places::{Place, Places};

/// Most that is read of an answer, in bytes. It is thrown away.
const MAX_ANSWER: usize = 16 * 1024;

/// How long the rest of an answer is waited for, once its status is known.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// The bounds of a request.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The longest that a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// The longest that the whole request may take.
    pub timeout: Duration,
    /// The most requests to one host at once. Fewer than the slots of the worker, or a host that is
    /// slow holds up all others.
    pub per_host: usize,
    /// Certificates (PEM) of authorities that are trusted besides the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl ClientConfig {
    /// Makes bounds for a worker with so many slots: one host gets half of them.
    pub fn with_slots(slots: u16) -> Self {
        Self {
            per_host: usize::from(slots / 2),
            ..Self::default()
        }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            per_host: 4,
            ca_pem: None,
        }
    }
}

/// Sends callbacks.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    guard: Guard,
    places: Places,
}

/// The headers of Standard Webhooks.
#[derive(Debug)]
pub(crate) struct Webhook<'a> {
    pub(crate) id: &'a str,
    pub(crate) timestamp: i64,
    pub(crate) signature: &'a str,
}

/// What a receiver said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// How long it asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The address may not be called.
    #[error(transparent)]
    Guard(GuardError),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or no HTTP on it.
    #[error("no connection")]
    Unreachable(#[source] reqwest::Error),
}

impl Client {
    /// Makes a client whose requests go where `guard` lets them.
    ///
    /// # Errors
    ///
    /// When certificates cannot be read.
    ///
    /// # Panics
    ///
    /// If the process has installed no rustls provider.
    pub fn new(guard: Guard, config: &ClientConfig) -> Result<Self, reqwest::Error> {
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(config.connect_timeout)
                .timeout(config.timeout)
                .redirect(redirect::Policy::none())
                .referer(false)
                .retry(reqwest::retry::never())
                .no_proxy()
                .dns_resolver(Arc::new(Checked(guard.clone())))
                // A kept connection would go to an address that was checked long ago.
                .pool_max_idle_per_host(0)
                .user_agent(concat!("vmctl-callback/", env!("CARGO_PKG_VERSION")))
        };
        let http = match &config.ca_pem {
            Some(pem) => {
                let certificates = Certificate::from_pem_bundle(pem)?;
                builder().tls_certs_merge(certificates).build()?
            }
            None => match builder().build() {
                Ok(http) => http,
                // A machine without certificates can do everything else.
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "no receiver of a callback can be verified: the system has no certificates"
                    );
                    builder().tls_certs_only([]).build()?
                }
            },
        };
        Ok(Self {
            http,
            guard,
            places: Places::new(config.per_host),
        })
    }

    /// Reads an address once more, as whoever accepted it did.
    pub(crate) fn read(&self, url: &str) -> Result<Target, SendError> {
        let target = self.guard.read(url);
        target.map_err(|refusal| SendError::Guard(refusal.into()))
    }

    /// Takes a place at the receiver's host; none when its other requests have them all.
    pub(crate) fn enter(&self, target: &Target) -> Option<Place> {
        self.places.take(target.url())
    }

    /// Sends one request and waits for its answer.
    pub(crate) async fn send(
        &self,
        target: &Target,
        webhook: &Webhook<'_>,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Answer, SendError> {
        let request = self
            .http
            .post(target.url().clone())
            .header(CONTENT_TYPE, CLOUDEVENTS)
            .header("webhook-id", webhook.id)
            .header("webhook-timestamp", webhook.timestamp)
            .header("webhook-signature", webhook.signature)
            .body(body);
        let response = request.send().await.map_err(why)?;
        let answer = Answer {
            status: response.status(),
            retry_after: retry_after(response.headers(), now),
        };
        // The status decides, whatever becomes of the rest. It is read so that a receiver which
        // writes a little is not cut off.
        let _ = tokio::time::timeout(ANSWER_PATIENCE, drain(response)).await;
        Ok(answer)
    }
}

async fn drain(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > MAX_ANSWER {
            return;
        }
    }
}

fn why(error: reqwest::Error) -> SendError {
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<GuardError>() {
            return SendError::Guard(refused.clone());
        }
        source = cause.source();
    }
    if error.is_timeout() {
        SendError::Timeout
    } else {
        // The address may carry what only the receiver should see.
        SendError::Unreachable(error.without_url())
    }
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Whoever asks for more seconds than fit asks for the longest wait.
        return Some(Duration::from_secs(
            text.parse().unwrap_or(u64::from(u32::MAX)),
        ));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(now.duration_until(at)).unwrap_or_default())
}

/// Gives the client the addresses that were checked, and no others.
struct Checked(Guard);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let addresses = guard.resolve(name.as_str()).await?;
            // Port 0 is replaced by the port of the address.
            let sockets = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            let sockets: Addrs = Box::new(sockets);
            Ok(sockets)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-23T17:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Mon, 23 Nov 2026 17:01:30 GMT", Some(90)),
            ("Mon, 23 Nov 2026 16:00:00 GMT", Some(0)),
            ("-5", None),
            ("1e9", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            let read = retry_after(&headers, now);
            assert_eq!(read.map(|d| d.as_secs()), seconds, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
