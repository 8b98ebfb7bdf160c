//! The log of one job, as it is written.
//!
//! Lines come beside the log of the broker and may be lost. Each has a name that orders it, so that a
//! client that was cut goes on behind the name that it sends, at any server; a frame `gap` says that
//! some lines before the next one are not there any more, or never arrived.

use std::time::Duration;

use axum::response::sse::Event;
use tokio::time::{Instant, sleep_until};
use vmctl_api_types::{JobId, LineId, LogEnd, LogLine};
use vmctl_core::record::Record;

use super::{End, Sink, frame, jobs::RETRY};
use crate::{
    app::App,
    error::ApiError,
    http::access::Access,
    jobs::{doorbell::Listener, view},
};

/// How long after the end of a job its last lines are waited for: they come by another way.
const SETTLE: Duration = Duration::from_secs(1);

/// Longest wait for them, however many still come.
const LONGEST_SETTLE: Duration = Duration::from_secs(10);

/// How often the lines are looked at although nothing rings.
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// First and longest pause between looks after a ring, and when no more are made.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_millis(320);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// A stream that is ready to run.
pub(crate) struct LineStream {
    access: Access,
    id: JobId,
    bells: [Listener; 2],
    /// The last line that the client has, or does not want.
    sent: LineId,
    /// Whether lines that are missing behind that one are news.
    told: bool,
    waiting: Vec<LogLine>,
    end: Option<Ended>,
}

/// A job that has ended.
struct Ended {
    state: LogEnd,
    /// When this stream has seen it, and when nothing will come any more.
    seen: Instant,
    settled: Instant,
}

impl LineStream {
    /// Reads what is there. `last` is the line that the client has, `tail` how many of the newest
    /// lines it wants otherwise. `None` when the job has ended and the client has all of its lines.
    pub async fn open(
        app: &App,
        access: &Access,
        id: JobId,
        last: Option<LineId>,
        tail: usize,
    ) -> Result<Option<Self>, ApiError> {
        // Before anything is read, so that nothing falls between.
        let bells = [app.doorbell.listen(id), app.doorbell.listen_to_lines(id)];
        let record = view::find(app, access, id).await?;
        let lines = app.lines(id).await?;
        let skip = lines.len().saturating_sub(tail);
        let before = skip.checked_sub(1).map(|n| lines[n].id);
        let sent = last.or(before).unwrap_or_default();
        let mut stream = Self {
            access: access.clone(),
            id,
            bells,
            sent,
            told: last.is_some(),
            waiting: behind(lines, sent),
            end: None,
        };
        stream.note(app, &record);
        let over = stream.waiting.is_empty() && stream.is_over();
        Ok((!(over && last.is_some())).then_some(stream))
    }

    pub(super) async fn run(mut self, app: &App, sink: &Sink<'_>) -> End {
        // A client that is cut before the first line says by it that it knows the stream.
        if let Err(end) = sink.send(Event::default().id(self.sent.to_string())).await {
            return end;
        }
        let mut rung = None;
        loop {
            if let Err(end) = self.send(sink, &mut rung).await {
                return end;
            }
            if self.is_over()
                && let Some(ended) = &self.end
            {
                return match sink.send(frame::named("end", &ended.state)).await {
                    Ok(()) => End::Done,
                    Err(end) => end,
                };
            }
            self.wait(&mut rung).await;
            match self.look(app).await {
                Ok(()) => {}
                // Nobody will ever know more.
                Err(error) if matches!(error.status(), 404 | 410) => return End::Done,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Sends what is waiting, and says before each line whether some are missing.
    async fn send(&mut self, sink: &Sink<'_>, rung: &mut Option<Rung>) -> Result<(), End> {
        for line in std::mem::take(&mut self.waiting) {
            let missing = missing(self.sent, line.id);
            if missing > 0 && self.told {
                sink.send(frame::gap(&format!("{missing} lines were dropped")))
                    .await?;
            }
            self.told = true;
            self.sent = line.id;
            *rung = None;
            let frame = frame::named("log", &line).id(line.id.to_string());
            sink.send(frame).await?;
        }
        Ok(())
    }

    async fn look(&mut self, app: &App) -> Result<(), ApiError> {
        let record = view::find(app, &self.access, self.id).await?;
        self.waiting = behind(app.lines(self.id).await?, self.sent);
        self.note(app, &record);
        Ok(())
    }

    /// Waits until there may be something to see.
    async fn wait(&mut self, rung: &mut Option<Rung>) {
        let now = Instant::now();
        let settled = self.end.as_ref().map(|end| end.settled);
        let look = rung.as_mut().and_then(|rung| rung.next(now));
        let due = look.unwrap_or(now + IDLE_LOOK);
        let due = settled.map_or(due, |at| at.min(due));
        let [job, lines] = &mut self.bells;
        tokio::select! {
            () = job.rung() => *rung = Some(Rung::now()),
            () = lines.rung() => *rung = Some(Rung::now()),
            () = sleep_until(due) => {}
        }
    }

    /// Notes whether the job has ended, and when its last lines will have come.
    fn note(&mut self, app: &App, record: &Record) {
        let Some(winner) = record.winner.as_ref().filter(|w| w.state.is_terminal()) else {
            self.end = None;
            return;
        };
        let now = Instant::now();
        let old = vmctl_core::clock::add(winner.time, LONGEST_SETTLE) < app.now();
        let settle = if old { Duration::ZERO } else { SETTLE };
        let fresh = !self.waiting.is_empty();
        let state = LogEnd {
            state: winner.state,
        };
        match &mut self.end {
            Some(end) if !fresh => end.state = state,
            Some(end) => end.settled = (now + settle).min(end.seen + LONGEST_SETTLE),
            None => {
                self.end = Some(Ended {
                    state,
                    seen: now,
                    settled: now + settle,
                });
            }
        }
    }

    fn is_over(&self) -> bool {
        let now = Instant::now();
        self.end.as_ref().is_some_and(|end| end.settled <= now)
    }
}

/// Follows up a ring: the reader needs a moment to write what it announced.
struct Rung {
    at: Instant,
    pause: Duration,
}

impl Rung {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            pause: FIRST_LOOK,
        }
    }

    /// Returns when to look next; `None` when what was announced does not come.
    fn next(&mut self, now: Instant) -> Option<Instant> {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_LOOK);
        (now < self.at + LAST_LOOK).then(|| now + pause)
    }
}

fn behind(mut lines: Vec<LogLine>, sent: LineId) -> Vec<LogLine> {
    lines.retain(|line| line.id > sent);
    lines
}

/// Returns how many lines are known to be missing between two.
fn missing(last: LineId, next: LineId) -> u32 {
    let command = |id: LineId| (id.epoch, id.attempt, id.seq);
    let before = if command(last) == command(next) {
        last.number
    } else {
        0
    };
    next.number.saturating_sub(before).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_what_is_missing() {
        for (last, next, count) in [
            ("0.1.0.3", "0.1.0.4", 0),
            ("0.1.0.3", "0.1.0.9", 5),
            ("0.1.0.3", "0.1.1.1", 0),
            ("0.1.0.3", "0.2.0.5", 4),
            ("0.0.0.0", "0.1.0.1", 0),
        ] {
            let (last, next) = (last.parse().unwrap(), next.parse().unwrap());
            assert_eq!(missing(last, next), count, "{last} {next}");
        }
    }
}
