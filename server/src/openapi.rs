//! The OpenAPI document: made from the routes, checked in as `openapi.json`.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, SecurityScheme},
};
use vmctl_api_types::{Job, JobList, LogEnd, Problem, StreamGap};

use crate::routes;

/// Returns the document, without any backend.
pub fn document() -> utoipa::openapi::OpenApi {
    routes::api().into_openapi()
}

/// The document before any route is in it.
pub(crate) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "vmctl",
        description = "Long jobs behind REST: ask for work, get a job to follow, follow it.\n\n\
            To try it here: `POST /v1/connect`, then give `access.token.id` of its answer to \
            *Authorize*.\n\n\
            Every error is `application/problem+json` (RFC 9457); the types are listed at \
            `GET /problems/{slug}`.",
        license(name = "Apache-2.0 OR MIT")
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "connect", description = "Log in"),
        (name = "vmmanagement", description = "Virtual machines, in the words of the original service"),
        (name = "jobs", description = "Submit, follow and cancel jobs"),
        (name = "catalog", description = "What may be asked for"),
        (name = "admin", description = "For those who run the service"),
        (name = "problems", description = "What the `type` of an error means"),
    ),
    // What streams carry beside the one schema that a media type can have.
    components(schemas(Job, JobList, LogEnd, StreamGap)),
    modifiers(&Security)
)]
struct Base;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "token",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-TOKEN",
                "A token that is scoped to a project: `access.token.id` of `POST /v1/connect`, or \
                 one from Keystone. `X-Auth-Token` and `Authorization: Bearer` are understood as \
                 well.",
            ))),
        );
    }
}

/// Answers of routes that ask Keystone.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "read by the derive only")]
pub(crate) enum Unavailable {
    /// Keystone cannot be asked, or the server is busy; `Retry-After` says when to try again
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Answers of routes that need a token.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "read by the derive only")]
pub(crate) enum SignedIn {
    /// No token, or one that is not valid
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// Keystone cannot be asked, or the server is busy; `Retry-After` says when to try again
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Answers of routes that need a token with a project and a role.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "read by the derive only")]
pub(crate) enum Guarded {
    /// No token, or one that is not valid
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// The token has no project, or not the role
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// A service behind the server is not available; `Retry-After` says when to try again
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Answers of routes that name a job.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "read by the derive only")]
pub(crate) enum Absent {
    /// No such job in this project
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The record was kept for its time and is gone
    #[response(status = 410, content_type = "application/problem+json")]
    Expired(Problem),
}

/// Answers of routes that accept a job.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "read by the derive only")]
pub(crate) enum SubmissionProblems {
    /// A request with this `Idempotency-Key` is under way, or another job has the `unique` key
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// The body is larger than 64 KiB
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not declared as JSON
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// The project submits too fast, or has too many active jobs; `Retry-After` says when to try again
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `VMCTL_UPDATE=1` writes the file anew.
    #[test]
    fn t18_the_checked_in_document_is_the_one_that_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let document = document().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("VMCTL_UPDATE").is_some_and(|v| v == "1") {
            std::fs::write(path, &document).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == document,
            "server/openapi.json differs from the code: run the tests with VMCTL_UPDATE=1"
        );
    }
}
