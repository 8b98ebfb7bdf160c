//! What a person reads when a command cannot do its work.
//!
//! Three parts: what failed, why (one line each), and what to do next (commands that can be
//! pasted). The exit code travels with it, so that no caller guesses it from a text.

use serde_json::{Value, json};
use vmctl_api_types::Problem;

use crate::exit::Exit;

/// A command that failed.
#[derive(Debug, Clone)]
pub struct CliError {
    /// How the process ends.
    pub exit: Exit,
    /// What failed.
    pub what: String,
    /// Why, the nearest cause first.
    pub why: Vec<String>,
    /// What to do.
    pub next: Vec<String>,
    /// What the server said, for `-o json`.
    pub problem: Option<Box<Problem>>,
}

impl CliError {
    /// Starts an error with its exit code and what failed.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            why: Vec::new(),
            next: Vec::new(),
            problem: None,
        }
    }

    /// Adds a cause.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why.push(why.into());
        self
    }

    /// Adds something to do.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }

    /// Replaces what failed, and keeps the causes.
    #[must_use]
    pub fn what(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }

    /// Ends the process with another code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The end of a process whose reader went away; nothing is printed about it.
    pub fn broken_pipe() -> Self {
        Self::new(Exit::BrokenPipe, "")
    }

    /// Returns the object that `-o json` prints.
    pub fn to_json(&self) -> Value {
        let mut error = json!({
            "what": self.what,
            "why": self.why,
            "next": self.next,
            "exit_code": self.exit.code(),
        });
        if let Some(problem) = &self.problem
            && let Ok(problem) = serde_json::to_value(problem)
        {
            error["problem"] = problem;
        }
        json!({ "error": error })
    }
}
