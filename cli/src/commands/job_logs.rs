//! `vmctl job logs`: the newest lines of a job's log, or the log as it is written.
//!
//! It is followed by a stream, opened again behind the last line when it was cut; where nobody streams,
//! the newest lines are read again and again. Lines are shown without what could steer a terminal.

use std::time::{Duration, Instant};

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
        stream::{Came, Ended, Next, Plan},
    },
};

/// How often the log is read where nobody streams.
const POLL: Duration = Duration::from_secs(2);

/// Rounds without an answer, in a row, before following is given up.
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
        shown: None,
    };
    if !args.follow {
        app.block_on(log.read_once(args.tail))??;
        return Ok(Exit::Ok);
    }
    let mut signals = Signals::listen()?;
    app.block_on(async {
        tokio::select! {
            biased;
            exit = signals.first() => Ok(exit),
            done = log.follow(args.tail) => done.map(|()| Exit::Ok),
        }
    })?
}

/// The log of one job, as far as it was shown.
struct Log<'a> {
    api: &'a Api,
    out: Output,
    id: JobId,
    /// The last line that was shown, or is not wanted.
    shown: Option<LineId>,
}

/// How one round of reading ended.
enum Round {
    /// The job has ended, and all of its lines are shown.
    Over,
    /// There may be more.
    Read,
    /// Something did not answer, or said "later".
    Failed(CliError),
}

/// How long to wait between rounds, and when to give up.
struct Rounds {
    failures: u32,
    backoff: Backoff,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            failures: 0,
            backoff: Backoff::new(POLL / 2, POLL * 4),
        }
    }
}

impl Rounds {
    /// Returns the pause before the next round; `random` is drawn from 0 to 1.
    fn after(&mut self, round: Round, random: f64) -> Result<Option<Duration>, CliError> {
        match round {
            Round::Over => Ok(None),
            Round::Read => {
                *self = Self::default();
                Ok(Some(POLL))
            }
            Round::Failed(error) if self.failures + 1 >= PATIENCE => {
                Err(error.why(format!("{PATIENCE} times in a row; the job goes on")))
            }
            Round::Failed(_) => {
                self.failures += 1;
                Ok(Some(self.backoff.delay(random)))
            }
        }
    }
}

