//! The fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), which are
//! lists of RFC 9651.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use sfv::{Integer, KeyRef, ListSerializer, StringRef, key_ref, string_ref};
use vmctl_core::store::project::{ProjectLimits, Usage};

/// The policy of submissions in a time.
pub(crate) const SUBMIT: &str = "submit";
/// The policy of jobs that have not ended.
pub(crate) const ACTIVE_JOBS: &str = "active-jobs";

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

const SUBMIT_NAME: &StringRef = string_ref(SUBMIT);
const ACTIVE_NAME: &StringRef = string_ref(ACTIVE_JOBS);
/// What `q` counts for active jobs; requests when it is not said.
const CONCURRENT: &StringRef = string_ref("concurrent-requests");
const Q: &KeyRef = key_ref("q");
const QU: &KeyRef = key_ref("qu");
const W: &KeyRef = key_ref("w");
const R: &KeyRef = key_ref("r");
const T: &KeyRef = key_ref("t");

/// Returns the fields for what a project may have and what it uses. Limits that are not set are not
/// named; without any there is no field.
pub(crate) fn fields(limits: ProjectLimits, usage: Usage) -> Vec<(HeaderName, HeaderValue)> {
    let mut policies = ListSerializer::new();
    let mut states = ListSerializer::new();
    if let Some(rate) = limits.rate {
        let _ = policies
            .bare_item(SUBMIT_NAME)
            .parameter(Q, Integer::from(rate.quota))
            .parameter(W, number(rate.window.as_secs().max(1)))
            .finish();
        let _ = states
            .bare_item(SUBMIT_NAME)
            .parameter(R, number(usage.left))
            .parameter(T, number(seconds(usage.reset)))
            .finish();
    }
    if let Some(most) = limits.active {
        let _ = policies
            .bare_item(ACTIVE_NAME)
            .parameter(Q, number(most))
            .parameter(QU, CONCURRENT)
            .finish();
        let _ = states
            .bare_item(ACTIVE_NAME)
            .parameter(R, number(most.saturating_sub(usage.active)))
            .finish();
    }
    let field = |name, list: Option<String>| {
        let value = HeaderValue::from_str(&list?).ok()?;
        Some((name, value))
    };
    [
        field(POLICY, policies.finish()),
        field(LIMIT, states.finish()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns whole seconds, rounded up: whoever waits so long has waited long enough.
pub(crate) fn seconds(time: Duration) -> u64 {
    time.as_millis()
        .div_ceil(1000)
        .try_into()
        .unwrap_or(u64::MAX)
}

fn number(n: u64) -> Integer {
    Integer::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use vmctl_core::store::project::Rate;

    use super::*;

    fn texts(limits: ProjectLimits, usage: Usage) -> Vec<(String, String)> {
        let text = |(name, value): (HeaderName, HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        fields(limits, usage).into_iter().map(text).collect()
    }

    #[test]
    fn both_policies_are_named_with_what_is_left() {
        let limits = ProjectLimits {
            active: Some(10_000),
            rate: Some(Rate {
                quota: 100,
                window: Duration::from_secs(1),
            }),
        };
        let usage = Usage::new(9_990, Duration::from_millis(70), limits);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            texts(limits, usage),
            [
                pair(
                    "ratelimit-policy",
                    "\"submit\";q=100;w=1, \"active-jobs\";q=10000;qu=\"concurrent-requests\""
                ),
                pair("ratelimit", "\"submit\";r=93;t=1, \"active-jobs\";r=10"),
            ]
        );
        assert_eq!(texts(ProjectLimits::default(), usage), []);
    }
}
