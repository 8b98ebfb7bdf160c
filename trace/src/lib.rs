//! The trace context that goes with a job, from the client's request through its messages.
//!
//! What travels is the text of one `traceparent` (W3C Trace Context, section 3.2), in HTTP headers and in
//! messages. A step of a job is a span of `tracing` that [`enter`]s the context it was given; what the step sends
//! carries [`current`].
//!
//! Where no layer exports spans, they have no context of their own: the text that came in goes on as it is.

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Takes a trace context of version 00; what is broken, or of another version, is none.
pub fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        let part = parts.next()?;
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        (part.len() == length && part.bytes().all(is_hex)).then_some(part)
    };
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::NONE,
    );
    (version == "00" && parts.next().is_none() && context.is_valid()).then_some(context)
}

/// Says whether whoever sent this context records its trace.
pub fn is_sampled(traceparent: &str) -> bool {
    parse(traceparent).is_some_and(|context| context.is_sampled())
}

/// Makes a new span a child of the one that a context names, and writes its trace into the field `trace.id`, if the
/// span has one. Without a context the span begins a trace, if something exports it.
pub fn enter(span: &Span, traceparent: Option<&str>) {
    let parent = traceparent.and_then(parse);
    if let Some(parent) = &parent {
        // It fails where nothing exports spans.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent.clone()));
    }
    if let Some(context) = exported(span).or(parent) {
        span.record("trace.id", context.trace_id().to_string());
    }
}

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is given to the broker.
    Publish,
    /// It was taken from the broker.
    Process,
}

/// A message of a job.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The exchange that it came through.
    pub exchange: &'a str,
    /// The key that it was published with.
    pub routing_key: &'a str,
    /// Its own id.
    pub id: &'a str,
    /// The id of its job.
    pub job: &'a str,
}

/// Writes on a span that is exported which message it is about, by OpenTelemetry's semantic conventions for
/// messaging and RabbitMQ. Log lines do not have it.
pub fn message(span: &Span, operation: Operation, message: &Message<'_>) {
    if exported(span).is_none() {
        return;
    }
    let (kind, name) = match operation {
        Operation::Publish => ("send", "publish"),
        Operation::Process => ("process", "process"),
    };
    let (exchange, key) = (message.exchange, message.routing_key);
    for (attribute, value) in [
        ("messaging.system", "rabbitmq"),
        ("messaging.operation.type", kind),
        ("messaging.operation.name", name),
        ("messaging.destination.name", &format!("{exchange}:{key}")),
        ("messaging.rabbitmq.destination.routing_key", key),
        ("messaging.message.id", message.id),
        ("messaging.message.conversation_id", message.job),
    ] {
        span.set_attribute(attribute, value.to_owned());
    }
}

/// Returns the context of the current span, to be sent along; `None` where nothing exports spans.
pub fn current() -> Option<String> {
    exported(&Span::current()).map(|context| text(&context))
}

/// As [`current`], for a span that is not entered.
pub fn of(span: &Span) -> Option<String> {
    exported(span).map(|context| text(&context))
}

fn exported(span: &Span) -> Option<SpanContext> {
    let context = span.context().span().span_context().clone();
    context.is_valid().then_some(context)
}

fn text(context: &SpanContext) -> String {
    format!(
        "00-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags().to_u8()
    )
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_as_it_is_written() {
        assert_eq!(text(&parse(PARENT).unwrap()), PARENT);
        assert!(is_sampled(PARENT));
        assert!(!is_sampled(&PARENT.replace("-01", "-00")));
    }

    #[test]
    fn what_is_broken_is_none() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "${jndi:ldap://x}",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn without_an_exporter_there_is_nothing_of_our_own() {
        let span = tracing::info_span!("step");
        enter(&span, Some(PARENT));
        assert_eq!(of(&span), None);
        assert_eq!(current(), None);
    }

    #[test]
    fn an_exported_span_is_a_child_of_what_it_was_given() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("step");
            enter(&span, Some(PARENT));
            let sent = parse(&of(&span).unwrap()).unwrap();
            let parent = parse(PARENT).unwrap();
            assert_eq!(sent.trace_id(), parent.trace_id());
            assert_ne!(sent.span_id(), parent.span_id());
            assert!(sent.is_sampled());
            assert_eq!(span.in_scope(current), of(&span));

            let alone = tracing::info_span!("another");
            enter(&alone, None);
            let sent = parse(&of(&alone).unwrap()).unwrap();
            assert_ne!(sent.trace_id(), parent.trace_id());
        });
    }
}
