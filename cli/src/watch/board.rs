//! All followed jobs, as they are known right now. Pure; renderers only read it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use vmctl_api_types::{Job, JobId};

use super::{
    model::{self, Outcome},
    poll::{End, Link},
};
use crate::{error::CliError, exit::Exit, submit, text};

/// One followed job.
#[derive(Debug)]
pub struct Row {
    /// Its id.
    pub id: JobId,
    /// The job, once it was read.
    pub job: Option<Job>,
    /// The job as the server sent it.
    pub raw: Option<Value>,
    /// How following it ended.
    pub end: Option<End>,
    /// Whether the connection is lost.
    pub lost: bool,
    /// How far the server's clock is ahead of ours.
    pub ahead: SignedDuration,
}

impl Row {
    /// Starts a row about which nothing is known.
    pub const fn new(id: JobId) -> Self {
        Self {
            id,
            job: None,
            raw: None,
            end: None,
            lost: false,
            ahead: SignedDuration::ZERO,
        }
    }

    /// Returns `7fda68b7 lxabc01`.
    pub fn name(&self) -> String {
        match &self.job {
            Some(job) => format!("{} {}", text::short_id(self.id), submit::label(job)),
            None => text::short_id(self.id),
        }
    }

    /// Returns the word for where it stands.
    pub fn word(&self) -> &'static str {
        match (&self.end, &self.job) {
            (Some(End::Outcome(Outcome::Unknown)), _) => "outcome unknown",
            (Some(End::Outcome(outcome)), _) => outcome.as_str(),
            (Some(End::Missing(_)), _) => "not found",
            (_, Some(job)) => model::word(job),
            (_, None) => "unknown",
        }
    }

    /// Returns how long the job has lived, by the server's clock.
    pub fn elapsed(&self, now: Timestamp) -> Option<Duration> {
        let job = self.job.as_ref()?;
        let until = job
            .finished_at
            .unwrap_or(now.saturating_add(self.ahead).unwrap_or(now));
        Some(submit::age(job.created_at, until))
    }

    /// Returns what must change for a new line to be worth reading: not the percentage, which
    /// changes every second.
    pub fn facts(&self) -> Facts {
        let job = self.job.as_ref();
        Facts {
            word: self.word(),
            step: job.and_then(model::step),
            attempt: job.map_or(0, |job| job.attempt),
            epoch: job.map_or(0, |job| job.epoch),
        }
    }

    /// Returns the exit code that this job alone would give.
    pub fn exit(&self) -> Exit {
        match &self.end {
            Some(End::Outcome(outcome)) => outcome.exit(),
            Some(End::Missing(error) | End::Denied(error)) => error.exit,
            None => Exit::StillRunning,
        }
    }

    /// Returns the lines that explain a bad end, or tell what came out of a good one.
    pub fn epilogue(&self) -> Vec<String> {
        let Some(job) = &self.job else {
            return Vec::new();
        };
        match &self.end {
            Some(End::Outcome(Outcome::Succeeded)) => match &job.output {
                Some(Value::Object(output)) => output
                    .iter()
                    .take(20)
                    .map(|(name, value)| format!("{} {}", text::clean(name), model::scalar(value)))
                    .collect(),
                _ => Vec::new(),
            },
            Some(End::Outcome(outcome @ (Outcome::Failed | Outcome::Unknown))) => {
                let mut lines = Vec::new();
                lines.extend(job.error.as_ref().map(model::error_line));
                if !job.state.is_terminal() {
                    lines.push("its record is gone: nobody can tell how it ended".to_owned());
                }
                lines.extend(
                    job.request_id
                        .as_ref()
                        .map(|id| format!("request {}", text::clean(id))),
                );
                lines.push(format!("history  vmctl job events {}", self.id));
                // Whoever does not know what was done looks before asking again.
                if *outcome == Outcome::Failed {
                    lines.push(format!("retry    vmctl job retry {}", self.id));
                }
                lines
            }
            _ => Vec::new(),
        }
    }
}

/// What a reader of a log wants to know has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The word for the state.
    pub word: &'static str,
    /// The step.
    pub step: Option<String>,
    /// The attempt.
    pub attempt: u32,
    /// The run.
    pub epoch: u32,
}

/// All rows.
#[derive(Debug)]
pub struct Board {
    /// In the order of the command line.
    pub rows: Vec<Row>,
    /// Whether any connection is lost, as it was last told.
    lost: bool,
}

impl Board {
    /// Starts with these jobs.
    pub const fn new(rows: Vec<Row>) -> Self {
        Self { rows, lost: false }
    }

    /// Takes news of one job's connection; returns what to tell. Many jobs lose one server
    /// together, so that only the first loss and the last return are news.
    pub fn link(&mut self, row: usize, link: Link) -> Option<Link> {
        self.rows[row].lost = matches!(link, Link::Lost(_));
        let lost = self.rows.iter().any(|row| row.lost);
        let changed = lost != self.lost;
        self.lost = lost;
        changed.then_some(link)
    }

    /// Says whether the server cannot be reached right now.
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Says whether every job has ended.
    pub fn is_over(&self) -> bool {
        self.rows.iter().all(|row| row.end.is_some())
    }

