//! Following jobs until they end, the time is over, or the person leaves.
//!
//! [`stream`] follows by one stream of events where the server and what is before it stream; else
//! [`poll`] decides what to do after each answer, [`follow`] asks the server, [`board`] holds what
//! is known, [`plain`] and [`bar`] show it on stderr. Leaving never touches the jobs.

pub mod bar;
pub mod board;
pub mod follow;
pub mod model;
pub mod plain;
pub mod poll;
pub mod stream;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use vmctl_api_types::JobId;

use self::{
    board::{Board, Report, Row},
    follow::{Follower, News, What},
    poll::{AT_ONCE, End},
    stream::Streamer,
};
use crate::{
    api::Api,
    app::App,
    cli::Progress,
    error::CliError,
    exit::Exit,
    output::Output,
    signals::Signals,
    submit::{self, Accepted},
};

/// Jobs that one command follows at most.
pub const MAX_JOBS: usize = 200;

/// How often spinners and clocks move.
const TICK: Duration = Duration::from_millis(100);

/// A job to follow.
#[derive(Debug)]
pub struct Target {
    id: JobId,
    accepted: Option<Accepted>,
}

impl Target {
    /// A job that exists, or does not.
    pub const fn existing(id: JobId) -> Self {
        Self { id, accepted: None }
    }

    /// A job that this command has just submitted.
    pub const fn accepted(accepted: Accepted) -> Self {
        Self {
            id: accepted.job.value.id,
            accepted: Some(accepted),
        }
    }
}

/// Shows progress in one of its ways.
enum Renderer {
    Bar(bar::Screen),
    Plain(plain::Plain),
    None(Output),
}

impl Renderer {
    fn new(out: Output, progress: Progress, rows: usize) -> Self {
        match progress {
            Progress::Bar => Self::Bar(bar::Screen::new(out, rows)),
            Progress::Auto | Progress::Plain => Self::Plain(plain::Plain::new(out, rows)),
            Progress::None => Self::None(out),
        }
    }

    fn show(&mut self, number: usize, row: &Row) {
        match self {
            Self::Bar(screen) => screen.show(number, row),
            Self::Plain(plain) => plain.show(number, row),
            // Why a job failed is no progress: it is said in any case.
            Self::None(out) if row.end.is_some() && row.exit() != Exit::Ok => {
                out.warn(format!("{} {}", row.name(), row.word()));
                for line in row.epilogue() {
                    out.warn(format!("  {line}"));
                }
            }
            Self::None(_) => {}
        }
    }

    fn say(&mut self, text: &str) {
        match self {
            Self::Bar(screen) => screen.say(text),
            Self::Plain(plain) => plain.say(text),
            Self::None(out) => out.trace(text),
        }
    }

    fn tick(&mut self, board: &Board) {
        match self {
            Self::Bar(screen) => screen.tick(board),
            Self::Plain(plain) => plain.tick(board),
            Self::None(_) => {}
        }
    }

    fn close(&self) {
        if let Self::Bar(screen) = self {
            screen.close();
        }
    }
}

/// Why following stopped.
enum Stop {
    Over,
    TimedOut,
    Signal(Exit),
}

/// Follows jobs and reports how they ended. A refusal of the server (401, 403, …) is an error,
/// with the command that resumes.
pub fn run(
    app: &App,
    api: &Api,
    mut signals: Signals,
    targets: Vec<Target>,
    timeout: Option<Duration>,
    progress: Progress,
) -> Result<Report, CliError> {
    let mut board = Board::new(targets.iter().map(|target| Row::new(target.id)).collect());
    let mut renderer = Renderer::new(app.out, progress, targets.len());
    let stop = app.block_on(watch(
        api,
        &mut signals,
        targets,
        timeout,
        &mut board,
        &mut renderer,
    ))?;
    renderer.close();
    match stop {
        Stop::Signal(exit) => {
            leave(app, &board, "Detached");
            Ok(Report::detached(board, exit))
        }
        Stop::TimedOut => {
            leave(app, &board, "Timeout");
            Ok(Report::new(board, true))
        }
        Stop::Over => match board.denied().cloned() {
            Some(mut error) => {
                let ids: Vec<JobId> = board
                    .rows
                    .iter()
                    .filter(|row| !matches!(row.end, Some(End::Outcome(_) | End::Missing(_))))
                    .map(|row| row.id)
                    .collect();
                error.why.push("the jobs keep running".to_owned());
                error
                    .next
                    .push(submit::afterwards(app, &ids)[0].trim_start().to_owned());
                Err(error)
            }
            None => conclude(app, board),
        },
    }
}

