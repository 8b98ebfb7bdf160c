//! What a job writes to its log.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::JobState;

/// Where a line of a job's log comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// The standard output of a program.
    Stdout,
    /// The standard error of a program.
    Stderr,
    /// The worker itself. Also what a newer version has another word for.
    #[default]
    #[serde(other)]
    Log,
}

/// One line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// Names the line: `<epoch>.<attempt>.<seq>.<number>`. Later lines have greater numbers.
    #[cfg_attr(feature = "openapi", schema(value_type = String, examples("0.1.3.17")))]
    pub id: LineId,
    /// When the worker said it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub time: Timestamp,
    /// Where it comes from.
    #[serde(default)]
    pub stream: LogStream,
    /// The line, at most 1024 bytes, as the worker sent it: it may hold control characters.
    pub text: String,
}

/// The last frame, `end`, of a log that is followed: the job has ended and its lines were sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogEnd {
    /// The state in which the job ended.
    pub state: JobState,
}

/// Names one line of a job's log, and orders them: by the run, the try, the command that the worker
/// was on, and the number inside that command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId {
    /// The run, from 0.
    pub epoch: u32,
    /// The try inside the run, from 1.
    pub attempt: u32,
    /// The command inside the try.
    pub seq: u32,
    /// The line inside the command, from 1. Numbers that are missing are lines that were dropped.
    pub number: u32,
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            epoch,
            attempt,
            seq,
            number,
        } = self;
        write!(f, "{epoch}.{attempt}.{seq}.{number}")
    }
}

/// A text that names no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line is named by four numbers with dots between them")]
pub struct ParseLineIdError;

impl FromStr for LineId {
    type Err = ParseLineIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split('.').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u32>().ok().filter(|_| digits)
        });
        let mut next = || numbers.next().flatten().ok_or(ParseLineIdError);
        let id = Self {
            epoch: next()?,
            attempt: next()?,
            seq: next()?,
            number: next()?,
        };
        match numbers.next() {
            None => Ok(id),
            Some(_) => Err(ParseLineIdError),
        }
    }
}

impl Serialize for LineId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LineId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_named_by_four_numbers() {
        let id: LineId = "0.1.3.17".parse().unwrap();
        assert_eq!((id.attempt, id.seq, id.number), (1, 3, 17));
        assert_eq!(id.to_string(), "0.1.3.17");
        assert!(id > "0.1.3.9".parse().unwrap() && id < "0.2.0.1".parse().unwrap());
        for bad in [
            "",
            "1",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.+4",
            "1.2.3.4294967296",
            "a.b.c.d",
        ] {
            assert_eq!(bad.parse::<LineId>(), Err(ParseLineIdError), "{bad}");
        }
    }

    #[test]
    fn a_stream_of_a_newer_version_is_no_error() {
        let read = |word: &str| serde_json::from_str::<LogStream>(word).unwrap();
        assert_eq!(read("\"stderr\""), LogStream::Stderr);
        assert_eq!(read("\"syslog\""), LogStream::Log);
    }
}
