//! Follows jobs on one stream of events; what cannot be followed so is polled.
//!
//! [`Plan`] decides, and is pure: a stream that was cut is opened again behind its last event; a server
//! or a proxy that does not stream, or goes silent, is polled from then on. A job that has ended is
//! read once more: its record is what counts.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use reqwest::header::HeaderName;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};
use vmctl_api_types::{Job, JobId, StreamEvent};

use super::{
    follow::{Follower, News, What, ahead_of},
    model,
    poll::{End, Link},
};
use crate::{
    api::{Api, Document},
    client::{Opened, Request, Stream},
    retry::Backoff,
    sse::Frame,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Jobs on one stream; the server's own ceiling.
pub const JOBS: usize = 50;

/// Failures in a row after which a stream that has worked is given up.
const PATIENCE: u32 = 3;

/// From how long on a stream is of use although nothing has happened. Shorter ones cost more than polls.
const LASTING: Duration = Duration::from_secs(10);

/// How one stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Nothing will follow.
    Over,
    /// The server has no such stream for us.
    Refused,
    /// No answer, or one that says "later".
    Away(String),
    /// It was cut.
    Cut(Came),
    /// Nothing came for so long that it is not alive.
    Silent(Came),
}

/// What a stream has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Came {
    /// Nothing.
    Nothing,
    /// No more than every stream begins with, and it did not last.
    Beginning,
    /// Something new, or it has lasted.
    News,
}

impl Came {
    /// A stream that has begun and lasted this long is of use, whatever it has brought.
    #[must_use]
    pub fn in_time(self, lasted: Duration) -> Self {
        if self == Self::Beginning && lasted >= LASTING {
            Self::News
        } else {
            self
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Open the stream again after this pause.
    Again(Duration),
    /// Poll from now on.
    Poll,
}

/// Decides what follows the end of a stream.
#[derive(Debug)]
pub struct Plan {
    worked: bool,
    failures: u32,
    backoff: Backoff,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            worked: false,
            failures: 0,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(5)),
        }
    }
}

impl Plan {
    /// Decides; `random` is drawn from 0 to 1.
    pub fn decide(&mut self, ended: &Ended, random: f64) -> Next {
        match ended {
            Ended::Over | Ended::Refused => return Next::Poll,
            Ended::Cut(Came::News) => {
                self.worked = true;
                self.failures = 0;
                self.backoff.reset();
            }
            // Whoever cuts it so soon, and again, does so for ever.
            Ended::Cut(Came::Beginning) => {
                self.failures += u32::from(self.worked);
                self.worked = true;
            }
            // One that ends in silence may be collected by a proxy: not often.
            Ended::Silent(Came::Beginning | Came::News) if self.failures == 0 => {
                self.worked = true;
                self.failures = PATIENCE - 1;
            }
            _ => self.failures += 1,
        }
        if self.failures >= PATIENCE || !self.worked {
            return Next::Poll;
        }
        Next::Again(self.backoff.delay(random))
    }
}

/// Follows some jobs.
pub struct Streamer {
    /// How each would be polled.
    pub followers: Vec<Follower>,
}

/// One job of a stream.
struct Streamed {
    follower: Option<Follower>,
    id: JobId,
    row: usize,
    raw: Value,
}

