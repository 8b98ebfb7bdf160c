//! Follows one job over HTTP and reports what happens; [`super::poll`] decides.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use reqwest::{
    StatusCode,
    header::{self, HeaderMap, HeaderName},
};
use tokio::sync::{Semaphore, mpsc};
use vmctl_api_types::{Job, JobId};

use super::poll::{Answer, End, Link, Next, Pace, Poll};
use crate::{
    api::{Api, Document},
    client, retry,
};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// One piece of news about one job.
#[derive(Debug)]
pub struct News {
    /// The job's place in the list.
    pub row: usize,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug)]
pub enum What {
    /// The job, as it stands, and how far the server's clock is ahead of ours.
    Job(Box<Document<Job>>, SignedDuration),
    /// The connection was lost or is back.
    Link(Link),
    /// Nothing more will come.
    End(End),
}

/// Follows one job until its end; each piece of news goes to `send`.
pub struct Follower {
    /// The job's place in the list.
    pub row: usize,
    /// The job.
    pub id: JobId,
    /// The state that is known already, by its `ETag`.
    pub etag: Option<String>,
    /// Whether this command submitted it.
    pub submitted: bool,
    /// Whether it was seen already.
    pub seen: bool,
    /// Whether the connection is known to be lost.
    pub lost: bool,
    /// How hard to lean on the server.
    pub pace: Pace,
    /// Shared by all followers: how many requests are under way.
    pub permits: Arc<Semaphore>,
}

impl Follower {
    /// Runs until the end, or until nobody listens.
    pub async fn run(mut self, api: Api, send: mpsc::Sender<News>) {
        let started = Instant::now();
        let mut poll = Poll::new(self.submitted).after(self.seen, self.lost);
        loop {
            let asked = Instant::now();
            let (answer, document) = self.ask(&api).await;
            let (link, next) =
                poll.decide(&answer, started.elapsed(), asked.elapsed(), rand::random());
            let news = [
                link.map(What::Link),
                document.map(|(job, ahead)| What::Job(Box::new(job), ahead)),
            ];
            for what in news.into_iter().flatten() {
                if send
                    .send(News {
                        row: self.row,
                        what,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
            match next {
                Next::After(pause) => tokio::time::sleep(pause.max(self.pace.every)).await,
                Next::End(end) => {
                    // Nobody listens any more: there is nobody to tell.
                    let _ = send
                        .send(News {
                            row: self.row,
                            what: What::End(end),
                        })
                        .await;
                    return;
                }
            }
        }
    }

    /// Asks once. Only a state that is known can be asked to change: without its tag the server would
    /// hold the answer until the job has ended, and what happens on the way would not be seen.
    async fn ask(&mut self, api: &Api) -> (Answer, Option<(Document<Job>, SignedDuration)>) {
        let mut request = client::Request::get(format!("/v1/jobs/{}", self.id));
        let mut wait = false;
        if let Some(etag) = &self.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
            wait = self.pace.wait.is_some();
        }
        if let (true, Some(limit)) = (wait, self.pace.wait) {
            request = request.header(PREFER, format!("wait={}", limit.as_secs()));
            request.extra_time = limit;
        }
        // The semaphore is never closed; without a permit the request would only be unbounded.
        let _permit = self.permits.acquire().await;
        let answer = match api.client().send(&request).await {
            Ok(answer) => answer,
            Err(failure) if failure.is_temporary() => {
                return (
                    Answer::Away {
                        why: failure.to_string(),
                        retry_after: None,
                    },
                    None,
                );
            }
            Err(failure) => return (Answer::Denied(api.unreachable(&failure)), None),
        };
        let retry_after = answer.retry_after();
        let held = wait
            && answer
                .header(PREFERENCE_APPLIED)
                .is_some_and(|applied| applied.contains("wait"));
        match answer.status {
            StatusCode::NOT_MODIFIED => (Answer::Unchanged { held, retry_after }, None),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                (Answer::Missing(api.refusal(&answer)), None)
            }
            status if status.is_success() => match api.parse::<Job>(&answer) {
                Ok(document) => {
                    self.etag = answer.header(header::ETAG).map(str::to_owned);
                    let job = Box::new(document.value.clone());
                    let current = Answer::Current {
                        job,
                        held,
                        retry_after,
                    };
                    (current, Some((document, ahead_of(&answer.headers))))
                }
                Err(error) => (Answer::Denied(error), None),
            },
            _ if answer.is_temporary() => {
                let refusal = api.refusal(&answer);
                let why = refusal.why.first().cloned().unwrap_or(refusal.what);
                (Answer::Away { why, retry_after }, None)
            }
            _ => (Answer::Denied(api.refusal(&answer)), None),
        }
    }
}

/// Returns how far the server's clock is ahead of ours, to the second that HTTP tells.
pub fn ahead_of(headers: &HeaderMap) -> SignedDuration {
    let date = headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok());
    let date = date.and_then(retry::http_date);
    let ahead = date.map_or(SignedDuration::ZERO, |date| {
        date.duration_since(crate::clock::now())
    });
    // Below two seconds it is the rounding and the way, not the clocks.
    if ahead.unsigned_abs() < Duration::from_secs(2) {
        SignedDuration::ZERO
    } else {
        ahead
    }
}

/// Tells the connection's news to every test and renderer in the same words.
pub fn link_line(link: &Link) -> String {
    match link {
        Link::Lost(why) => format!(
            "connection lost ({}); trying to reconnect",
            crate::text::clean(why)
        ),
        Link::Back => "connected again".to_owned(),
    }
}
