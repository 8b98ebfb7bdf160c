//! Texts for people: what a server sends is made harmless, and durations are made short.

use std::{fmt::Write as _, time::Duration};

use vmctl_api_types::{JobId, is_unsafe};

/// Longest text of one field that is shown; a server has no reason to send more on one line.
const MAX_CHARS: usize = 1_000;

/// Makes one line out of a text that came from elsewhere. Line breaks become spaces, unsafe
/// characters go, and a long text is cut.
pub fn clean(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_CHARS));
    let mut kept = 0;
    for c in text.chars() {
        let c = if matches!(c, '\n' | '\r' | '\t') {
            ' '
        } else {
            c
        };
        if is_unsafe(c) {
            continue;
        }
        if kept == MAX_CHARS {
            line.push('…');
            break;
        }
        line.push(c);
        kept += 1;
    }
    line.trim_end().to_owned()
}

/// Escapes, inside JSON, the unsafe characters that JSON itself allows: the document means the
/// same, and a terminal sees no control character.
pub fn escape_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_unsafe(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// Returns the first characters of an id, enough to tell jobs apart by eye. A version 7 id begins
/// with its time, so that it needs more of them.
pub fn short_id(id: JobId) -> String {
    let text = id.to_string();
    let length = if id.unix_ms().is_some() { 18 } else { 8 };
    text.chars().take(length).collect()
}

/// Writes a duration as people say it: `41s`, `1m32s`, `2h05m`, `3d04h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Quotes a word for a POSIX shell, where it needs that.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_removed() {
        assert_eq!(clean("a\x1b[31mb\x07\u{9b}2Jc"), "a[31mb2Jc");
        assert_eq!(clean("one\r\ntwo\tthree\n"), "one  two three");
        assert_eq!(clean("abc\u{202e}txt\u{2066}\u{200f}\u{feff}"), "abctxt");
        assert_eq!(clean("été ✓ 日本"), "été ✓ 日本");
        assert_eq!(clean(&"x".repeat(5_000)).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn json_keeps_its_meaning_and_loses_its_control_characters() {
        let value = serde_json::json!({"a": "\u{9b}31m\u{202e}\u{7f}\u{e0001}é"});
        let escaped = escape_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!escaped.contains(['\u{9b}', '\u{202e}', '\u{7f}', '\u{e0001}']));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&escaped).unwrap(),
            value
        );
    }

    #[test]
    fn durations_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (92, "1m32s"),
            (7_500, "2h05m"),
            (274_000, "3d04h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn words_are_quoted_only_when_they_must_be() {
        assert_eq!(shell_word("lxweb01"), "lxweb01");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("it's $x"), r"'it'\''s $x'");
    }

    #[test]
    fn a_short_id_tells_jobs_apart() {
        assert_eq!(
            short_id("7fda68b7-b4de-85a6-99fd-57b019cf19ae".parse().unwrap()),
            "7fda68b7"
        );
        assert_eq!(
            short_id("0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a".parse().unwrap()),
            "0198f2a4-7c1e-7a00"
        );
    }
}
