//! `vmctl job logs`: the newest lines of a job's log, or the log as it is written.
//!
//! It is followed by a stream, opened again behind the last line when it was cut; where nobody streams,
//! the newest lines are read again and again. Lines are shown without what could steer a terminal.

use std::time::Duration;

use clap::Args;
use reqwest::header::{self, HeaderName};
use vmctl_api_types::{JobId, LineId, LogLine, StreamGap};

use crate::{
    api::Api,
    app::App,
    client::{Answer, Opened, Request},
    error::CliError,
    exit::Exit,
    job_ref::{self, JobRef},
    output::Output,
    retry::Backoff,
    signals::Signals,
    sse::Frame,
    text,
    watch::{
        model,
        stream::{Ended, Next, Plan},
    },
};

/// How often the log is read where nobody streams.
const POLL: Duration = Duration::from_secs(2);

/// Reads without an answer, in a row, before following is given up.
const PATIENCE: u32 = 10;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Arguments of `job logs`.
#[derive(Debug, Args)]
pub struct JobLogs {
    /// The job: its id, the beginning of its id, or @last
    pub id: JobRef,
    /// Show only so many of the newest lines; the server keeps 200
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
    /// Go on until the job has ended
    #[arg(short, long)]
    pub follow: bool,
}

/// Runs the command. The job's outcome is not its exit code: `job wait` tells that.
pub fn run(app: &App, args: &JobLogs) -> Result<Exit, CliError> {
    let api = app.authenticated()?;
    let id = job_ref::resolve_one(app, &api, &args.id)?;
    let mut log = Log {
        api: &api,
        out: app.out,
        id,
        tail: args.tail,
        shown: None,
    };
    if !args.follow {
        app.block_on(log.read_patiently())??;
        return Ok(Exit::Ok);
    }
    let mut signals = Signals::listen()?;
    app.block_on(async {
        tokio::select! {
            biased;
            exit = signals.first() => Ok(exit),
            done = log.follow() => done.map(|()| Exit::Ok),
        }
    })?
}

/// The log of one job, as far as it was shown.
struct Log<'a> {
    api: &'a Api,
    out: Output,
    id: JobId,
    tail: Option<u32>,
    shown: Option<LineId>,
}

