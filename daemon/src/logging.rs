//! Logs on standard error: text for people, JSON for collectors.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

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

/// Starts logging to standard error. A second call changes nothing.
pub fn init_logging(filter: &LogFilter, format: Option<LogFormat>) {
    let format = format.unwrap_or_else(LogFormat::of_stderr);
    let colours = io::stderr().is_terminal();
    // An error means that a subscriber is there already: a test's, or an embedder's.
    let _ = subscriber(filter, format, colours, io::stderr).try_init();
}

fn subscriber<W>(
    filter: &LogFilter,
    format: LogFormat,
    colours: bool,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter.directives())
        .with_ansi(colours)
        .with_writer(writer);
    match format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
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
        let subscriber = subscriber(&filter, format, false, move || writer.clone());
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
