//! Logs on standard error: text for people, JSON for collectors.

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt as _;
use std::str::FromStr;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
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
    let stderr = Lines {
        to_journal: is_journal(),
        writer: io::stderr,
    };
    let lines = lines(filter, format, colours, stderr);
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

/// Says whether standard error is what systemd has connected to the journal
/// (<https://www.freedesktop.org/software/systemd/man/252/systemd.exec.html>, `$JOURNAL_STREAM`).
pub(crate) fn is_journal() -> bool {
    let stream = env::var("JOURNAL_STREAM").unwrap_or_default();
    fs::metadata("/dev/stderr").is_ok_and(|is| stream == format!("{}:{}", is.dev(), is.ino()))
}

/// Makes a writer for each line. The journal takes a line's priority from the number before it, as
/// <https://www.freedesktop.org/software/systemd/man/252/sd-daemon.html> has them.
struct Lines<F> {
    to_journal: bool,
    writer: F,
}

impl<'a, F, W> MakeWriter<'a> for Lines<F>
where
    F: Fn() -> W + 'a,
    W: Write,
{
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Line<W> {
        Line {
            before: "",
            writer: (self.writer)(),
        }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line<W> {
        let mut line = self.make_writer();
        if self.to_journal {
            line.before = priority(*of.level());
        }
        line
    }
}

pub(crate) const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// Writes a line, whole, with what comes before it.
struct Line<W> {
    before: &'static str,
    writer: W,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.writer
            .write_all(&[self.before.as_bytes(), line].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
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
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat) -> String {
        written(filter, format, false)
    }

    fn written(filter: &str, format: LogFormat, to_journal: bool) -> String {
        let memory = Memory::default();
        let copy = memory.clone();
        let filter = LogFilter::parse(filter).unwrap();
        let writer = move || copy.clone();
        let lines_of = lines(&filter, format, false, Lines { to_journal, writer });
        let subscriber = tracing_subscriber::registry().with(lines_of);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(job.attempt = 2, "job started\nnot a second line");
            tracing::debug!("details");
            tracing::error!(target: "lapin::channels", "channel closed");
        });
        let bytes = memory.0.lock().unwrap().clone();
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
    fn the_journal_is_told_the_priority_of_each_line() {
        let text = written("debug,lapin=error", LogFormat::Json, true);
        let starts: Vec<_> = text.lines().map(|line| &line[..4]).collect();
        assert_eq!(starts, ["<6>{", "<7>{", "<3>{"]);
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
