//! `check`: reads the settings and tries the services that they name, and starts nothing.
//!
//! For a person before a start, and for a script before an upgrade: every service is tried, so that one run
//! tells all that is wrong.

use std::fmt::Write as _;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a service may take to answer: longer than any adapter waits by itself.
const DEADLINE: Duration = Duration::from_secs(15);

/// What a service says: nothing, if all is well, or a warning.
type Answer = anyhow::Result<Option<String>>;

/// One service that is tried.
pub struct Check {
    name: &'static str,
    ask: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

impl Check {
    /// Names a service, and says how it is asked; the answer may be a warning.
    pub fn new(name: &'static str, ask: impl Future<Output = Answer> + Send + 'static) -> Self {
        let ask = Box::pin(ask);
        Self { name, ask }
    }
}

/// Tries all at once; returns a line for each, and whether none fails.
pub(crate) async fn all(checks: Vec<Check>) -> (String, bool) {
    let asked: Vec<(_, JoinHandle<_>)> = checks
        .into_iter()
        .map(|check| (check.name, tokio::spawn(timeout(DEADLINE, check.ask))))
        .collect();
    let width = asked.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let (mut text, mut is_well) = (String::new(), true);
    for (name, answer) in asked {
        let (word, reason) = match answer.await {
            Ok(Ok(Ok(None))) => ("ok", String::new()),
            Ok(Ok(Ok(Some(warning)))) => ("degraded", warning),
            Ok(Ok(Err(error))) => ("failing", format!("{error:#}")),
            Ok(Err(_)) => (
                "failing",
                format!("no answer within {} s", DEADLINE.as_secs()),
            ),
            Err(panic) => ("failing", format!("a bug: {panic}")),
        };
        is_well &= word != "failing";
        // Writing to a string never fails.
        let _ = writeln!(
            text,
            "{}",
            format!("{name:width$}  {word:8}  {reason}").trim_end()
        );
    }
    (text, is_well)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_are_asked_and_each_says_how_it_is() {
        let (text, is_well) = all(vec![
            Check::new("settings", async { Ok(None) }),
            Check::new("bus", async { Ok(Some("it is full".to_owned())) }),
        ])
        .await;
        assert_eq!(text, "settings  ok\nbus       degraded  it is full\n");
        assert!(is_well);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_hangs_or_panics_hides_no_other() {
        let (text, is_well) = all(vec![
            Check::new("a", pending()),
            Check::new("b", async { panic!("oh") }),
            Check::new("c", async { anyhow::bail!("refused") }),
            Check::new("d", async { Ok(None) }),
        ])
        .await;
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "a  failing   no answer within 15 s");
        assert!(lines[1].starts_with("b  failing   a bug: "), "{text}");
        assert_eq!(lines[2..], ["c  failing   refused", "d  ok"]);
        assert!(!is_well);
    }
}
