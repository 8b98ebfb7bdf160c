//! Questions to a person: only on a terminal, only when allowed.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use secrecy::SecretString;

use crate::{app::App, error::CliError, exit::Exit, text};

/// Longest answer, in bytes; a password has no reason to be longer.
const MAX_ANSWER: u64 = 4 * 1024;

/// Says whether somebody is there to answer.
pub fn is_interactive(app: &App) -> bool {
    !app.global.no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a line; an empty answer is `None`.
pub fn ask(question: &str) -> Result<Option<String>, CliError> {
    let _ = write!(io::stderr().lock(), "{}: ", text::clean(question));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .take(MAX_ANSWER)
        .read_line(&mut answer)
        .map_err(|error| unreadable(&error))?;
    let answer = answer.trim();
    Ok((!answer.is_empty()).then(|| answer.to_owned()))
}

/// Asks for a secret, without showing it.
pub fn ask_secret(question: &str) -> Result<SecretString, CliError> {
    rpassword::prompt_password(format!("{}: ", text::clean(question)))
        .map(SecretString::from)
        .map_err(|error| unreadable(&error))
}

/// Asks yes or no; anything but yes is no.
pub fn confirm(question: &str) -> Result<bool, CliError> {
    let answer = ask(&format!("{question} [y/N]"))?;
    Ok(answer.is_some_and(|answer| matches!(answer.to_lowercase().as_str(), "y" | "yes")))
}

/// Reads a secret from stdin to its end, without its last line break.
pub fn read_secret() -> Result<SecretString, CliError> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(MAX_ANSWER + 1)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(&error))?;
    if text.len() as u64 > MAX_ANSWER {
        return Err(CliError::new(
            Exit::Usage,
            "the password on stdin is longer than 4 KiB",
        ));
    }
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(CliError::new(
            Exit::NotAuthenticated,
            "the password on stdin is empty",
        ));
    }
    Ok(SecretString::from(password.to_owned()))
}

fn unreadable(error: &io::Error) -> CliError {
    CliError::new(Exit::NotAuthenticated, "the answer cannot be read").why(error.to_string())
}
