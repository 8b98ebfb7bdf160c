//! Options of submitting commands that name a callback.

use std::fmt::Write as _;

use clap::Args;
use vmctl_api_types::{Callback, CallbackEvent};

use crate::text;

/// Whom to tell of the job's end.
#[derive(Debug, Args)]
pub struct CallbackArgs {
    /// Call this address when the job has ended; https and public unless the operator says otherwise
    #[arg(long, value_name = "URL")]
    pub callback_url: Option<String>,
    /// Name of the secret that signs the call [default: default]
    #[arg(long, value_name = "NAME", requires = "callback_url")]
    pub callback_secret: Option<String>,
    /// Send output and error with the call
    #[arg(long, requires = "callback_url")]
    pub callback_full: bool,
}

impl CallbackArgs {
    /// Returns what is submitted.
    pub fn callback(&self) -> Option<Callback> {
        Some(Callback {
            url: self.callback_url.clone()?,
            events: vec![CallbackEvent::Terminal],
            secret_ref: self
                .callback_secret
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
            full: self.callback_full,
        })
    }

    /// Returns the options as they are written in a shell, each after a space.
    pub fn words(&self) -> String {
        let mut words = String::new();
        let options = [
            ("--callback-url", &self.callback_url),
            ("--callback-secret", &self.callback_secret),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                // Writing into a String cannot fail.
                let _ = write!(words, " {option} {}", text::shell_word(value));
            }
        }
        if self.callback_full {
            words.push_str(" --callback-full");
        }
        words
    }
}
