//! When a submitted job may start and must have ended, and how often it is tried: the options that submitting
//! commands share.

use clap::Args;
use vmctl_api_types::{RetryRequest, SubmitRequest};

use super::unique_args::UniqueArgs;
use crate::text;

/// When the job may start, must have ended, and how often it is tried.
#[derive(Debug, Default, Args)]
pub struct Timing {
    /// Start the job then: a duration such as 2h, or an instant such as 2026-11-24T06:00:00Z; at most 7 days ahead [default: now]
    #[arg(long, value_name = "WHEN")]
    pub run_at: Option<String>,
    /// Fail the job if no worker has started it by then: as --run-at, counted from there [default: the kind's]
    #[arg(long, value_name = "WHEN")]
    pub start_by: Option<String>,
    /// End the job then at the latest: as --start-by [default: the kind's]
    #[arg(long, value_name = "WHEN")]
    pub deadline: Option<String>,
    /// Stop an attempt that takes longer, and try again: whole seconds such as 90s, or 2h [default: the kind's]
    #[arg(long, value_name = "DUR")]
    pub attempt_timeout: Option<String>,
    /// Fail the job after so many attempts [default: the kind's]
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,
    /// After which other jobs.
    #[command(flatten)]
    pub unique: UniqueArgs,
}

impl Timing {
    /// Writes the options into a request. The server checks them.
    pub fn apply(&self, body: &mut SubmitRequest) {
        body.run_at.clone_from(&self.run_at);
        body.start_by.clone_from(&self.start_by);
        body.deadline.clone_from(&self.deadline);
        body.attempt_timeout.clone_from(&self.attempt_timeout);
        body.retry = self.max_attempts.map(|number| RetryRequest {
            max_attempts: Some(number),
        });
        self.unique.apply(body);
    }

    /// Returns the options as they are written on a command line, each with a space before it.
    pub fn words(&self) -> String {
        let max_attempts = self.max_attempts.map(|number| number.to_string());
        [
            ("run-at", &self.run_at),
            ("start-by", &self.start_by),
            ("deadline", &self.deadline),
            ("attempt-timeout", &self.attempt_timeout),
            ("max-attempts", &max_attempts),
        ]
        .into_iter()
        .filter_map(|(name, value)| {
            Some(format!(" --{name} {}", text::shell_word(value.as_ref()?)))
        })
        .chain([self.unique.words()])
        .collect()
    }
}
