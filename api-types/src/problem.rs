//! Errors on the wire: `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};

use crate::JobId;

/// One error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `/problems/<slug>`; the slugs are [`ProblemType`].
    #[serde(rename = "type")]
    pub problem_type: String,
    /// One line for people, the same for every problem of this type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this very request, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The path that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Identifies the request in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// The job it is about, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// Every field that is wrong, all at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The original service's one-line reason, on `/v1/vm` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_error: Option<String>,
    /// Names of the quota policies that are exhausted, as in the field `RateLimit-Policy`.
    #[serde(
        default,
        rename = "violated-policies",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub violated_policies: Vec<String>,
}

/// The `type` of a quota that is exhausted, as registered with IANA by the `RateLimit` fields
/// (draft-ietf-httpapi-ratelimit-headers, section 6).
pub const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) into the body.
    pub pointer: String,
    /// The rule that it breaks: `required`, `type`, `enum`, `pattern`, `unknown-field`, …
    pub code: String,
    /// The rule in words.
    pub detail: String,
}

macro_rules! problem_types {
    ($($(#[doc = $doc:literal])+ $variant:ident = ($slug:literal, $status:literal, $title:literal),)+) => {
        /// Every problem type, with its slug, its status and its title.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemType {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ProblemType {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the last segment of the `type` member.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$variant => $slug),+ }
            }

            /// Returns the HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// Returns the `title` member.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// Returns what it means, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

problem_types! {
    /// The body is not one JSON document in UTF-8, or nests deeper than 64.
    MalformedJson = ("malformed-json", 400, "The body is not valid JSON"),
    /// An object of the body has a key twice.
    DuplicateKey = ("duplicate-key", 400, "The body has a key twice"),
    /// The path holds a text that is not a job id.
    BadId = ("bad-id", 400, "Not a job id"),
    /// A query parameter cannot be used.
    BadQuery = ("bad-query", 400, "A query parameter is not valid"),
    /// A header cannot be used: two different tokens, a bad `Idempotency-Key`, a bad `Prefer`.
    BadHeader = ("bad-header", 400, "A header is not valid"),
    /// The request is broken in a way that has no name of its own.
    BadRequest = ("bad-request", 400, "The request is not valid"),
    /// A field is missing or wrong; `errors` lists all of them. 400 on `/v1/connect` and `/v1/vm`.
    Validation = ("validation", 422, "The request does not validate"),
    /// A body field that this version does not know.
    UnknownField = ("unknown-field", 422, "Unknown field"),
    /// No kind of that name.
    UnknownKind = ("unknown-kind", 422, "Unknown kind"),
    /// The callback's address is not https, or leads where callbacks may not go.
    CallbackForbidden = ("callback-forbidden", 422, "The callback's address is not allowed"),
    /// The kind is answered at once, at `/v1/sync/{name}`: it is never a job.
    SyncKind = ("sync-kind", 422, "The kind is not a kind of job"),
    /// The `Idempotency-Key` was used with another body.
    IdempotencyMismatch = ("idempotency-mismatch", 422, "The Idempotency-Key was used with another request"),
    /// No token was sent.
    TokenMissing = ("token-missing", 401, "No token"),
    /// The token is malformed, expired, revoked or unknown.
    TokenInvalid = ("token-invalid", 401, "The token is not valid"),
    /// User name or password is wrong.
    LoginRefused = ("login-refused", 401, "User name or password refused"),
    /// The token is valid, but not for this: no project, or not the role.
    Forbidden = ("forbidden", 403, "Not allowed"),
    /// No such path.
    NotFound = ("not-found", 404, "Not found"),
    /// No machine of that name in this project.
    MachineNotFound = ("machine-not-found", 404, "No such machine"),
    /// No such job for this project.
    JobNotFound = ("job-not-found", 404, "No such job"),
    /// The path exists, but not with this method.
    MethodNotAllowed = ("method-not-allowed", 405, "Method not allowed"),
    /// No representation that `Accept` allows.
    NotAcceptable = ("not-acceptable", 406, "Not acceptable"),
    /// The client took too long to send its request.
    RequestTimeout = ("request-timeout", 408, "The request took too long to arrive"),
    /// A request with the same `Idempotency-Key` is under way.
    IdempotencyInFlight = ("idempotency-in-flight", 409, "A request with this Idempotency-Key is under way"),
    /// Another job of the project has the unique key; `job_id` names it.
    Duplicate = ("duplicate", 409, "Another job has this name"),
    /// The job has ended already.
    AlreadyTerminal = ("already-terminal", 409, "The job has ended"),
    /// The job is still live, or has succeeded.
    NotRetryable = ("not-retryable", 409, "The job cannot be run again"),
    /// There is no result: the job has failed or was cancelled.
    JobNotSucceeded = ("job-not-succeeded", 409, "The job has no result"),
    /// The job's record was kept for its time and is gone.
    JobExpired = ("job-expired", 410, "The job's record has expired"),
    /// `If-Match` names an older state.
    PreconditionFailed = ("precondition-failed", 412, "The job has changed"),
    /// The body is larger than 64 KiB.
    BodyTooLarge = ("body-too-large", 413, "The body is too large"),
    /// The URI is longer than 8 KiB.
    UriTooLong = ("uri-too-long", 414, "The URI is too long"),
    /// The body is not declared as JSON.
    UnsupportedMediaType = ("unsupported-media-type", 415, "The body must be application/json"),
    /// Too many login attempts.
    TooManyLogins = ("too-many-logins", 429, "Too many login attempts"),
    /// The project has as many streams open on this server as a project may.
    TooManyStreams = ("too-many-streams", 429, "Too many streams"),
    /// The project has submitted too fast, or has too many active jobs; `violated-policies` says which.
    QuotaExceeded = ("quota-exceeded", 429, "Request cannot be satisfied as assigned quota has been exceeded"),
    /// The headers are larger than 32 KiB.
    HeadersTooLarge = ("headers-too-large", 431, "The headers are too large"),
    /// A bug of the server.
    Internal = ("internal", 500, "Internal error"),
    /// The upstream of a synchronous kind cannot be reached, or its answer cannot be passed on.
    UpstreamFailed = ("upstream-failed", 502, "The upstream is broken"),
    /// The upstream of a synchronous kind is left alone after failures, or has as many requests as it may get.
    UpstreamUnavailable = ("upstream-unavailable", 503, "The upstream is not available right now"),
    /// The upstream of a synchronous kind did not answer in time; whether it did what was asked is not known.
    UpstreamTimeout = ("upstream-timeout", 504, "The upstream did not answer in time"),
    /// Jobs are searched by nobody here: the service has no search cluster.
    SearchNotSetUp = ("search-not-set-up", 501, "Jobs cannot be searched here"),
    /// The search cluster gives no answer, or as many searches as may be are under way. Lists without `q` work.
    SearchUnavailable = ("search-unavailable", 503, "Jobs cannot be searched right now"),
    /// The server has as many requests as it can carry.
    Overloaded = ("overloaded", 503, "The server is busy"),
    /// Keystone cannot be asked.
    AuthUnavailable = ("auth-unavailable", 503, "Tokens cannot be checked right now"),
    /// RabbitMQ cannot be reached or refuses publishers; nothing was accepted.
    BusUnavailable = ("bus-unavailable", 503, "Jobs cannot be accepted right now"),
    /// Too many publishes are waiting for a channel; nothing was accepted.
    BusBusy = ("bus-busy", 503, "Too many submissions at once"),
    /// The broker did not say whether it took the command; retry with the same `Idempotency-Key`.
    OutcomeUnknown = ("outcome-unknown", 503, "It is not known whether the job was accepted"),
    /// The kind's work queue is full; nothing was accepted.
    QueueFull = ("queue-full", 503, "The queue of this kind is full"),
    /// The kind has no work queue on the broker; nothing was accepted.
    KindUnavailable = ("kind-unavailable", 503, "This kind is not available right now"),
    /// The kind takes no jobs for a while, as those who run the service want it; nothing was accepted.
    KindPaused = ("kind-paused", 503, "This kind is paused"),
    /// The view is being rebuilt and does not know this job yet.
    StateRebuilding = ("state-rebuilding", 503, "The view of jobs is being rebuilt"),
    /// Redis cannot be asked.
    StateUnavailable = ("state-unavailable", 503, "The view of jobs is not available"),
}

impl ProblemType {
    /// Returns the `type` member.
    pub fn uri(self) -> String {
        match self {
            Self::QuotaExceeded => QUOTA_EXCEEDED.to_owned(),
            other => format!("/problems/{}", other.slug()),
        }
    }

    /// Finds the type by the `type` member of a [`Problem`].
    pub fn from_uri(uri: &str) -> Option<Self> {
        if uri == QUOTA_EXCEEDED {
            return Some(Self::QuotaExceeded);
        }
        let slug = uri.strip_prefix("/problems/")?;
        Self::ALL.iter().copied().find(|t| t.slug() == slug)
    }

    /// Says whether the same request may succeed later.
    pub const fn is_retryable(self) -> bool {
        matches!(self.status(), 408 | 429 | 502..=504) || matches!(self, Self::IdempotencyInFlight)
    }
}

impl Problem {
    /// Makes a problem of this type, with the type's own status and title.
    pub fn new(problem_type: ProblemType) -> Self {
        Self {
            problem_type: problem_type.uri(),
            title: problem_type.title().to_owned(),
            status: problem_type.status(),
            detail: None,
            instance: None,
            request_id: None,
            retryable: problem_type.is_retryable(),
            job_id: None,
            errors: Vec::new(),
            request_error: None,
            violated_policies: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn slugs_are_unique_and_found_again() {
        let mut seen = HashSet::new();
        for &t in ProblemType::ALL {
            assert!(seen.insert(t.slug()));
            assert_eq!(
                ProblemType::from_uri(&Problem::new(t).problem_type),
                Some(t)
            );
        }
    }
}
