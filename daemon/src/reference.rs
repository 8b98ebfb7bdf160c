//! The page of settings, made from the declarations.
//!
//! A program prints its table; the page holds it between two comments, and a test of the program
//! compares them: see [`check`].

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::settings::Setting;

/// The environment variable that makes [`check`] rewrite the page.
pub const UPDATE: &str = "VMCTL_UPDATE";

/// The settings as a Markdown table.
pub fn table(settings: &[Setting]) -> String {
    let mut out = String::from("| variable | key in the file | default | |\n|---|---|---|---|\n");
    for setting in settings {
        let variable = if setting.secret {
            format!("`{}` or `…_FILE`", setting.env())
        } else {
            format!("`{}`", setting.env())
        };
        let default = match setting.default {
            Some(default) => format!("`{default}`"),
            None if setting.optional => "–".into(),
            None => "required".into(),
        };
        let doc: Vec<&str> = setting.doc.lines().map(str::trim).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "| {variable} | `{}` | {default} | {} |",
            setting.key,
            doc.join(" ").replace('|', "\\|")
        );
    }
    out
}

/// Compares what a program printed with the part of the page that is its own, or rewrites that
/// part if `VMCTL_UPDATE` is set. The part stands between `<!-- NAME -->` and `<!-- /NAME -->`.
pub fn check(page: &Path, name: &str, printed: &str) -> Result<(), String> {
    let text = fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text
        .split_once(&open)
        .ok_or_else(|| format!("{} has no {open:?}", page.display()))?;
    let (inside, after) = rest
        .split_once(&close)
        .ok_or_else(|| format!("{} has no {close:?}", page.display()))?;
    if inside == printed {
        return Ok(());
    }
    if std::env::var_os(UPDATE).is_some() {
        let text = format!("{before}{open}{printed}{close}{after}");
        return fs::write(page, text).map_err(|error| format!("{}: {error}", page.display()));
    }
    Err(format!(
        "{} does not say what {name} says; run the test again with {UPDATE}=1",
        page.display()
    ))
}
