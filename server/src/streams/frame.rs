//! The frames of a stream.

use std::time::Duration;

use axum::response::sse::Event;
use serde::Serialize;
use vmctl_api_types::{JobEvent, JobId, Kind, StreamEvent, StreamGap};
use vmctl_core::{
    event::EventType,
    record::{HistoryEntry, Tick, Winner},
};

/// How long a client that was cut waits before it connects again.
const RETRY: Duration = Duration::from_secs(3);

/// What comes before the first event.
pub(super) fn preamble() -> Event {
    Event::default().retry(RETRY)
}

/// What stands now; `id` names the place in the log behind which events follow.
pub(super) fn snapshot(id: Option<&str>, what: &impl Serialize) -> Event {
    let frame = named("snapshot", what);
    match id.filter(|id| is_word(id)) {
        Some(id) => frame.id(id),
        None => frame,
    }
}

/// Events may have been missed.
pub(super) fn gap(reason: &str) -> Event {
    let reason = reason.to_owned();
    named("gap", &StreamGap { reason })
}

/// One entry of a job's history.
pub(super) fn event(job: JobId, kind: &Kind, entry: HistoryEntry) -> Event {
    let (word, id) = (entry.event.event_type.clone(), entry.event.id.clone());
    let frame = named(&word, &StreamEvent::new(job, kind.clone(), entry.event));
    if is_word(&id) { frame.id(id) } else { frame }
}

/// Progress beside the log. The frame has no id: nothing follows behind it in the log.
pub(super) fn progress(job: JobId, kind: &Kind, winner: &Winner, tick: &Tick) -> Event {
    let word = EventType::Progress.word();
    let event = JobEvent {
        id: format!("{}.{}", winner.id, tick.order()),
        event_type: word.to_owned(),
        time: tick.progress.at,
        state: winner.state,
        epoch: tick.epoch,
        attempt: tick.attempt,
        seq: tick.seq,
        progress: Some(tick.progress.clone()),
        output: None,
        error: None,
        worker: None,
    };
    named(word, &StreamEvent::new(job, kind.clone(), event))
}

pub(super) fn named(word: &str, what: &impl Serialize) -> Event {
    // The view is not ours alone: a line end in a name would be a frame of somebody's own making.
    let word = if is_word(word) { word } else { "event" };
    // Strings and numbers only, so this cannot fail.
    let text = serde_json::to_string(what).unwrap_or_default();
    Event::default().event(word).data(text)
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}