impl Streamer {
    /// Runs until all jobs have ended, or until nobody listens.
    pub async fn run(self, api: Api, send: mpsc::Sender<News>) {
        let streamed = |follower: Follower| Streamed {
            id: follower.id,
            row: follower.row,
            raw: Value::Null,
            follower: Some(follower),
        };
        let mut jobs: Vec<_> = self.followers.into_iter().map(streamed).collect();
        let mut polls = JoinSet::new();
        let (mut plan, mut behind, mut lost) = (Plan::default(), None, false);
        loop {
            let mut session = Session {
                api: &api,
                send: &send,
                jobs: &mut jobs,
                polls: &mut polls,
                last: &mut behind,
                lost: &mut lost,
            };
            let Some(ended) = session.run().await else {
                return;
            };
            if jobs.iter().all(|job| job.follower.is_none()) {
                break;
            }
            match plan.decide(&ended, rand::random()) {
                Next::Poll => break,
                Next::Again(pause) => {
                    if let Ended::Away(why) = ended
                        && !std::mem::replace(&mut lost, true)
                        && !tell(&send, &jobs, &Link::Lost(why)).await
                    {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
        for mut follower in jobs.into_iter().filter_map(|job| job.follower) {
            follower.lost = lost;
            polls.spawn(follower.run(api.clone(), send.clone()));
        }
        while polls.join_next().await.is_some() {}
    }
}

/// Tells all jobs' rows about the connection; false when nobody listens.
async fn tell(send: &mpsc::Sender<News>, jobs: &[Streamed], link: &Link) -> bool {
    for job in jobs.iter().filter(|job| job.follower.is_some()) {
        let (row, what) = (job.row, What::Link(link.clone()));
        if send.send(News { row, what }).await.is_err() {
            return false;
        }
    }
    true
}

/// One connection.
struct Session<'a> {
    api: &'a Api,
    send: &'a mpsc::Sender<News>,
    jobs: &'a mut Vec<Streamed>,
    polls: &'a mut JoinSet<()>,
    last: &'a mut Option<String>,
    lost: &'a mut bool,
}

impl Session<'_> {
    /// Returns how it ended; `None` when nobody listens any more.
    async fn run(&mut self) -> Option<Ended> {
        let mut request = Request::get("/v1/events");
        for job in self.jobs.iter() {
            request = request.query("job", job.id.to_string());
        }
        if let Some(last) = self.last.as_ref() {
            request = request.header(LAST_EVENT_ID, last);
        }
        let mut stream = match self.api.client().open(&request).await {
            Ok(Opened::Stream(stream)) => stream,
            Ok(Opened::Answer(answer)) if answer.status.as_u16() == 204 => {
                return Some(Ended::Over);
            }
            Ok(Opened::Answer(answer))
                if answer.is_temporary() && answer.status.as_u16() != 501 =>
            {
                return Some(Ended::Away(self.api.refusal(&answer).what));
            }
            Err(failure) if failure.is_temporary() => {
                return Some(Ended::Away(failure.to_string()));
            }
            Ok(Opened::Answer(_)) | Err(_) => return Some(Ended::Refused),
        };
        self.read(&mut stream).await
    }

    async fn read(&mut self, stream: &mut Stream) -> Option<Ended> {
        let ahead = ahead_of(stream.headers());
        let begun = Instant::now();
        let mut came = Came::Nothing;
        loop {
            let frames = match stream.next().await {
                Ok(Some(frames)) => frames,
                Ok(None) => return Some(Ended::Cut(came.in_time(begun.elapsed()))),
                Err(failure) if failure.is_timeout() => return Some(Ended::Silent(came)),
                Err(failure) if failure.is_temporary() => {
                    return Some(Ended::Cut(came.in_time(begun.elapsed())));
                }
                Err(_) => return Some(Ended::Refused),
            };
            for frame in frames {
                came = came.max(match frame.event.as_str() {
                    "snapshot" => Came::Beginning,
                    _ => Came::News,
                });
                if std::mem::take(self.lost) && !tell(self.send, self.jobs, &Link::Back).await {
                    return None;
                }
                if !self.take(&frame, ahead).await {
                    return None;
                }
                // After it was taken, so that a cut in between brings it again.
                if let Some(id) = frame.id {
                    *self.last = Some(id);
                }
            }
            if self.jobs.iter().all(|job| job.follower.is_none()) {
                return Some(Ended::Over);
            }
        }
    }

    /// Takes one frame; false when nobody listens.
    async fn take(&mut self, frame: &Frame, ahead: SignedDuration) -> bool {
        let Ok(data) = serde_json::from_str::<Value>(&frame.data) else {
            return true;
        };
        let (id, ended) = if frame.event == "snapshot" {
            (data["id"].as_str().and_then(|id| id.parse().ok()), false)
        } else {
            let Ok(event) = StreamEvent::deserialize(&data) else {
                return true;
            };
            (Some(event.subject), event.data.state.is_terminal())
        };
        let job = self.jobs.iter_mut().find(|job| Some(job.id) == id);
        let Some(job) = job.filter(|job| job.follower.is_some()) else {
            return true;
        };
        if ended {
            // What the event does not say, its record does.
            if let Some(follower) = job.follower.take() {
                self.polls
                    .spawn(follower.run(self.api.clone(), self.send.clone()));
            }
            return true;
        }
        if frame.event == "snapshot" {
            job.raw = data;
        } else {
            patch(&mut job.raw, &frame.event, &data);
        }
        let Ok(value) = Job::deserialize(&job.raw) else {
            return true;
        };
        if let Some(follower) = &mut job.follower {
            follower.seen = true;
        }
        let end = model::outcome(&value);
        let raw = job.raw.clone();
        let document = Box::new(Document { value, raw });
        let mut news = vec![What::Job(document, ahead)];
        if let Some(outcome) = end {
            job.follower = None;
            news.push(What::End(End::Outcome(outcome)));
        }
        for what in news {
            let row = job.row;
            if self.send.send(News { row, what }).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// Brings a job up to what an event says. An event of an earlier try says nothing new.
fn patch(job: &mut Value, word: &str, event: &Value) {
    let said = &event["data"];
    let run = |of: &Value| (of["epoch"].as_u64(), of["attempt"].as_u64());
    if job.is_null() || run(said) < run(job) {
        return;
    }
    if word == "cancel_requested" {
        if job["cancel_requested_at"].is_null() {
            job["cancel_requested_at"] = event["time"].clone();
        }
        return;
    }
    if said["epoch"] != job["epoch"] {
        job["cancel_requested_at"] = Value::Null;
        job["started_at"] = Value::Null;
    }
    if run(said) != run(job) {
        job["progress"] = Value::Null;
    }
    if word == "started" && job["started_at"].is_null() {
        job["started_at"] = event["time"].clone();
    }
    for name in ["state", "epoch", "attempt"] {
        job[name] = said[name].clone();
    }
    job["terminal"] = json!(false);
    job["next_attempt_at"] = Value::Null;
    if !said["progress"].is_null() {
        job["progress"] = said["progress"].clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Ended = Ended::Cut(Came::News);
    const SILENT: Ended = Ended::Silent(Came::News);

    fn away() -> Ended {
        Ended::Away("busy".into())
    }

    #[test]
    fn what_never_streamed_is_polled_at_once() {
        for ended in [
            Ended::Over,
            Ended::Refused,
            away(),
            Ended::Cut(Came::Nothing),
            Ended::Silent(Came::Nothing),
        ] {
            assert_eq!(Plan::default().decide(&ended, 1.0), Next::Poll, "{ended:?}");
        }
    }

    #[test]
    fn what_has_streamed_is_tried_again_for_a_while() {
        let mut plan = Plan::default();
        for _ in 0..100 {
            let next = plan.decide(&CUT, 1.0);
            assert_eq!(next, Next::Again(Duration::from_millis(500)));
        }
        for _ in 1..PATIENCE {
            assert!(matches!(plan.decide(&away(), 1.0), Next::Again(_)));
        }
        assert_eq!(plan.decide(&away(), 1.0), Next::Poll);
        // Two silences in a row are one too many.
        let mut plan = Plan::default();
        assert!(matches!(plan.decide(&SILENT, 1.0), Next::Again(_)));
        assert_eq!(plan.decide(&SILENT, 1.0), Next::Poll);
    }

    #[test]
    fn what_is_cut_after_its_beginning_is_tried_less_and_less_and_then_polled() {
        let beginning = Ended::Cut(Came::Beginning);
        let mut plan = Plan::default();
        for pause in [500, 1_000, 2_000] {
            let next = plan.decide(&beginning, 1.0);
            assert_eq!(next, Next::Again(Duration::from_millis(pause)));
        }
        assert_eq!(plan.decide(&beginning, 1.0), Next::Poll);
        // Whatever is of use in between begins the count anew.
        let mut plan = Plan::default();
        for _ in 0..10 {
            for ended in [&beginning, &beginning, &CUT] {
                assert!(matches!(plan.decide(ended, 1.0), Next::Again(_)));
            }
        }
        let lasted = |seconds| Came::Beginning.in_time(Duration::from_secs(seconds));
        assert_eq!((lasted(9), lasted(10)), (Came::Beginning, Came::News));
        assert_eq!(Came::Nothing.in_time(LASTING), Came::Nothing);
    }

    #[test]
    fn events_bring_a_job_up_to_date_and_never_back() {
        let mut job =
            json!({"state": "queued", "epoch": 0, "attempt": 2, "progress": {"percent": 9}});
        let event = |state: &str, attempt: u32, progress: Value| json!({"time": "T", "data": {"state": state, "epoch": 0, "attempt": attempt, "progress": progress}});
        patch(&mut job, "started", &event("running", 1, Value::Null));
        assert_eq!(job["state"], "queued");
        patch(&mut job, "started", &event("running", 2, Value::Null));
        assert_eq!(
            (&job["state"], &job["started_at"]),
            (&json!("running"), &json!("T"))
        );
        assert_eq!(job["progress"]["percent"], 9);
        patch(
            &mut job,
            "cancel_requested",
            &event("queued", 2, Value::Null),
        );
        assert_eq!(
            (&job["state"], &job["cancel_requested_at"]),
            (&json!("running"), &json!("T"))
        );
        patch(&mut job, "retry", &event("retrying", 3, Value::Null));
        assert_eq!(
            (&job["attempt"], &job["progress"]),
            (&json!(3), &Value::Null)
        );
    }
}