/// A single job that does not exist is an error with its cause; among several it is a result.
fn conclude(app: &App, board: Board) -> Result<Report, CliError> {
    if let [row] = board.rows.as_slice()
        && let Some(End::Missing(error)) = &row.end
        && !app.out.is_json()
    {
        return Err(error.clone());
    }
    Ok(Report::new(board, false))
}

/// Says what was left and how to come back to it.
fn leave(app: &App, board: &Board, why: &str) {
    let ids = board.unfinished();
    let what = match ids.as_slice() {
        [] => return,
        // What is not seen is not claimed.
        _ if board.is_lost() => {
            format!("{why}. The server cannot be reached; leaving stops no job.")
        }
        [id] => format!("{why}. Job {id} keeps running."),
        several => format!("{why}. {} jobs keep running.", several.len()),
    };
    app.out.warn(what);
    for line in submit::afterwards(app, &ids) {
        app.out.warn(line);
    }
}

async fn watch(
    api: &Api,
    signals: &mut Signals,
    targets: Vec<Target>,
    timeout: Option<Duration>,
    board: &mut Board,
    renderer: &mut Renderer,
) -> Stop {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let pace = poll::pace(targets.len());
    let (send, mut receive) = mpsc::channel::<News>(64);
    let mut waiting = Vec::new();
    for (row, target) in targets.into_iter().enumerate() {
        let mut follower = Follower {
            row,
            id: target.id,
            etag: None,
            submitted: target.accepted.is_some(),
            seen: false,
            lost: false,
            pace,
            permits: Arc::clone(&permits),
        };
        if let Some(accepted) = target.accepted {
            let ended = model::outcome(&accepted.job.value);
            board.rows[row].end = ended.map(End::Outcome);
            board.rows[row].job = Some(accepted.job.value);
            board.rows[row].raw = Some(accepted.job.raw);
            renderer.show(row, &board.rows[row]);
            if ended.is_some() {
                continue;
            }
            follower.etag = accepted.etag;
        }
        waiting.push(follower);
    }
    let mut followers = JoinSet::new();
    while !waiting.is_empty() {
        let rest = waiting.split_off(waiting.len().min(stream::JOBS));
        let streamer = Streamer {
            followers: std::mem::replace(&mut waiting, rest),
        };
        followers.spawn(streamer.run(api.clone(), send.clone()));
    }
    drop(send);
    let deadline = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(deadline);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !board.is_over() && board.denied().is_none() {
        tokio::select! {
            biased;
            exit = signals.first() => return Stop::Signal(exit),
            () = &mut deadline => return Stop::TimedOut,
            _ = tick.tick() => renderer.tick(board),
            news = receive.recv() => match news {
                Some(news) => take(news, board, renderer),
                None => return Stop::Over,
            },
        }
    }
    Stop::Over
}

fn take(News { row: number, what }: News, board: &mut Board, renderer: &mut Renderer) {
    match what {
        What::Job(document, ahead) => {
            let row = &mut board.rows[number];
            row.raw = Some(document.raw);
            row.job = Some(document.value);
            row.ahead = ahead;
            // The end of a job is shown once, when the follower has said that it is one.
            if row
                .job
                .as_ref()
                .is_some_and(|job| model::outcome(job).is_none())
            {
                renderer.show(number, row);
            }
        }
        What::Link(link) => {
            if let Some(link) = board.link(number, link) {
                renderer.say(&follow::link_line(&link));
            }
        }
        What::End(end) => {
            let row = &mut board.rows[number];
            let show = !matches!(end, End::Denied(_));
            row.end = Some(end);
            if show {
                renderer.show(number, row);
            }
        }
    }
}
