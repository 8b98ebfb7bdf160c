//! The one place that turns what went wrong into an answer.
//!
//! An [`ApiError`] has two sides: the problem, which the caller gets, and the source, which only the
//! log gets. It becomes a response without a body; the edge (see [`crate::edge`]) adds the request
//! id, writes the body and logs the source, once.

use std::sync::Arc;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use vmctl_api_types::{FieldError, JobId, Problem, ProblemType};
pub(crate) use vmctl_core::error::chain;
use vmctl_core::{
    bus::{BoxError, PublishError},
    identity::IdentityError,
    store::StoreError,
};

/// Media type of every error.
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error answer.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    problem: Problem,
    headers: Vec<(HeaderName, HeaderValue)>,
    source: Option<Arc<BoxError>>,
}

/// What the edge finds in a response that is an error of ours.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub problem: Problem,
    pub source: Option<Arc<BoxError>>,
}

impl ApiError {
    pub fn new(problem_type: ProblemType) -> Self {
        let mut headers = Vec::new();
        match problem_type.status() {
            401 => headers.push((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Keystone"),
            )),
            503 => headers.push((header::RETRY_AFTER, HeaderValue::from_static("2"))),
            _ => {}
        }
        Self(Box::new(Inner {
            problem: Problem::new(problem_type),
            headers,
            source: None,
        }))
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.problem.detail = Some(detail.into());
        self
    }

    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.problem.errors = errors;
        self
    }

    pub fn job(mut self, id: JobId) -> Self {
        self.0.problem.job_id = Some(id);
        self
    }

    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Arc::new(source.into()));
        self
    }

    /// Sets a header, in place of an earlier one of that name.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.retain(|(have, _)| *have != name);
        self.0.headers.push((name, value));
        self
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, seconds.into())
    }

    /// Makes it what the original service answered: status 400 and a one-line reason.
    pub fn compat(mut self, request_error: impl Into<String>) -> Self {
        self.0.problem.status = 400;
        self.0.problem.request_error = Some(request_error.into());
        self
    }

    /// Adds the original service's one-line reason.
    pub fn request_error(mut self, request_error: impl Into<String>) -> Self {
        self.0.problem.request_error = Some(request_error.into());
        self
    }

    /// A validation error with status 400, for the two routes whose clients expect that.
    pub fn bad_fields(errors: Vec<FieldError>) -> Self {
        let mut error = Self::new(ProblemType::Validation).errors(errors);
        error.0.problem.status = 400;
        error
    }

    /// Names a quota policy that is exhausted.
    pub fn violates(mut self, policy: &str) -> Self {
        self.0.problem.violated_policies.push(policy.to_owned());
        self
    }

    /// Says whether it is of this type.
    pub fn is(&self, problem_type: ProblemType) -> bool {
        self.0.problem.problem_type == problem_type.uri()
    }

    pub fn status(&self) -> u16 {
        self.0.problem.status
    }

    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }
}

impl From<ProblemType> for ApiError {
    fn from(problem_type: ProblemType) -> Self {
        Self::new(problem_type)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            // Unreadable data is ours to explain, and the next write may repair it.
            StoreError::Unavailable(_) | StoreError::Full(_) | StoreError::Corrupt(_) => {
                Self::new(ProblemType::StateUnavailable).because(error)
            }
        }
    }
}

/// The same for each of those who share a read.
impl From<Arc<StoreError>> for ApiError {
    fn from(error: Arc<StoreError>) -> Self {
        Self::new(ProblemType::StateUnavailable).because(error)
    }
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Refused => Self::new(ProblemType::LoginRefused),
            IdentityError::Invalid => Self::new(ProblemType::TokenInvalid),
            IdentityError::Unavailable(_) => Self::new(ProblemType::AuthUnavailable).because(error),
        }
    }
}

/// Says what a failed publish means for the job that it was about.
pub(crate) fn publish_error(error: PublishError, job: JobId) -> ApiError {
    match &error {
        e if e.outcome_unknown() => outcome_unknown(job),
        PublishError::Busy => ApiError::new(ProblemType::BusBusy).retry_after(1),
        PublishError::Blocked(_) => ApiError::new(ProblemType::BusUnavailable)
            .detail("the broker takes no jobs right now; nothing was accepted"),
        PublishError::Unroutable => ApiError::new(ProblemType::BusUnavailable)
            .detail("the broker has no queue for the job; nothing was accepted"),
        _ => ApiError::new(ProblemType::BusUnavailable)
            .detail("the broker cannot be reached; nothing was accepted"),
    }
    .because(error)
}

/// The broker may or may not have the command.
pub(crate) fn outcome_unknown(job: JobId) -> ApiError {
    ApiError::new(ProblemType::OutcomeUnknown).job(job).detail(
        "the broker did not say whether it took the job: retry with the same Idempotency-Key; \
         a 404 for the job proves nothing",
    )
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Inner {
            problem,
            headers,
            source,
        } = *self.0;
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        response
            .extensions_mut()
            .insert(Failure { problem, source });
        response
    }
}

/// Names the problem of an error that the framework made.
pub(crate) fn of_status(status: StatusCode) -> ProblemType {
    match status.as_u16() {
        401 => ProblemType::TokenInvalid,
        403 => ProblemType::Forbidden,
        404 => ProblemType::NotFound,
        405 => ProblemType::MethodNotAllowed,
        406 => ProblemType::NotAcceptable,
        408 => ProblemType::RequestTimeout,
        413 => ProblemType::BodyTooLarge,
        414 => ProblemType::UriTooLong,
        415 => ProblemType::UnsupportedMediaType,
        431 => ProblemType::HeadersTooLarge,
        400..=499 => ProblemType::BadRequest,
        503 => ProblemType::Overloaded,
        _ => ProblemType::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_publishes_that_may_have_arrived_are_unknown() {
        let id = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a".parse().unwrap();
        for (error, slug) in [
            (PublishError::Unavailable(None), "bus-unavailable"),
            (PublishError::Blocked("memory".into()), "bus-unavailable"),
            (PublishError::Returned("x".into()), "bus-unavailable"),
            (PublishError::Unroutable, "bus-unavailable"),
            (PublishError::Busy, "bus-busy"),
            (PublishError::Nacked, "outcome-unknown"),
            (PublishError::Lost(None), "outcome-unknown"),
            (
                PublishError::Timeout(std::time::Duration::from_secs(5)),
                "outcome-unknown",
            ),
        ] {
            let answer = publish_error(error, id);
            assert_eq!(answer.problem().problem_type, format!("/problems/{slug}"));
            let unknown = slug == "outcome-unknown";
            assert_eq!(answer.problem().job_id.is_some(), unknown, "{slug}");
        }
    }
}
