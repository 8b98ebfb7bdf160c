//! The only place that prints.
//!
//! Data goes to stdout and nothing else does; everything for people goes to stderr. A reader of
//! stdout that went away ends the command with its own code; a broken stderr is ignored. Whatever
//! comes from elsewhere is made harmless before it is printed.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
};

use clap::builder::StyledStr;
use comfy_table::{Cell, Table, presets};
use serde_json::Value;
use vmctl_api_types::JobState;

use crate::{
    cli::{Color, Format, Global, Progress},
    error::CliError,
    exit::Exit,
    text,
};

/// Prints, as the global options say.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent options of the command line"
)]
pub struct Output {
    format: Format,
    quiet: bool,
    verbose: bool,
    stdout_color: bool,
    stderr_color: bool,
}

/// What a word means, for its colour; the word itself always says it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Ended well.
    Good,
    /// Ended badly.
    Bad,
    /// On its way.
    Live,
    /// Less important.
    Dim,
}

impl Tone {
    /// Returns the tone of a job state.
    pub const fn of(state: JobState) -> Self {
        match state {
            JobState::Succeeded => Self::Good,
            JobState::Failed => Self::Bad,
            JobState::Cancelled => Self::Dim,
            JobState::Queued | JobState::Running | JobState::Waiting | JobState::Retrying => {
                Self::Live
            }
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Live => "36",
            Self::Dim => "2",
        }
    }
}

/// One cell of a table: what it says, and its tone if it has one.
pub struct Field(String, Option<Tone>);

impl Field {
    /// Makes a cell that is coloured.
    pub fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self(text::clean(text.as_ref()), Some(tone))
    }
}

impl<T: AsRef<str>> From<T> for Field {
    fn from(text: T) -> Self {
        Self(text::clean(text.as_ref()), None)
    }
}

impl Output {
    /// Decides format and colours from the options and the environment.
    pub fn new(global: &Global) -> Self {
        Self {
            format: global.output,
            quiet: global.quiet,
            verbose: global.verbose,
            stdout_color: color(global.color, io::stdout().is_terminal(), env_text),
            stderr_color: color(global.color, io::stderr().is_terminal(), env_text),
        }
    }

    /// For a command line that could not be parsed: what it says about the format still counts.
    pub fn for_usage(arguments: &[OsString]) -> Self {
        let texts: Vec<&str> = arguments.iter().filter_map(|a| a.to_str()).collect();
        let json = texts
            .iter()
            .any(|a| matches!(*a, "-ojson" | "-o=json" | "--output=json"))
            || texts
                .windows(2)
                .any(|w| matches!(w, ["-o" | "--output", "json"]));
        Self {
            format: if json { Format::Json } else { Format::Table },
            quiet: false,
            verbose: false,
            stdout_color: color(Color::Auto, io::stdout().is_terminal(), env_text),
            stderr_color: color(Color::Auto, io::stderr().is_terminal(), env_text),
        }
    }

    /// Says whether results are JSON.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Says whether progress and hints are left out.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Colours a text for stderr, if that has colours.
    pub fn tint(&self, text: &str, tone: Tone) -> String {
        paint(text, Some(tone), self.stderr_color)
    }

    /// Prints one line of data.
    pub fn data(&self, line: impl AsRef<str>) -> Result<(), CliError> {
        write(&format!("{}\n", line.as_ref()))
    }

    /// Prints a text of ours as it is, on stdout.
    pub fn raw(&self, text: &str) -> Result<(), CliError> {
        write(text)
    }

    /// Prints one JSON document.
    pub fn json(&self, value: &Value) -> Result<(), CliError> {
        // The alternate form of a `Value` is indented JSON and cannot fail.
        write(&format!("{}\n", text::escape_json(&format!("{value:#}"))))
    }

