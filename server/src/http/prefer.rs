//! The `Prefer` header (RFC 7240).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use vmctl_api_types::ProblemType;

use crate::error::ApiError;

const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Longest wait, in seconds.
const MAX_WAIT: u64 = 60;

/// What the caller prefers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    /// How long an answer may be held back.
    pub wait: Option<Duration>,
    /// Whether unknown fields of a body are ignored.
    pub lenient: bool,
}

impl Prefer {
    /// Reads the header. Unknown preferences are ignored, as they must be; of two equal ones the
    /// first counts; a `wait` that is no number is refused, because silently not waiting would make
    /// a busy loop of its client.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let (mut wait, mut handling, mut respond_async) = (None, None, false);
        let texts = headers
            .get_all(PREFER)
            .iter()
            .filter_map(|v| v.to_str().ok());
        for preference in texts.flat_map(|text| text.split(',')) {
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "wait" => wait = wait.or(Some(value.to_owned())),
                "handling" => handling = handling.or(Some(value.to_ascii_lowercase())),
                "respond-async" => respond_async = true,
                _ => {}
            }
        }
        let wait = wait.map(|text| seconds(&text)).transpose()?;
        Ok(Self {
            wait: wait.filter(|wait| !respond_async && !wait.is_zero()),
            lenient: handling.as_deref() == Some("lenient"),
        })
    }

    /// Returns `Preference-Applied` for the preferences that were honoured.
    pub fn applied(self) -> Option<HeaderValue> {
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let lenient = self.lenient.then(|| "handling=lenient".to_owned());
        let applied: Vec<_> = wait.into_iter().chain(lenient).collect();
        if applied.is_empty() {
            return None;
        }
        HeaderValue::from_str(&applied.join(", ")).ok()
    }

    /// Forgets a wait that could not be honoured.
    pub fn without_wait(self) -> Self {
        Self { wait: None, ..self }
    }

    /// Forgets what means nothing to a request without a body.
    pub fn without_handling(self) -> Self {
        Self {
            lenient: false,
            ..self
        }
    }
}

fn seconds(text: &str) -> Result<Duration, ApiError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits {
        return Err(
            ApiError::new(ProblemType::BadHeader).detail("Prefer: wait takes a number of seconds")
        );
    }
    // Digits that do not fit are a very long wait.
    Ok(Duration::from_secs(
        text.parse().unwrap_or(MAX_WAIT).min(MAX_WAIT),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefer(text: &'static str) -> Result<Prefer, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(PREFER, HeaderValue::from_static(text));
        Prefer::of(&headers)
    }

    #[test]
    fn wait_is_clamped_and_may_be_forbidden() {
        let wait = |text| prefer(text).unwrap().wait.map(|w| w.as_secs());
        assert_eq!(wait("wait=30"), Some(30));
        assert_eq!(wait("Wait = \"5\" , wait=7"), Some(5));
        assert_eq!(wait("wait=3600"), Some(60));
        assert_eq!(wait("wait=99999999999999999999999"), Some(60));
        assert_eq!(wait("wait=30, respond-async"), None);
        assert_eq!(wait("wait=0"), None);
        assert_eq!(wait("return=minimal"), None);
        for bad in ["wait", "wait=soon", "wait=-1", "wait=1.5"] {
            assert_eq!(prefer(bad).unwrap_err().problem().status, 400, "{bad}");
        }
    }

    #[test]
    fn what_was_honoured_is_named() {
        let both = prefer("handling=lenient, wait=3").unwrap();
        assert_eq!(both.applied().unwrap(), "wait=3, handling=lenient");
        assert_eq!(both.without_wait().applied().unwrap(), "handling=lenient");
        assert_eq!(prefer("handling=strict").unwrap().applied(), None);
    }
}
