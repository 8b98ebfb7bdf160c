//! `GET /problems/{slug}`: what the `type` of an error means.

use std::fmt::Write;

use axum::{
    Json,
    extract::{Path, rejection::PathRejection},
};
use serde::Serialize;
use vmctl_api_types::{Problem, ProblemType};

use crate::error::ApiError;

/// One type of problem.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ProblemInfo {
    /// The `type` member of such a problem.
    #[serde(rename = "type")]
    problem_type: String,
    /// Its `title`.
    title: &'static str,
    /// Its HTTP status.
    status: u16,
    /// What it means.
    meaning: &'static str,
    /// Whether the same request may succeed later.
    retryable: bool,
}

/// Explain a type of problem
#[utoipa::path(
    get, path = "/problems/{slug}", tag = "problems", operation_id = "get_problem",
    description = table(),
    params(("slug" = String, Path, description = "The last segment of a problem's `type`", example = "token-missing")),
    responses(
        (status = 200, description = "The type", body = ProblemInfo),
        (status = 404, description = "No such type", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    slug: Result<Path<String>, PathRejection>,
) -> Result<Json<ProblemInfo>, ApiError> {
    let found = slug
        .ok()
        .and_then(|Path(slug)| ProblemType::from_uri(&format!("/problems/{slug}")));
    let found = found.ok_or_else(|| ApiError::new(ProblemType::NotFound))?;
    Ok(Json(ProblemInfo {
        problem_type: found.uri(),
        title: found.title(),
        status: found.status(),
        meaning: found.meaning().trim(),
        retryable: found.is_retryable(),
    }))
}

/// Describes all types, as a table in Markdown.
fn table() -> String {
    let mut table = "| type | status | meaning |\n|---|---|---|\n".to_owned();
    for problem in ProblemType::ALL {
        // Writing into a String cannot fail.
        let _ = writeln!(
            table,
            "| `/problems/{}` | {} | {} |",
            problem.slug(),
            problem.status(),
            problem.meaning().trim()
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_type_is_documented() {
        let document = serde_json::to_value(crate::document()).unwrap();
        let text = document["paths"]["/problems/{slug}"]["get"]["description"]
            .as_str()
            .unwrap();
        for problem in ProblemType::ALL {
            assert!(text.contains(&format!("| `/problems/{}` |", problem.slug())));
        }
    }
}