    /// Returns the ids of jobs that have not ended.
    pub fn unfinished(&self) -> Vec<JobId> {
        self.rows
            .iter()
            .filter(|row| row.end.is_none())
            .map(|row| row.id)
            .collect()
    }

    /// Returns the refusal that ends everything, if there was one.
    pub fn denied(&self) -> Option<&CliError> {
        self.rows.iter().find_map(|row| match &row.end {
            Some(End::Denied(error)) => Some(error),
            _ => None,
        })
    }
}

/// What a followed command reports at its end.
#[derive(Debug)]
pub struct Report {
    /// How the process ends.
    pub exit: Exit,
    rows: Vec<Row>,
}

impl Report {
    /// Makes the report; `timed_out` when jobs were left running.
    pub fn new(board: Board, timed_out: bool) -> Self {
        let exits: Vec<Exit> = board.rows.iter().map(Row::exit).collect();
        let exit = if timed_out {
            Exit::StillRunning
        } else {
            model::combine(&exits)
        };
        Self {
            exit,
            rows: board.rows,
        }
    }

    /// Makes the report of a person who left.
    pub fn detached(board: Board, exit: Exit) -> Self {
        Self {
            exit,
            rows: board.rows,
        }
    }

    /// Returns one line of result for each job.
    pub fn lines(&self) -> Vec<String> {
        self.rows
            .iter()
            .map(|row| format!("{}  {}", row.id, row.word()))
            .collect()
    }

    /// Returns one result object, or a list of them if there were several jobs.
    pub fn to_json(&self) -> Value {
        let result = |row: &Row| {
            json!({
                "id": row.id,
                "outcome": match &row.end {
                    Some(End::Outcome(outcome)) => outcome.as_str(),
                    Some(End::Missing(_)) => "not-found",
                    Some(End::Denied(_)) | None => "unfinished",
                },
                "exit_code": row.exit().code(),
                "job": row.raw,
            })
        };
        match self.rows.as_slice() {
            [row] => result(row),
            rows => json!({
                "items": rows.iter().map(result).collect::<Vec<_>>(),
                "exit_code": self.exit.code(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::model::tests::job, *};

    fn row(change: &Value, end: Option<End>) -> Row {
        let job = job(change);
        Row {
            job: Some(job.clone()),
            end,
            ..Row::new(job.id)
        }
    }

    #[test]
    fn only_what_a_reader_wants_is_a_change() {
        let one = row(&json!({}), None).facts();
        let percent = json!({"progress": {"percent": 55, "step": "boot", "step_number": 3, "steps": 5, "at": "2026-11-23T17:44:09Z"}});
        assert_eq!(row(&percent, None).facts(), one);
        assert_ne!(row(&json!({"attempt": 2}), None).facts(), one);
        assert_ne!(
            row(
                &json!({"cancel_requested_at": "2026-11-23T17:44:09Z"}),
                None
            )
            .facts(),
            one
        );
    }

    #[test]
    fn elapsed_follows_the_servers_clock() {
        let now: Timestamp = "2026-11-23T17:44:00Z".parse().unwrap();
        let mut live = row(&json!({}), None);
        assert_eq!(live.elapsed(now), Some(Duration::from_secs(60)));
        live.ahead = SignedDuration::from_secs(600);
        assert_eq!(live.elapsed(now), Some(Duration::from_secs(660)));
        live.ahead = SignedDuration::from_secs(-600);
        assert_eq!(live.elapsed(now), Some(Duration::ZERO));
        let done = row(
            &json!({"state": "succeeded", "finished_at": "2026-11-23T17:43:30Z"}),
            None,
        );
        assert_eq!(done.elapsed(now), Some(Duration::from_secs(30)));
    }

    #[test]
    fn one_server_is_lost_once_for_all_jobs() {
        let mut board = Board::new(vec![row(&json!({}), None), row(&json!({}), None)]);
        let lost = || Link::Lost("gone".into());
        assert_eq!(board.link(0, lost()), Some(lost()));
        assert_eq!(board.link(1, lost()), None);
        assert_eq!(board.link(0, Link::Back), None);
        assert_eq!(board.link(1, Link::Back), Some(Link::Back));
    }

    #[test]
    fn the_report_is_an_object_for_one_job_and_a_list_for_several() {
        let ended = |outcome| row(&json!({}), Some(End::Outcome(outcome)));
        let one = Report::new(Board::new(vec![ended(Outcome::Failed)]), false);
        assert_eq!(
            (one.exit, one.to_json()["outcome"].as_str()),
            (Exit::JobFailed, Some("failed"))
        );
        let two = Report::new(
            Board::new(vec![ended(Outcome::Failed), ended(Outcome::Succeeded)]),
            false,
        );
        assert_eq!(
            (two.exit, two.to_json()["exit_code"].as_i64()),
            (Exit::Mixed, Some(13))
        );
        let late = Report::new(
            Board::new(vec![ended(Outcome::Failed), row(&json!({}), None)]),
            true,
        );
        assert_eq!(late.exit, Exit::StillRunning);
        assert_eq!(late.to_json()["items"][1]["outcome"], "unfinished");
    }
}
