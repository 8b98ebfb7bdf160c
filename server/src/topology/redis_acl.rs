//! Users of Redis, as the lines of its ACL file (Redis 7 or later).

use std::fmt::Write as _;

use vmctl_backends::redis::rights::{Component, Grant, PLAIN};

use super::passwords::Passwords;

/// Returns the file. Without passwords nobody can log in as one of its users until they are added.
pub fn file(prefix: &str, passwords: Option<&Passwords>) -> anyhow::Result<String> {
    let mut text = "user default off\n".to_owned();
    for component in Component::ALL {
        let user = format!("{prefix}-{}", component.as_str());
        let password = passwords
            .map(|passwords| passwords.digest(&user))
            .transpose()?;
        let password = password.map_or(String::new(), |digest| format!(" #{digest}"));
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "user {user} on{password} resetchannels ~* -@all {}",
            allowed(PLAIN)
        );
        for Grant { keys, commands } in component.grants() {
            let keys: Vec<_> = keys.iter().map(|key| format!("~{key}")).collect();
            let _ = write!(text, " ({} {})", keys.join(" "), allowed(commands));
        }
        text.push('\n');
    }
    Ok(text)
}

fn allowed(commands: &[&str]) -> String {
    let commands: Vec<_> = commands
        .iter()
        .map(|command| format!("+{command}"))
        .collect();
    commands.join(" ")
}
