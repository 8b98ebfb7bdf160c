//! Logs on standard error: text for people, JSON for collectors.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::settings::Value;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Text on a terminal, JSON elsewhere.
    pub fn of_stderr() -> Self {
        if io::stderr().is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

impl Value for LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is neither text nor json")),
        }
    }
}

/// What is logged, in the words of `tracing`'s filters: `info,vmctl_server=debug`.
///
/// The AMQP library says of every closed channel that it is an error, also where that is the answer
/// to a question. Its lines are left out unless the filter names `lapin`; whoever handles a failure
/// logs it.
#[derive(Debug, Clone)]
pub struct LogFilter(String);

impl LogFilter {
    fn directives(&self) -> EnvFilter {
        // The text was parsed when the setting was read.
        if self.0.contains("lapin") {
            EnvFilter::new(&self.0)
        } else {
            EnvFilter::new(format!("{},lapin=off", self.0))
        }
    }
}

impl Value for LogFilter {
    fn parse(text: &str) -> Result<Self, String> {
        EnvFilter::from_str(text)
            .map(|_| Self(text.to_owned()))
            .map_err(|error| format!("{text:?} is not a log filter: {error}"))
    }
}

/// Starts logging to standard error, and exporting spans if there is a tracer. A second call changes nothing.
pub(crate) fn init(filter: &LogFilter, format: Option<LogFormat>, tracer: Option<SdkTracer>) {
    let format = format.unwrap_or_else(LogFormat::of_stderr);
    let colours = io::stderr().is_terminal();
    let lines = lines(filter, format, colours, io::stderr);
    // What is exported does not hang on what is logged. The exporter's own HTTP client is not ours.
    let ours = Targets::new().with_target("vmctl", LevelFilter::INFO);
    let spans = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_filter(ours)
    });
    // An error means that a subscriber is there already: a test's, or an embedder's.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(spans)
        .try_init();
}

/// Writes what the filter lets through.
fn lines<W>(
    filter: &LogFilter,
    format: LogFormat,
    colours: bool,
    writer: W,
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(writer);
    match format {
        LogFormat::Text => lines.with_filter(filter.directives()).boxed(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            lines.with_filter(filter.directives()).boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let filter = LogFilter::parse(filter).unwrap();
        let lines_of = super::lines(&filter, format, false, move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines_of);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(job.attempt = 2, "job started\nnot a second line");
            tracing::debug!("details");
            tracing::error!(target: "lapin::channels", "channel closed");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line_with_its_fields() {
        let text = logged("info", LogFormat::Json);
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "job started\nnot a second line");
        assert_eq!(line["job.attempt"], 2);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn text_is_for_people() {
        let text = logged("info", LogFormat::Text);
        assert!(text.contains("INFO"), "{text}");
        assert!(text.contains("job.attempt=2"), "{text}");
        assert!(!text.contains("details"), "{text}");
    }

    #[test]
    fn the_amqp_library_is_heard_only_when_it_is_named() {
        assert!(!logged("trace", LogFormat::Text).contains("channel closed"));
        assert!(logged("info,lapin=error", LogFormat::Text).contains("channel closed"));
    }

    #[test]
    fn the_filter_decides() {
        assert!(logged("debug", LogFormat::Text).contains("details"));
        assert_eq!(logged("off", LogFormat::Text), "");
        assert!(LogFilter::parse("vmctl=loud").is_err());
    }
}
