//! How the process ends: one list, documented, frozen.
//!
//! Scripts depend on these numbers; a number is never given another meaning. 2 is clap's, 130, 141
//! and 143 are the shell's, outcomes of jobs have a block of their own.

use std::fmt::Write as _;

macro_rules! exits {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal,)+) => {
        /// The exit codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Exit {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Exit {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the number.
            pub const fn code(self) -> i32 {
                match self { $(Self::$variant => $code),+ }
            }

            /// Returns what it means, in one line.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim()),+ }
            }
        }
    };
}

exits! {
    /// Success; every watched job succeeded
    Ok = 0,
    /// Internal error: a bug
    Internal = 1,
    /// The command line is wrong
    Usage = 2,
    /// The configuration is wrong, or something in the environment prevents the command
    Config = 3,
    /// Not authenticated: no token, expired, or refused
    NotAuthenticated = 4,
    /// Authenticated, but not allowed
    Forbidden = 5,
    /// Not found
    NotFound = 6,
    /// The request was refused: validation, conflict
    Refused = 7,
    /// The job is still running: the timeout was reached
    StillRunning = 8,
    /// Too many requests, also after waiting as asked
    RateLimited = 9,
    /// The job failed
    JobFailed = 10,
    /// The job was cancelled
    JobCancelled = 11,
    /// Unknown outcome: nobody can tell how the job ended, or whether it was accepted
    OutcomeUnknown = 12,
    /// Several jobs with different outcomes
    Mixed = 13,
    /// The credential store cannot be used: absent, locked, or it never answers
    CredentialStore = 14,
    /// The server cannot be reached, or answers with errors
    Unreachable = 20,
    /// The server's answer cannot be understood: another version, or not vmctl's server
    Incompatible = 21,
    /// Detached by Ctrl-C; the job keeps running
    Detached = 130,
    /// The reader of the output went away
    BrokenPipe = 141,
    /// Detached by SIGTERM; the job keeps running
    Terminated = 143,
}

/// Returns the list for `--help`.
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:>3}  {}", exit.code(), exit.meaning());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_frozen() {
        let codes: Vec<i32> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(
            codes,
            [
                0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 20, 21, 130, 141, 143
            ]
        );
        assert!(help().contains("  8  The job is still running"));
    }
}