impl Log<'_> {
    fn request(&self) -> Request {
        Request::get(format!("/v1/jobs/{}/logs", self.id))
    }

    fn read_request(&self) -> Request {
        let media = "application/jsonl, application/problem+json";
        self.request().header(header::ACCEPT, media)
    }

    async fn read_once(&mut self, tail: Option<u32>) -> Result<(), CliError> {
        let request = match tail {
            Some(tail) => self.read_request().query("tail", tail.to_string()),
            None => self.read_request(),
        };
        let lines = self.read_patiently(&request).await?;
        lines.iter().try_for_each(|line| self.show(line))
    }

    async fn read_patiently(&self, request: &Request) -> Result<Vec<LogLine>, CliError> {
        let answer = self.api.client().send_patiently(request).await;
        self.lines(&answer.map_err(|failure| self.api.unreachable(&failure))?)
    }

    fn lines(&self, answer: &Answer) -> Result<Vec<LogLine>, CliError> {
        if !answer.status.is_success() {
            return Err(self.api.refusal(answer));
        }
        let lines = answer.body.split(|byte| *byte == b'\n');
        Ok(lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    /// Shows so many of the newest lines, and goes on behind them: what comes from now on is wanted, also
    /// when nothing was shown.
    async fn begin(&mut self, tail: u32) -> Result<(), CliError> {
        let lines = self.read_patiently(&self.read_request()).await?;
        let tail = usize::try_from(tail).unwrap_or(usize::MAX);
        let (skipped, wanted) = lines.split_at(lines.len().saturating_sub(tail));
        self.shown = Some(skipped.last().map(|line| line.id).unwrap_or_default());
        wanted.iter().try_for_each(|line| self.show(line))?;
        self.out.flush()
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

    async fn follow(&mut self, tail: Option<u32>) -> Result<(), CliError> {
        if let Some(tail) = tail {
            self.begin(tail).await?;
        }
        let mut plan = Plan::default();
        loop {
            let Some(ended) = self.stream().await? else {
                return Ok(());
            };
            match plan.decide(&ended, rand::random()) {
                Next::Again(pause) => tokio::time::sleep(pause).await,
                Next::Poll => {
                    if !matches!(ended, Ended::Refused) {
                        self.out.note(format!(
                            "the stream does not hold; reading the log every {} s",
                            POLL.as_secs()
                        ));
                    }
                    return self.poll().await;
                }
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
        let begun = Instant::now();
        let mut came = Came::Nothing;
        loop {
            match stream.next().await {
                Ok(Some(frames)) => {
                    for frame in frames {
                        let shown = self.shown;
                        if self.take(&frame)? {
                            return Ok(None);
                        }
                        let news = self.shown != shown;
                        came = came.max(if news { Came::News } else { Came::Beginning });
                    }
                    self.out.flush()?;
                }
                Ok(None) => return Ok(Some(Ended::Cut(came.in_time(begun.elapsed())))),
                Err(failure) if failure.is_timeout() => return Ok(Some(Ended::Silent(came))),
                Err(failure) if failure.is_temporary() => {
                    return Ok(Some(Ended::Cut(came.in_time(begun.elapsed()))));
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
        let mut rounds = Rounds::default();
        loop {
            let round = self.round().await?;
            match rounds.after(round, rand::random())? {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Ok(()),
            }
        }
    }

    /// Asks for the job, then for its lines. What the job's route does not answer, the lines do not.
    async fn round(&mut self) -> Result<Round, CliError> {
        let job = self.ask(&self.job_request()).await?;
        let ended = match &job {
            Ok(answer) => model::outcome(&self.api.parse(answer)?.value).is_some(),
            Err(_) => false,
        };
        if ended {
            // The last lines come by another way than the end.
            tokio::time::sleep(POLL / 2).await;
        }
        let log = match self.ask(&self.read_request()).await? {
            Ok(answer) => answer,
            Err(error) => return Ok(Round::Failed(error)),
        };
        let lines = self.lines(&log)?;
        lines.iter().try_for_each(|line| self.show(line))?;
        self.out.flush()?;
        Ok(match job {
            Err(error) => Round::Failed(error),
            Ok(_) if ended => Round::Over,
            Ok(_) => Round::Read,
        })
    }

    /// Asks once. What the next request would meet too is an error at once.
    async fn ask(&self, request: &Request) -> Result<Result<Answer, CliError>, CliError> {
        match self.api.client().send(request).await {
            Ok(answer) if answer.status.is_success() => Ok(Ok(answer)),
            Ok(answer) if answer.is_temporary() => Ok(Err(self.api.refusal(&answer))),
            Ok(answer) => Err(self.api.refusal(&answer)),
            Err(failure) if failure.is_temporary() => Ok(Err(self.api.unreachable(&failure))),
            Err(failure) => Err(self.api.unreachable(&failure)),
        }
    }

    fn job_request(&self) -> Request {
        Request::get(format!("/v1/jobs/{}", self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Round {
        Round::Failed(CliError::new(Exit::Unreachable, "the server is away"))
    }

    #[test]
    fn rounds_that_fail_are_further_and_further_apart_and_then_the_last() {
        let mut rounds = Rounds::default();
        // One that succeeds begins anew.
        for _ in 0..3 {
            for n in 1..PATIENCE {
                let pause = rounds.after(failed(), 1.0).unwrap();
                let whole = (POLL / 2 * 2_u32.pow(n - 1)).min(POLL * 4);
                assert_eq!(pause, Some(whole));
            }
            assert_eq!(rounds.after(Round::Read, 1.0).unwrap(), Some(POLL));
        }
        for _ in 1..PATIENCE {
            rounds.after(failed(), 1.0).unwrap();
        }
        let error = rounds.after(failed(), 1.0).unwrap_err();
        assert_eq!(error.exit, Exit::Unreachable);
        assert!(error.why.last().unwrap().contains("10 times in a row"));
        assert_eq!(Rounds::default().after(Round::Over, 1.0).unwrap(), None);
    }
}
