//! Streams of server-sent events: of some jobs ([`jobs`]), of a whole project ([`project`]), or of the
//! lines of a job's log ([`lines`], which come beside the log and have an order of their own).
//!
//! ```text
//! tail of the log --> journal, bells --ring--> a stream: reads the view, sends what is new
//!   (one a server)                                |  at most `stream_frames`
//!                                                 v
//!                                    the answer's body, as fast as the client reads
//! ```
//!
//! What always holds:
//!
//! - **What is sent comes from the view.** The tail only says that there is something to read.
//! - **Log order.** An event is sent once, after everything before it in the log, so that its id
//!   alone says what a client has. A client that was cut goes on behind the id that it names.
//! - **An id that names no place is no error:** the client gets a snapshot again.
//! - **Every stream ends:** with its jobs, when the token expires or is refused, when it is old, when the client
//!   does not read, when the server stops. Only the end of its jobs is final (204).

pub(crate) mod followed;
pub(crate) mod frame;
pub(crate) mod jobs;
pub(crate) mod lines;
mod places;
mod progress;
pub(crate) mod project;

use std::{convert::Infallible, sync::Arc};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::stream;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{app::App, http::auth::Permitted};

pub(crate) use places::{Place, Places};

/// Tells nginx not to collect frames.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a stream is about.
pub(crate) enum Source {
    Jobs(jobs::JobStream),
    Project(project::ProjectStream),
    Lines(lines::LineStream),
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its jobs have ended.
    Done,
    /// What it was at is not in the log or the history any more: the client must connect anew.
    Lost,
    /// The client left.
    Gone,
    /// The client did not read.
    Slow,
    /// The token has expired.
    Expired,
    /// The token is not valid any more.
    Refused,
    /// It was open for as long as a stream may be.
    Old,
    /// The server stops.
    Stopping,
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Lost => "lost",
            Self::Gone => "gone",
            Self::Slow => "slow",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Old => "old",
            Self::Stopping => "stopping",
        }
    }
}

/// Where a stream's frames go.
pub(crate) struct Sink<'a> {
    app: &'a App,
    frames: mpsc::Sender<Event>,
}

impl Sink<'_> {
    /// Hands a frame over; waits for a slow reader, but not for long.
    pub async fn send(&self, frame: Event) -> Result<(), End> {
        let patience = self.app.config.limits.stream_patience;
        match timeout(patience, self.frames.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Slow),
        }
    }

    /// Waits until the client has left.
    async fn left(&self) -> End {
        self.frames.closed().await;
        End::Gone
    }
}

/// Returns the event that a client has last: the header of a client that connects again, else what
/// it was told to begin after.
pub(crate) fn last_event<'a>(headers: &'a HeaderMap, after: Option<&'a str>) -> Option<&'a str> {
    match headers.get(LAST_EVENT_ID) {
        // What is no text names no place.
        Some(value) => Some(value.to_str().unwrap_or_default()),
        None => after,
    }
    .filter(|id| !id.is_empty())
}

/// Starts a stream and answers with it.
pub(crate) fn answer(app: &Arc<App>, caller: &Permitted, place: Place, source: Source) -> Response {
    let limits = &app.config.limits;
    let (frames, mut waiting) = mpsc::channel(limits.stream_frames.max(1));
    let valid = caller.context.expires_at.duration_since(app.now());
    // An instant in the past is now.
    let valid = valid.try_into().unwrap_or_default();
    let expiry = Instant::now() + limits.stream_life.min(valid);
    let end = if valid <= limits.stream_life {
        End::Expired
    } else {
        End::Old
    };
    let (shared, caller) = (Arc::clone(app), caller.clone());
    tokio::spawn(async move {
        let end = run(&shared, caller, source, frames, (expiry, end)).await;
        metrics::counter!("event_streams_ended_total", "reason" => end.word()).increment(1);
        tracing::debug!(reason = end.word(), "a stream of events ended");
        drop(place);
    });
    let body = stream::poll_fn(move |cx| waiting.poll_recv(cx).map(|f| f.map(Ok::<_, Infallible>)));
    let alive = KeepAlive::new().interval(limits.stream_ping).text("ping");
    let mut response = Sse::new(body).keep_alive(alive).into_response();
    response
        .headers_mut()
        .insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

async fn run(
    app: &App,
    caller: Permitted,
    source: Source,
    frames: mpsc::Sender<Event>,
    (expiry, expired): (Instant, End),
) -> End {
    let sink = Sink { app, frames };
    let ended = async {
        if let Err(end) = sink.send(frame::preamble()).await {
            return end;
        }
        match source {
            Source::Jobs(jobs) => jobs.run(app, &sink).await,
            Source::Project(project) => project.run(app, &sink).await,
            Source::Lines(lines) => lines.run(app, &sink).await,
        }
    };
    tokio::select! {
        end = ended => end,
        end = sink.left() => end,
        () = sleep_until(expiry) => expired,
        () = refused(app, &caller) => End::Refused,
        () = app.stopping.cancelled() => End::Stopping,
    }
}

/// Waits until the token is refused.
async fn refused(app: &App, caller: &Permitted) {
    loop {
        sleep(app.config.limits.stream_check).await;
        if !caller.is_still_valid(app).await {
            return;
        }
    }
}
