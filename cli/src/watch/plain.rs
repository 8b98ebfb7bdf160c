//! Progress as lines: one for each change, stamped in UTC, never drawn over. For logs, pipes, and
//! people who prefer it.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use vmctl_api_types::JobState;

use super::{
    board::{Board, Facts, Row},
    model,
};
use crate::{
    output::{Output, Tone},
    text,
};

/// How long a log may stay silent while jobs run.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// More unfinished jobs than this share one heartbeat line.
const EACH: usize = 10;

/// Writes lines.
pub struct Plain {
    out: Output,
    shown: Vec<Option<Facts>>,
    last_line: Instant,
}

impl Plain {
    /// Starts with nothing shown.
    pub fn new(out: Output, rows: usize) -> Self {
        Self {
            out,
            shown: vec![None; rows],
            last_line: Instant::now(),
        }
    }

    /// Shows a row, if it has news.
    pub fn show(&mut self, number: usize, row: &Row) {
        let facts = row.facts();
        if self.shown[number].as_ref() == Some(&facts) {
            return;
        }
        self.shown[number] = Some(facts);
        self.line(&line(row, crate::clock::now(), ""));
        if row.end.is_some() {
            for line in row.epilogue() {
                self.line(&format!("  {line}"));
            }
        }
    }

    /// Says something that is about no job in particular.
    pub fn say(&mut self, text: &str) {
        self.line(&format!("{} {text}", stamp(crate::clock::now())));
    }

    /// Says that it is still alive, when nothing else was said for long.
    pub fn tick(&mut self, board: &Board) {
        if self.last_line.elapsed() < HEARTBEAT {
            return;
        }
        let now = crate::clock::now();
        let live: Vec<&Row> = board.rows.iter().filter(|row| row.end.is_none()).collect();
        if live.len() > EACH {
            self.line(&format!(
                "{} {} of {} jobs unfinished",
                stamp(now),
                live.len(),
                board.rows.len()
            ));
        } else {
            for row in live {
                let note = if row.lost {
                    " (reconnecting)"
                } else {
                    " (still running)"
                };
                self.line(&line(row, now, note));
            }
        }
    }

    fn line(&mut self, line: &str) {
        self.last_line = Instant::now();
        self.out.warn(line);
    }
}

/// Writes `2026-11-23T17:44:02Z 7fda68b7 lxabc01 running step=3/5 boot 40% elapsed=41s`.
fn line(row: &Row, now: Timestamp, note: &str) -> String {
    // Writing to a String cannot fail.
    let mut line = format!("{} {} {}", stamp(now), row.name(), row.word());
    if let Some(job) = &row.job {
        if let Some(step) = model::step(job) {
            let _ = write!(line, " step={step}");
        }
        if let Some(progress) = job.progress.as_ref().filter(|_| !job.state.is_terminal()) {
            let _ = write!(line, " {}%", progress.percent.min(100));
        }
        if job.attempt > 1 || job.state == JobState::Retrying {
            let _ = write!(line, " attempt={}/{}", job.attempt, job.max_attempts);
        }
    }
    if let Some(due) = row.job.as_ref().and_then(|job| model::due(job, now)) {
        let _ = write!(line, " {due}");
    }
    if let Some(elapsed) = row.elapsed(now) {
        let _ = write!(line, " elapsed={}", text::duration(elapsed));
    }
    line.push_str(note);
    line
}

fn stamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes how a job ended, for the last line that stays on a terminal.
pub fn last_line(row: &Row, now: Timestamp, out: Output) -> String {
    let (symbol, tone) = match row.exit().code() {
        0 => ("✓", Tone::Good),
        11 => ("-", Tone::Dim),
        _ => ("✗", Tone::Bad),
    };
    let after = row
        .elapsed(now)
        .map(|elapsed| format!(" after {}", text::duration(elapsed)));
    format!(
        "{} {} {}{}",
        out.tint(symbol, tone),
        row.name(),
        out.tint(row.word(), tone),
        after.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::model::tests::job, *};

    #[test]
    fn a_line_says_who_where_and_how_long() {
        let now: Timestamp = "2026-11-23T17:43:41Z".parse().unwrap();
        let row = |change| {
            let job = job(&change);
            Row {
                job: Some(job.clone()),
                ..Row::new(job.id)
            }
        };
        assert_eq!(
            line(&row(json!({})), now, ""),
            "2026-11-23T17:43:41Z 7fda68b7 lxabc01 running step=3/5 boot 40% elapsed=41s"
        );
        assert_eq!(
            line(
                &row(json!({"state": "retrying", "attempt": 2, "progress": null})),
                now,
                " (still running)"
            ),
            "2026-11-23T17:43:41Z 7fda68b7 lxabc01 retrying attempt=2/5 elapsed=41s (still running)"
        );
        let evil = json!({"progress": null, "input": {"vm_hostname": "lx\u{1b}]0;x\u{7}\r\nfake"}});
        assert_eq!(
            line(&row(evil), now, ""),
            "2026-11-23T17:43:41Z 7fda68b7 lx]0;x  fake running elapsed=41s"
        );
    }
}