    /// Prints rows under upper-case headers, one line each, never wrapped.
    pub fn table<R: IntoIterator<Item = Field>>(
        &self,
        headers: &[&str],
        rows: impl IntoIterator<Item = R>,
    ) -> Result<(), CliError> {
        write(&render(headers, rows, self.stdout_color))
    }

    /// Prints pairs, one a line.
    pub fn pairs(&self, pairs: impl IntoIterator<Item = (String, Field)>) -> Result<(), CliError> {
        let rows = pairs
            .into_iter()
            .map(|(name, field)| [Field::from(format!("{name}:")), field]);
        write(&render(&[], rows, self.stdout_color))
    }

    /// Tells people what happened; `-q` leaves it out.
    pub fn note(&self, line: impl AsRef<str>) {
        if !self.quiet {
            say(line.as_ref());
        }
    }

    /// Tells people what they must know, also under `-q`.
    pub fn warn(&self, line: impl AsRef<str>) {
        say(line.as_ref());
    }

    /// Tells what is asked of the server, under `-v`.
    pub fn trace(&self, line: impl AsRef<str>) {
        if self.verbose {
            say(&text::clean(line.as_ref()));
        }
    }

    /// Prints an error: three parts for people, or one JSON object.
    pub fn error(&self, error: &CliError) {
        if error.exit == Exit::BrokenPipe {
            return;
        }
        if self.is_json() {
            say(&text::escape_json(&error.to_json().to_string()));
            return;
        }
        say(&paint(
            &text::clean(&error.what),
            Some(Tone::Bad),
            self.stderr_color,
        ));
        for why in &error.why {
            say(&format!("  {}", text::clean(why)));
        }
        for next in &error.next {
            say(&format!("  -> {}", text::clean(next)));
        }
    }

    /// Prints help or version.
    pub fn help(&self, help: &StyledStr) -> Result<(), CliError> {
        write(&styled(help, self.stdout_color))
    }

    /// Prints what clap says about a wrong command line.
    pub fn usage_error(&self, message: &StyledStr) {
        if self.is_json() {
            let text = message.to_string();
            let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let what = lines.next().unwrap_or_default();
            let mut error = CliError::new(Exit::Usage, what.trim_start_matches("error: "));
            error.why = lines.map(str::to_owned).collect();
            self.error(&error);
        } else {
            say(styled(message, self.stderr_color).trim_end());
        }
    }

    /// Pushes out what is still buffered on stdout.
    pub fn flush(&self) -> Result<(), CliError> {
        io::stdout().flush().map_err(|error| stdout_failed(&error))
    }
}

fn write(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| stdout_failed(&error))
}

fn say(line: &str) {
    // One write, so that lines of several processes do not mix. Nobody is left to be told that
    // stderr is broken.
    let _ = io::stderr()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}

fn stdout_failed(error: &io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CliError::broken_pipe()
    } else {
        CliError::new(Exit::Config, "the output cannot be written").why(error.to_string())
    }
}

fn styled(text: &StyledStr, color: bool) -> String {
    if color {
        text.ansi().to_string()
    } else {
        text.to_string()
    }
}

fn paint(text: &str, tone: Option<Tone>, color: bool) -> String {
    match tone {
        Some(tone) if color => format!("\x1b[{}m{text}\x1b[0m", tone.code()),
        _ => text.to_owned(),
    }
}

