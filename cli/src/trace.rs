//! The trace context of one run (W3C Trace Context, section 3.2), which every request carries.

use reqwest::header::HeaderValue;

/// Where a pipeline that traces itself puts its context.
const VARIABLE: &str = "TRACEPARENT";

/// The context of a run.
#[derive(Debug, Clone)]
pub struct Trace(String);

impl Trace {
    /// Takes the context that the environment gives, or begins a trace if one is wanted.
    pub fn of_this_run(wanted: bool) -> Option<Self> {
        let given = std::env::var(VARIABLE).ok();
        let given = given.filter(|text| is_context(text)).map(Self);
        given.or_else(|| wanted.then(|| Self::begin(rand::random(), rand::random())))
    }

    fn begin(trace: u128, span: u64) -> Self {
        // Zero would be no id; the last flag has everybody record the trace.
        Self(format!("00-{:032x}-{:016x}-01", trace.max(1), span.max(1)))
    }

    /// Returns the id that finds the trace.
    pub fn id(&self) -> &str {
        self.0.split('-').nth(1).unwrap_or_default()
    }

    /// Returns the value of the header `traceparent`.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

fn is_context(text: &str) -> bool {
    let lengths = text.split('-').map(str::len).eq([2, 32, 16, 2]);
    let is_hex = |b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-');
    lengths && text.bytes().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_begins_here_is_a_context() {
        for (trace, span) in [(0, 0), (u128::MAX, u64::MAX), (7, 9)] {
            let trace = Trace::begin(trace, span);
            assert!(is_context(&trace.0), "{}", trace.0);
            assert_eq!(trace.id().len(), 32);
            assert!(trace.header().is_some());
        }
    }

    #[test]
    fn what_is_no_context_is_not_sent() {
        assert!(is_context(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ));
        for bad in [
            "",
            "00-1-2-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_context(bad), "{bad}");
        }
    }
}
