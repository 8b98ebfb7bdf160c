//! Who asked for a change, and what came of it: one entry in the log for each request that is not
//! safe (RFC 9110, section 9.2.1).
//!
//! The layer is around every route, so that a route that is added is audited without doing anything.
//! What handlers add is who calls and which job it is about ([`Trail`]). Entries are best effort: an
//! answer never waits for one (see [`recorder`]). What was accepted is safe without its entry: the
//! command in the log says who asked for it.

mod recent;
mod recorder;
mod trail;

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};
use vmctl_api_types::{Audit, AuditOutcome, ProblemType};

use crate::{
    app::App,
    error::Failure,
    http::{client::ClientAddress, request_id::RequestId},
};

pub(crate) use recent::MOST as KEPT;
pub(crate) use recorder::{LANES, Recorder, publish};
pub(crate) use trail::{Trail, who};

/// Routes that change nothing, whatever their method.
const CHANGE_NOTHING: [&str; 1] = ["/v1/testtoken"];

/// Runs a request, and notes how it ended.
pub(crate) async fn layer(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(route) = request.extensions().get::<MatchedPath>().cloned() else {
        return next.run(request).await;
    };
    let method = request.method();
    if !is_audited(method, route.as_str()) {
        return next.run(request).await;
    }
    let trusted = &app.config.trusted_proxies;
    let ClientAddress(from) = ClientAddress::of(request.extensions(), request.headers(), trusted);
    let trail = Trail::from_address(from);
    let id = request.extensions().get::<RequestId>();
    let mut noted = Noted {
        entry: Some(Audit {
            what: what(method, route.as_str()),
            // What stays when the client leaves, or the handler panics.
            outcome: AuditOutcome::Unknown,
            status: None,
            problem: None,
            who: None,
            route: format!("{method} {}", route.as_str()),
            job_id: None,
            kind: None,
            from,
            request_id: id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
        }),
        trail: trail.clone(),
        app: Arc::clone(&app),
    };
    request.extensions_mut().insert(trail);
    let response = next.run(request).await;
    noted.answered(&response);
    response
}

/// An entry that is recorded when the request ends, however it ends.
struct Noted {
    entry: Option<Audit>,
    trail: Trail,
    app: Arc<App>,
}

impl Noted {
    fn answered(&mut self, response: &Response) {
        let Some(entry) = &mut self.entry else { return };
        let failure = response.extensions().get::<Failure>();
        let problem = failure.map(|failure| &failure.problem);
        let status = problem.map_or(response.status().as_u16(), |problem| problem.status);
        entry.outcome = outcome(status, problem.map(|problem| problem.problem_type.as_str()));
        entry.status = Some(status);
        entry.problem = problem.map(|problem| problem.problem_type.clone());
        entry.job_id = problem.and_then(|problem| problem.job_id);
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(mut entry) = self.entry.take()
            && self.trail.complete(&mut entry)
        {
            self.app.audit.record(&self.app, entry);
        }
    }
}

/// Says what came of a request, by its answer.
fn outcome(status: u16, problem: Option<&str>) -> AuditOutcome {
    let known = problem.and_then(ProblemType::from_uri);
    match status {
        _ if known == Some(ProblemType::OutcomeUnknown) => AuditOutcome::Unknown,
        0..400 => AuditOutcome::Accepted,
        // A bug of ours, or an upstream that may have done it before it failed.
        500 | 502 | 504 => AuditOutcome::Unknown,
        _ => AuditOutcome::Refused,
    }
}

fn is_audited(method: &Method, route: &str) -> bool {
    let safe = matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    );
    !safe && !CHANGE_NOTHING.contains(&route)
}

/// Names what a request asks for: a short word where there is one, else the words of its route.
fn what(method: &Method, route: &str) -> String {
    let word = match route {
        "/v1/jobs" | "/v1/vm" | "/v1/vm/" => "submit",
        "/v1/jobs/{id}/cancel" => "cancel",
        "/v1/jobs/{id}/retry" => "retry",
        "/v1/connect" => "login",
        "/v1/sync/{name}" => "sync",
        _ => "",
    };
    if !word.is_empty() {
        return word.to_owned();
    }
    let words = route.trim_start_matches("/v1/").split('/');
    let mut words: Vec<String> = words
        .filter(|word| !word.is_empty() && !word.starts_with('{'))
        .map(str::to_owned)
        .collect();
    if *method != Method::POST {
        words.push(method.as_str().to_ascii_lowercase());
    }
    words.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_nobody_has_named_has_a_name() {
        for (method, route, name) in [
            (Method::POST, "/v1/jobs", "submit"),
            (Method::DELETE, "/v1/vm/", "submit"),
            (Method::POST, "/v1/admin/dead/replay", "admin.dead.replay"),
            (
                Method::POST,
                "/v1/jobs/{id}/callbacks/{cid}/redeliver",
                "jobs.callbacks.redeliver",
            ),
            (Method::PUT, "/v1/quota", "quota.put"),
        ] {
            assert_eq!(what(&method, route), name);
        }
    }

    #[test]
    fn an_outcome_that_is_not_known_is_said() {
        for (status, problem, expected) in [
            (202, None, AuditOutcome::Accepted),
            (304, None, AuditOutcome::Accepted),
            (403, Some("/problems/forbidden"), AuditOutcome::Refused),
            (503, Some("/problems/queue-full"), AuditOutcome::Refused),
            (
                503,
                Some("/problems/outcome-unknown"),
                AuditOutcome::Unknown,
            ),
            (
                504,
                Some("/problems/upstream-timeout"),
                AuditOutcome::Unknown,
            ),
            (500, None, AuditOutcome::Unknown),
            (409, None, AuditOutcome::Refused),
        ] {
            assert_eq!(outcome(status, problem), expected, "{status} {problem:?}");
        }
    }
}
