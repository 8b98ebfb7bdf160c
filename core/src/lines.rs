//! The newest lines of a job's log. Pure.
//!
//! Lines travel beside the log of the broker: they may be lost, come twice and out of order. Each has
//! a name that orders it ([`LineId`]), so that a copy is known by its name and a reader sees them in
//! the order in which they were said. A command that is run again says its lines again under the same
//! names: the first ones are kept.
//!
//! What is kept is bounded by [`MOST`] lines and [`BYTES`] bytes, the newest ones.

use std::collections::BTreeMap;

use jiff::Timestamp;
use vmctl_api_types::{JobId, LineId, LogLine};

use crate::{
    clock::from_unix_ms,
    event::{Event, EventType, SaidLine},
    record::Record,
};

/// Lines of a job that are kept.
pub const MOST: usize = 200;

/// Lines that may be kept beyond [`MOST`], so that not every line costs cleaning up.
pub const SLACK: usize = 40;

/// Bytes of a job's lines that are kept, as JSON.
pub const BYTES: usize = 64 * 1024;

/// Longest line, in bytes; the rest is cut off.
pub const MAX_LINE: usize = 1024;

/// Most lines of one message that are read.
pub const MAX_LINES: usize = 200;

/// Lines of one try of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// The job.
    pub job: JobId,
    /// The run.
    pub epoch: u32,
    /// The try inside the run.
    pub attempt: u32,
    /// The lines.
    pub lines: Vec<LogLine>,
}

impl LogChunk {
    /// Reads the lines of a message; `None` when it is about something else. What no honest worker
    /// says is put right: lines are cut, a time that is still to come is `now`.
    pub fn of(event: &Event, now: Timestamp) -> Option<Self> {
        if event.event_type != EventType::Log {
            return None;
        }
        let data = &event.data;
        let line = |said: &SaidLine| LogLine {
            id: LineId {
                epoch: data.epoch,
                attempt: data.attempt,
                seq: data.seq,
                number: said.n,
            },
            time: from_unix_ms(said.at.min(now).as_millisecond()),
            stream: said.stream,
            text: cut(&said.text, MAX_LINE).to_owned(),
        };
        Some(Self {
            job: event.subject,
            epoch: data.epoch,
            attempt: data.attempt,
            lines: data.lines.iter().take(MAX_LINES).map(line).collect(),
        })
    }

    /// Says whether a record takes the lines; see
    /// [`FoldStore::add_lines`](crate::store::FoldStore::add_lines).
    pub fn belongs_to(&self, record: &Record, late: Timestamp) -> bool {
        let Some(winner) = record.winner.as_ref() else {
            return false;
        };
        let in_time = if winner.state.is_terminal() {
            winner.expires >= late
        } else {
            self.attempt <= winner.attempt.saturating_add(1)
        };
        winner.epoch == self.epoch && in_time
    }
}

/// Returns the beginning of a text, at most so many bytes.
pub fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|&i| text.is_char_boundary(i));
    &text[..end.unwrap_or(0)]
}

/// The lines that are kept of one job.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    kept: BTreeMap<LineId, LogLine>,
    bytes: usize,
}

impl Lines {
    /// Adds lines that are new, and drops the oldest ones beyond the bounds.
    pub fn add(&mut self, lines: &[LogLine]) {
        for line in lines {
            if !self.kept.contains_key(&line.id) {
                self.bytes += weight(line);
                self.kept.insert(line.id, line.clone());
            }
        }
        if self.kept.len() <= MOST + SLACK && self.bytes <= BYTES {
            return;
        }
        while self.kept.len() > MOST || self.bytes > BYTES {
            let Some((_, dropped)) = self.kept.pop_first() else {
                break;
            };
            self.bytes -= weight(&dropped);
        }
    }

    /// Returns the newest lines, oldest first.
    pub fn newest(&self) -> Vec<LogLine> {
        let skip = self.kept.len().saturating_sub(MOST);
        self.kept.values().skip(skip).cloned().collect()
    }
}

/// The bytes of a line as JSON.
fn weight(line: &LogLine) -> usize {
    serde_json::to_vec(line).map_or(0, |json| json.len())
}

#[cfg(test)]
mod tests {
    use vmctl_api_types::{JobState, LogStream};

    use crate::event::{Caller, EventData, JobSpec};

    use super::*;

    const JOB: &str = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a";

    fn line(number: u32, text: &str) -> LogLine {
        LogLine {
            id: LineId {
                number,
                attempt: 1,
                ..LineId::default()
            },
            time: Timestamp::UNIX_EPOCH,
            stream: LogStream::Log,
            text: text.to_owned(),
        }
    }

    fn numbers(lines: &Lines) -> Vec<u32> {
        lines.newest().iter().map(|l| l.id.number).collect()
    }

    #[test]
    fn copies_are_one_line_and_order_is_that_of_names() {
        let mut lines = Lines::default();
        lines.add(&[line(3, "c"), line(1, "a")]);
        lines.add(&[line(2, "b"), line(1, "again")]);
        assert_eq!(numbers(&lines), [1, 2, 3]);
        assert_eq!(lines.newest()[0].text, "a");
    }

    #[test]
    fn the_newest_lines_are_kept_within_both_bounds() {
        let mut lines = Lines::default();
        for number in 1..=1000 {
            lines.add(&[line(number, "x")]);
            assert!(lines.kept.len() <= MOST + SLACK);
        }
        let first = 1001 - u32::try_from(MOST).unwrap();
        assert_eq!(numbers(&lines), (first..=1000).collect::<Vec<_>>());
        let long = "\u{1}".repeat(MAX_LINE);
        for number in 2000..2100 {
            lines.add(&[line(number, &long)]);
            assert!(lines.bytes <= BYTES);
        }
        assert_eq!(numbers(&lines).last(), Some(&2099));
        assert_eq!(lines.bytes, lines.kept.values().map(weight).sum::<usize>());
    }

    #[test]
    fn what_no_honest_worker_says_is_put_right() {
        let now = crate::clock::from_unix_ms(1_795_000_000_000);
        let spec = JobSpec::new(
            JOB.parse().unwrap(),
            "vm.create".parse().unwrap(),
            serde_json::Value::Null,
            now,
            now,
            Caller::default(),
        );
        let mut data = EventData::new(JobState::Running, spec);
        let said = SaidLine {
            n: u32::MAX,
            at: "2999-01-01T00:00:00Z".parse().unwrap(),
            stream: LogStream::Stdout,
            text: "é".repeat(1024 * 1024),
        };
        data.lines = vec![said; 5000];
        let mut event = Event::new(uuid::Uuid::nil(), EventType::Log, "/t", now, data);
        let chunk = LogChunk::of(&event, now).unwrap();
        assert_eq!(chunk.lines.len(), MAX_LINES);
        assert_eq!(chunk.lines[0].time, now);
        assert_eq!(chunk.lines[0].text.len(), MAX_LINE);
        assert_eq!(cut("aé", 2), "a");
        event.event_type = EventType::Progress;
        assert_eq!(LogChunk::of(&event, now), None);
    }
}
