//! Spans, exported by OTLP over HTTP (JSON) to a collector.
//!
//! Whatever happens to the collector, nothing here holds up work: spans wait in a bounded queue, and what
//! does not fit is dropped. A warning once a minute and a metric say how exports end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Chain, Context as _, ensure};
use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, blocking, redirect};

use crate::WrongSetting;
use crate::check::Check;
use crate::settings::Value;

/// Spans that wait for the collector; more are dropped.
const QUEUE: usize = 8_192;
/// How often they are sent.
const EVERY: Duration = Duration::from_secs(1);
/// How long the collector may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long the last spans may take when the process ends.
const LAST: Duration = Duration::from_secs(2);
/// How often at most it is said that spans cannot be exported.
const WARN_EVERY: Duration = Duration::from_secs(60);

const EXPORTS: &str = "otlp_exports_total";

crate::settings! {
    /// Where spans go.
    pub(crate) struct TraceSettings {
        /// Address of an OTLP collector that takes JSON over HTTP, such as `http://127.0.0.1:4318`; without one no span is exported
        "otlp.endpoint" => endpoint: Option<Endpoint>,
        /// Headers that the collector knows the program by, comma-separated: `authorization=Bearer 3f2a,x-scope-orgid=lab`
        "otlp.headers" => headers: Vec<Header>,
        /// Share of the traces that begin here and are exported, from 0 to 1; a request with a `traceparent` has decided itself
        "otlp.ratio" = "1" => ratio: Ratio,
    }
}

/// The base address of a collector.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint(String);

impl Value for Endpoint {
    fn parse(text: &str) -> Result<Self, String> {
        let url = reqwest::Url::parse(text).ok();
        match url.filter(|url| matches!(url.scheme(), "http" | "https")) {
            Some(url) => Ok(Self(url.as_str().trim_end_matches('/').to_owned())),
            None => Err(format!(
                "{text:?} is not an address such as http://127.0.0.1:4318"
            )),
        }
    }
}

/// A header of each request to the collector, `name=value`.
#[derive(Debug, Clone)]
pub(crate) struct Header(HeaderName, HeaderValue);

impl Value for Header {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(name, value)| {
            let mut value = HeaderValue::try_from(value.trim()).ok()?;
            value.set_sensitive(true);
            Some(Self(name.trim().parse().ok()?, value))
        });
        // The text is not repeated: it is a secret.
        parts.ok_or_else(|| "not a header such as authorization=Bearer 3f2a".to_owned())
    }
}

/// A share of all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio(f64);

impl Value for Ratio {
    fn parse(text: &str) -> Result<Self, String> {
        let share = text
            .parse()
            .ok()
            .filter(|share| (0.0..=1.0).contains(share));
        share
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a number from 0 to 1"))
    }
}

/// Exports the spans of the process.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts exporting, if the settings name a collector, whom these authorities (PEM) may vouch for too. Not to be
    /// called within a runtime.
    pub(crate) fn start(
        settings: &TraceSettings,
        trusted: Option<&str>,
        (name, version): (&'static str, &'static str),
        instance: &str,
    ) -> anyhow::Result<Option<Self>> {
        let Some(link) = Link::new(settings, trusted)? else {
            return Ok(None);
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Counted::new(link.client()?))
            .with_protocol(Protocol::HttpJson)
            .with_endpoint(link.address)
            .with_timeout(DEADLINE)
            .build()
            .context("VMCTL_OTLP_ENDPOINT")?;
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_scheduled_delay(EVERY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batch);
        let ratio = Sampler::TraceIdRatioBased(settings.ratio.0);
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.namespace", "vmctl"),
            KeyValue::new("service.name", name),
            KeyValue::new("service.version", version),
            KeyValue::new("service.instance.id", instance.to_owned()),
        ]);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor.build())
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_resource(resource.build())
            .build();
        Ok(Some(Self(provider)))
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.0.tracer("vmctl")
    }

    /// Sends what waits, as far as it goes quickly.
    pub(crate) fn stop(self) {
        // What is not sent by now is lost with the process; the metric has said so before.
        let _ = self.0.shutdown_with_timeout(LAST);
    }
}

/// Tries to send no spans. A collector that does not answer is no reason not to start.
pub(crate) fn check(
    settings: &TraceSettings,
    trusted: Option<&str>,
) -> anyhow::Result<Option<Check>> {
    let link = Link::new(settings, trusted)?;
    Ok(link.map(|link| {
        Check::new("collector", async move {
            let tried = tokio::task::spawn_blocking(move || link.send_nothing());
            Ok(tried.await?.err().map(|error| format!("{error:#}")))
        })
    }))
}