impl Log<'_> {
    fn request(&self) -> Request {
        let request = Request::get(format!("/v1/jobs/{}/logs", self.id));
        match self.tail.filter(|_| self.shown.is_none()) {
            Some(tail) => request.query("tail", tail.to_string()),
            None => request,
        }
    }

    fn read_request(&self) -> Request {
        let media = "application/jsonl, application/problem+json";
        self.request().header(header::ACCEPT, media)
    }

    async fn read_patiently(&mut self) -> Result<(), CliError> {
        let answer = self.api.client().send_patiently(&self.read_request()).await;
        let answer = answer.map_err(|failure| self.api.unreachable(&failure))?;
        self.show_all(&answer)
    }

    /// Shows the lines of an answer that were not shown.
    fn show_all(&mut self, answer: &Answer) -> Result<(), CliError> {
        if !answer.status.is_success() {
            return Err(self.api.refusal(answer));
        }
        for line in answer.body.split(|byte| *byte == b'\n') {
            if let Ok(line) = serde_json::from_slice::<LogLine>(line) {
                self.show(&line)?;
            }
        }
        Ok(())
    }

    fn show(&mut self, line: &LogLine) -> Result<(), CliError> {
        if self.shown >= Some(line.id) {
            return Ok(());
        }
        self.shown = Some(line.id);
        if self.out.is_json() {
            // One document a line: what is followed has no end to wait for.
            let json = serde_json::to_string(line).unwrap_or_default();
            self.out.data(text::escape_json(&json))
        } else {
            self.out.data(text::clean(&line.text))
        }
    }

    async fn follow(&mut self) -> Result<(), CliError> {
        let mut plan = Plan::default();
        loop {
            let Some(ended) = self.stream().await? else {
                return Ok(());
            };
            match plan.decide(&ended, rand::random()) {
                Next::Again(pause) => tokio::time::sleep(pause).await,
                Next::Poll => return self.poll().await,
            }
        }
    }

    /// Shows what one stream brings; `None` when that was all.
    async fn stream(&mut self) -> Result<Option<Ended>, CliError> {
        let mut request = self.request().query("follow", "true");
        if let Some(shown) = self.shown {
            request = request.header(LAST_EVENT_ID, shown.to_string());
        }
        let mut stream = match self.api.client().open(&request).await {
            Ok(Opened::Stream(stream)) => stream,
            Ok(Opened::Answer(answer)) => {
                return match answer.status.as_u16() {
                    204 => Ok(None),
                    // The same for every way to read it.
                    401 | 403 | 410 => Err(self.api.refusal(&answer)),
                    _ if answer.is_temporary() => Ok(Some(Ended::Away(String::new()))),
                    _ => Ok(Some(Ended::Refused)),
                };
            }
            Err(failure) if failure.is_temporary() => {
                return Ok(Some(Ended::Away(failure.to_string())));
            }
            Err(failure) => return Err(self.api.unreachable(&failure)),
        };
        let mut fruitful = false;
        loop {
            match stream.next().await {
                Ok(Some(frames)) => {
                    for frame in frames {
                        fruitful = true;
                        if self.take(&frame)? {
                            return Ok(None);
                        }
                    }
                    self.out.flush()?;
                }
                Ok(None) => return Ok(Some(Ended::Cut { fruitful })),
                Err(failure) if failure.is_timeout() => {
                    return Ok(Some(Ended::Silent { fruitful }));
                }
                Err(failure) if failure.is_temporary() => {
                    return Ok(Some(Ended::Cut { fruitful }));
                }
                Err(failure) => return Err(self.api.unreachable(&failure)),
            }
        }
    }

    /// Shows a frame; says whether it was the last one.
    fn take(&mut self, frame: &Frame) -> Result<bool, CliError> {
        match frame.event.as_str() {
            "log" => {
                if let Ok(line) = serde_json::from_str(&frame.data) {
                    self.show(&line)?;
                }
            }
            "gap" => {
                if let Ok(gap) = serde_json::from_str::<StreamGap>(&frame.data) {
                    self.out.note(text::clean(&gap.reason));
                }
            }
            "end" => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    /// Reads until the job has ended, and once more for its last lines.
    async fn poll(&mut self) -> Result<(), CliError> {
        let mut backoff = Backoff::new(POLL / 2, POLL * 4);
        let mut failures = 0;
        loop {
            let ended = match self.api.client().send(&self.job_request()).await {
                Ok(answer) if answer.status.is_success() => {
                    let job = self.api.parse(&answer)?;
                    model::outcome(&job.value).is_some()
                }
                Ok(answer) if !answer.is_temporary() => return Err(self.api.refusal(&answer)),
                _ => false,
            };
            if ended {
                // The last lines come by another way than the end.
                tokio::time::sleep(POLL / 2).await;
            }
            match self.api.client().send(&self.read_request()).await {
                Ok(answer) if !answer.is_temporary() => {
                    self.show_all(&answer)?;
                    self.out.flush()?;
                    if ended {
                        return Ok(());
                    }
                    failures = 0;
                    backoff.reset();
                    tokio::time::sleep(POLL).await;
                }
                Ok(answer) if failures >= PATIENCE => return Err(self.api.refusal(&answer)),
                Err(failure) if failures >= PATIENCE || !failure.is_temporary() => {
                    return Err(self.api.unreachable(&failure));
                }
                _ => {
                    failures += 1;
                    tokio::time::sleep(backoff.delay(rand::random())).await;
                }
            }
        }
    }

    fn job_request(&self) -> Request {
        Request::get(format!("/v1/jobs/{}", self.id))
    }
}
