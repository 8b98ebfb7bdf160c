//! What the caller can read: `Accept` (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// How much one representation is wanted.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Wanted {
    /// 0 to 1; 0 is refused.
    quality: f32,
    /// Whether it is named, not only covered by a range.
    named: bool,
}

/// Says whether the caller can read JSON.
pub(crate) fn json(headers: &HeaderMap) -> bool {
    wanted_json(headers).quality > 0.0
}

/// Says whether the caller can read a stream of events.
pub(crate) fn events(headers: &HeaderMap) -> bool {
    wanted_events(headers).quality > 0.0
}

/// Says whether the caller would rather have a stream of events than JSON. It must name it: a client
/// that takes anything expects an answer that ends.
pub(crate) fn prefers_events(headers: &HeaderMap) -> bool {
    let (json, events) = (wanted_json(headers), wanted_events(headers));
    events.named
        && events.quality > 0.0
        && (events.quality > json.quality || (events.quality >= json.quality && !json.named))
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogForm {
    /// Lines of text.
    Text,
    /// One JSON document a line.
    Json,
    /// A stream of events.
    Events,
}

/// Chooses how a log is written: as text unless the caller names something else and would rather have
/// that. `None` when it can read none.
pub(crate) fn log(headers: &HeaderMap) -> Option<LogForm> {
    let json = ["application/jsonl", "application/x-ndjson"];
    let forms = [
        (LogForm::Text, wanted(headers, &["text/plain"], "text/*")),
        (LogForm::Json, wanted(headers, &json, "application/*")),
        (LogForm::Events, wanted_events(headers)),
    ];
    let mut best = None;
    for (form, wanted) in forms.into_iter().filter(|(_, wanted)| wanted.quality > 0.0) {
        // Who takes anything expects an answer that ends.
        let usable = wanted.named || form != LogForm::Events;
        let better = best.is_none_or(|(_, have): (LogForm, Wanted)| {
            (wanted.quality, wanted.named) > (have.quality, have.named)
        });
        if usable && better {
            best = Some((form, wanted));
        }
    }
    best.map(|(form, _)| form)
}

fn wanted_json(headers: &HeaderMap) -> Wanted {
    // Errors are JSON too, so who accepts only these can read the rest.
    let names = ["application/json", "application/problem+json"];
    wanted(headers, &names, "application/*")
}

fn wanted_events(headers: &HeaderMap) -> Wanted {
    wanted(headers, &["text/event-stream"], "text/*")
}

/// The most specific range that covers a representation decides.
fn wanted(headers: &HeaderMap, names: &[&str], range: &str) -> Wanted {
    let mut texts = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .peekable();
    let mut best = (0, 0.0);
    if texts.peek().is_none() {
        best = (1, 1.0);
    }
    for text in texts.flat_map(|text| text.split(',')) {
        let mut parts = text.split(';').map(str::trim);
        let rank = match parts.next().unwrap_or_default().to_ascii_lowercase() {
            name if names.contains(&&*name) => 3,
            name if name == range => 2,
            name if name == "*/*" => 1,
            _ => continue,
        };
        let quality = parts
            .filter_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")))
            .find_map(|q| q.trim().parse::<f32>().ok())
            .unwrap_or(1.0);
        if rank > best.0 || (rank == best.0 && quality > best.1) {
            best = (rank, quality);
        }
    }
    Wanted {
        quality: best.1,
        named: best.0 == 3,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(text: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(text));
        headers
    }

    #[test]
    fn accept_is_read_as_clients_send_it() {
        assert!(json(&HeaderMap::new()));
        for good in [
            "*/*",
            "application/json",
            "text/html, application/*;q=0.8",
            "text/html,application/xhtml+xml,*/*;q=0.1",
            "application/problem+json",
            "application/json;q=1, */*;q=0",
        ] {
            assert!(json(&headers(good)), "{good}");
        }
        for bad in [
            "text/html",
            "text/event-stream",
            "application/xml",
            "application/json;q=0",
            "",
            "*/*;q=0",
        ] {
            assert!(!json(&headers(bad)), "{bad}");
        }
    }

    #[test]
    fn a_log_is_text_unless_something_else_is_named() {
        let text = Some(LogForm::Text);
        assert_eq!(log(&HeaderMap::new()), text);
        for (accept, form) in [
            ("*/*", text),
            ("text/*", text),
            ("text/plain, application/jsonl", text),
            ("application/*", Some(LogForm::Json)),
            ("application/jsonl, */*", Some(LogForm::Json)),
            (
                "application/x-ndjson;q=0.9, text/plain;q=0.5",
                Some(LogForm::Json),
            ),
            ("text/event-stream", Some(LogForm::Events)),
            ("text/event-stream, */*;q=0.1", Some(LogForm::Events)),
            ("application/xml", None),
            ("text/plain;q=0", None),
        ] {
            assert_eq!(log(&headers(accept)), form, "{accept}");
        }
    }

    #[test]
    fn a_stream_must_be_asked_for_by_name() {
        for stream in [
            "text/event-stream",
            "TEXT/event-stream",
            "text/event-stream, */*",
            "text/event-stream, application/json;q=0.5",
        ] {
            assert!(prefers_events(&headers(stream)), "{stream}");
        }
        assert!(!prefers_events(&HeaderMap::new()));
        for list in [
            "*/*",
            "text/*",
            "application/json",
            "application/json, text/event-stream",
            "application/json, text/event-stream;q=0.5",
            "text/event-stream;q=0, */*",
            "text/event-stream;q=0",
        ] {
            assert!(!prefers_events(&headers(list)), "{list}");
        }
        assert!(events(&headers("text/*")) && events(&HeaderMap::new()));
        assert!(!events(&headers("application/json")));
    }
}
