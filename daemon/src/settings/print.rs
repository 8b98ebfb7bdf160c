//! Prints the effective settings as TOML that may be shown to anyone.

use std::fmt::Write;

use super::value::{Form, elements};
use super::{Setting, Source, Values};

/// The effective settings as TOML. It can be used as a settings file; what is secret or absent is
/// a comment.
pub fn effective(values: &Values) -> String {
    let mut out = String::new();
    let mut section = "";
    for setting in in_file_order(values.settings()) {
        let (of, key) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        if of != section {
            section = of;
            // Writing to a string cannot fail.
            let _ = writeln!(out, "\n[{section}]");
        }
        let _ = writeln!(out, "{}", line(setting, key, values));
    }
    out
}

/// Keys of no section come first: a key after a section's head belongs to the section.
pub(crate) fn in_file_order(settings: &[Setting]) -> Vec<&Setting> {
    let mut order: Vec<&Setting> = settings.iter().collect();
    let mut sections: Vec<&str> = vec![""];
    for setting in settings {
        let section = section_of(setting);
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    order.sort_by_key(|setting| {
        sections
            .iter()
            .position(|section| *section == section_of(setting))
    });
    order
}

fn section_of(setting: &Setting) -> &'static str {
    setting
        .key
        .rsplit_once('.')
        .map_or("", |(section, _)| section)
}

fn line(setting: &Setting, key: &str, values: &Values) -> String {
    let Some((text, source)) = values.found(setting) else {
        let state = if setting.optional {
            "not set"
        } else {
            "REQUIRED, not set"
        };
        return format!("# {key}: {state}");
    };
    let from = match source {
        Source::Default(_) => String::new(),
        source => format!(" # {source}"),
    };
    match (setting.shown)(text) {
        Some(shown) if shown == text => format!("{key} = {}{from}", toml_of(setting.form, text)),
        Some(shown) => format!("# {key}: {}, redacted{from}", toml_of(setting.form, &shown)),
        None => format!("# {key}: set, not shown{from}"),
    }
}

fn toml_of(form: Form, text: &str) -> String {
    match form {
        Form::Bare => text.to_owned(),
        Form::Text => toml::Value::from(text).to_string(),
        Form::List => toml::Value::from(elements(text).collect::<Vec<_>>()).to_string(),
    }
}
