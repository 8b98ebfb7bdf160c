//! When a submitted job may start and must have started: the options that submitting commands share.

use clap::Args;
use vmctl_api_types::SubmitRequest;

use super::unique_args::UniqueArgs;
use crate::text;

/// When the job may start, and must have.
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
        self.unique.apply(body);
    }

    /// Returns the options as they are written on a command line, each with a space before it.
    pub fn words(&self) -> String {
        [
            ("run-at", &self.run_at),
            ("start-by", &self.start_by),
            ("deadline", &self.deadline),
        ]
        .into_iter()
        .filter_map(|(name, value)| {
            Some(format!(" --{name} {}", text::shell_word(value.as_ref()?)))
        })
        .chain([self.unique.words()])
        .collect()
    }
}
