//! Options of submitting commands that say beside which jobs the job must not run.

use clap::{Args, ValueEnum};
use vmctl_api_types::{SubmitRequest, UniqueRequest};

use crate::text;

/// A name that one live job of the project may have at a time.
#[derive(Debug, Default, Args)]
pub struct UniqueArgs {
    /// Name that one live job of the project may have at a time; vm create has vm:HOSTNAME, in small letters
    #[arg(long, value_name = "KEY")]
    pub unique: Option<String>,
    /// What to do while another job has the name of --unique: refuse, return that job, or run after it [default: reject]
    #[arg(
        long,
        value_name = "WHAT",
        requires = "unique",
        hide_possible_values = true
    )]
    pub on_conflict: Option<OnConflict>,
}

/// What to do while another job has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnConflict {
    /// Refuse
    Reject,
    /// Return that job
    Return,
    /// Run after it
    Queue,
}

impl OnConflict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Return => "return",
            Self::Queue => "queue",
        }
    }
}

impl UniqueArgs {
    /// Writes the options into a request. The server checks them.
    pub fn apply(&self, body: &mut SubmitRequest) {
        body.unique = self.unique.as_ref().map(|key| UniqueRequest {
            key: key.clone(),
            scope: None,
            on_conflict: self.on_conflict.map(|what| what.as_str().to_owned()),
        });
    }

    /// Returns the options as they are written on a command line, each with a space before it.
    pub fn words(&self) -> String {
        let key = self.unique.as_ref();
        let key = key.map(|key| format!(" --unique {}", text::shell_word(key)));
        let what = self.on_conflict.map(OnConflict::as_str);
        let what = what.map(|what| format!(" --on-conflict {what}"));
        key.into_iter().chain(what).collect()
    }
}