fn render<R: IntoIterator<Item = Field>>(
    headers: &[&str],
    rows: impl IntoIterator<Item = R>,
    color: bool,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // Rows are records: the terminal's width must not break them.
    table.force_no_tty();
    if !headers.is_empty() {
        table.set_header(headers.iter().map(Cell::new));
    }
    // Colour is added after the layout, because escape sequences have no width: the first place of
    // the word in its line is painted.
    let mut tones = Vec::new();
    for row in rows {
        let mut cells = Vec::new();
        let mut tone = None;
        for Field(text, field_tone) in row {
            if let Some(field_tone) = field_tone {
                tone = Some((text.clone(), field_tone));
            }
            cells.push(Cell::new(text));
        }
        tones.push(tone);
        table.add_row(cells);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    let first_row = usize::from(!headers.is_empty());
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        let tone = number
            .checked_sub(first_row)
            .and_then(|n| tones.get(n)?.clone());
        match tone {
            Some((word, tone)) if color => {
                text.push_str(&line.replacen(&word, &paint(&word, Some(tone), true), 1));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn env_text(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Decides whether a stream gets colours; the first rule that applies wins.
fn color(choice: Color, terminal: bool, env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| env(name).is_some_and(|value| !value.is_empty());
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("VMCTL_NO_COLOR") || set("NO_COLOR") => false,
        Color::Auto if env("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0") => true,
        Color::Auto if env("CLICOLOR").is_some_and(|v| v == "0") => false,
        Color::Auto if env("TERM").is_none_or(|v| v.is_empty() || v == "dumb") => false,
        Color::Auto => terminal,
    }
}

/// Decides how progress is shown.
pub fn progress(global: &Global) -> Progress {
    match global.progress {
        _ if global.quiet => Progress::None,
        Progress::Auto => {
            let draws = env_text("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
            if draws && io::stderr().is_terminal() {
                Progress::Bar
            } else {
                Progress::Plain
            }
        }
        // A bar cannot be drawn where the cursor does not move.
        Progress::Bar if !io::stderr().is_terminal() => Progress::Plain,
        chosen => chosen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_follows_the_first_rule_that_applies() {
        type Row = (Color, bool, &'static [(&'static str, &'static str)], bool);
        let table: &[Row] = &[
            (Color::Always, false, &[("NO_COLOR", "1")], true),
            (Color::Never, true, &[("CLICOLOR_FORCE", "1")], false),
            (Color::Auto, true, &[("TERM", "xterm")], true),
            (Color::Auto, false, &[("TERM", "xterm")], false),
            (Color::Auto, true, &[("TERM", "dumb")], false),
            (Color::Auto, true, &[], false),
            (
                Color::Auto,
                true,
                &[("TERM", "xterm"), ("NO_COLOR", "")],
                true,
            ),
            (
                Color::Auto,
                true,
                &[("TERM", "xterm"), ("NO_COLOR", "1")],
                false,
            ),
            (
                Color::Auto,
                false,
                &[("CLICOLOR_FORCE", "1"), ("CLICOLOR", "0")],
                true,
            ),
            (
                Color::Auto,
                true,
                &[("TERM", "xterm"), ("CLICOLOR", "0")],
                false,
            ),
        ];
        for (choice, terminal, vars, expected) in table {
            let env = |name: &str| {
                vars.iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| (*v).to_owned())
            };
            assert_eq!(
                color(*choice, *terminal, env),
                *expected,
                "{choice:?} {terminal} {vars:?}"
            );
        }
    }

    #[test]
    fn a_table_has_no_trailing_spaces_and_never_wraps() {
        let long = "x".repeat(300);
        let rows = [
            [Field::from("a"), Field::toned("failed", Tone::Bad)],
            [Field::from(&long), Field::from("b\x1b[2J\nc")],
        ];
        let text = render(&["ID", "STATE"], rows, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("ID ") && lines[0].ends_with("  STATE"));
        assert!(lines[2].ends_with("  b[2J c"));
        assert!(lines.iter().all(|line| *line == line.trim_end()));
    }

    #[test]
    fn colour_does_not_move_columns() {
        let rows = || [[Field::toned("failed", Tone::Bad), Field::from("x")]];
        let plain = render(&["STATE", "ID"], rows(), false);
        let coloured = render(&["STATE", "ID"], rows(), true);
        assert!(coloured.contains("\x1b[31mfailed\x1b[0m  x"));
        assert_eq!(
            coloured.replace("\x1b[31m", "").replace("\x1b[0m", ""),
            plain
        );
    }
}
