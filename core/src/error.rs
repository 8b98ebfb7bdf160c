//! Errors, for people.

use std::error::Error;

/// Returns an error and its causes on one line. A message never repeats its cause, so whoever logs
/// an error says them all.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn every_cause_is_named_once() {
        let error = StoreError::Unavailable("connection refused".into());
        assert_eq!(
            chain(&error),
            "the job store is not available: connection refused"
        );
    }
}