/// How a collector is reached.
struct Link {
    address: String,
    headers: HeaderMap,
    /// Authorities to trust besides the system's.
    trusted: Option<Vec<Certificate>>,
}

impl Link {
    fn new(settings: &TraceSettings, trusted: Option<&str>) -> anyhow::Result<Option<Self>> {
        let Some(Endpoint(base)) = &settings.endpoint else {
            return Ok(None);
        };
        let trusted = trusted.map(|pem| Certificate::from_pem_bundle(pem.as_bytes()));
        let headers = settings.headers.iter().cloned();
        Ok(Some(Self {
            address: format!("{base}/v1/traces"),
            headers: headers.map(|Header(name, value)| (name, value)).collect(),
            trusted: trusted.transpose().context(WrongSetting("VMCTL_CA_FILE"))?,
        }))
    }

    /// Makes a client. Not to be called within a runtime.
    fn client(&self) -> anyhow::Result<blocking::Client> {
        let mut http = blocking::Client::builder()
            .default_headers(self.headers.clone())
            .timeout(DEADLINE)
            .redirect(redirect::Policy::none());
        if let Some(trusted) = &self.trusted {
            http = http.tls_certs_merge(trusted.clone());
        } else if !self.address.starts_with("https:") {
            // Nothing will be verified: the system's certificates need not be there.
            http = http.tls_certs_only([]);
        }
        http.build().context("no HTTP client for traces")
    }

    fn send_nothing(&self) -> anyhow::Result<()> {
        let request = self.client()?.post(&self.address);
        let request = request.header(CONTENT_TYPE, "application/json");
        let status = request.body(r#"{"resourceSpans":[]}"#).send()?.status();
        ensure!(status.is_success(), "the collector answered {status}");
        Ok(())
    }
}

/// Says what the metric of this module counts.
pub(crate) fn describe() {
    metrics::describe_counter!(EXPORTS, "Requests to the collector of traces, by outcome");
}

/// Sends, and says how it went.
#[derive(Debug)]
struct Counted {
    http: blocking::Client,
    started: Instant,
    /// Seconds after the start when something was said last, and one more.
    said: AtomicU64,
}

impl Counted {
    fn new(http: blocking::Client) -> Self {
        Self {
            http,
            started: Instant::now(),
            said: AtomicU64::new(0),
        }
    }

    fn warn(&self, reason: &str) {
        let now = self.started.elapsed().as_secs() + 1;
        let said = self.said.load(Ordering::Relaxed);
        if said == 0 || now >= said + WARN_EVERY.as_secs() {
            self.said.store(now, Ordering::Relaxed);
            tracing::warn!(reason, "traces are not exported");
        }
    }
}

#[async_trait]
impl HttpClient for Counted {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.http.send_bytes(request).await;
        let outcome = match &answer {
            Ok(answer) if answer.status().is_success() => "ok",
            Ok(answer) => {
                self.warn(&format!("the collector answered {}", answer.status()));
                "refused"
            }
            Err(error) => {
                let causes: Vec<_> = Chain::new(error.as_ref())
                    .map(ToString::to_string)
                    .collect();
                self.warn(&causes.join(": "));
                "unreachable"
            }
        };
        metrics::counter!(EXPORTS, "outcome" => outcome).increment(1);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_header_is_told_and_not_repeated() {
        let Header(name, value) = Header::parse("authorization = Basic Y2FuYXJ5==").unwrap();
        assert_eq!(
            (name.as_str(), value.as_bytes()),
            ("authorization", &b"Basic Y2FuYXJ5=="[..])
        );
        for bad in ["canary", "=canary", "ca nary=1", "x=canary\r\ny: 1"] {
            assert!(!Header::parse(bad).unwrap_err().contains("canary"), "{bad}");
        }
        assert!(!format!("{:?}", Header::parse("x=canary")).contains("canary"));
    }

    #[test]
    fn a_wrong_address_or_share_is_told() {
        assert!(Endpoint::parse("http://127.0.0.1:4318/").is_ok());
        for bad in ["127.0.0.1:4318", "grpc://collector:4317", ""] {
            assert!(
                Endpoint::parse(bad)
                    .unwrap_err()
                    .contains("is not an address")
            );
        }
        for bad in ["-0.1", "1.01", "NaN", "all"] {
            assert!(Ratio::parse(bad).is_err(), "{bad}");
        }
    }
}
