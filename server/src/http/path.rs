//! The job id in a path.

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use vmctl_api_types::{JobId, ProblemType};

use crate::error::ApiError;

/// The one path parameter of a job's resources.
pub(crate) struct JobPath(pub JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::new(ProblemType::BadId))?;
        text.parse()
            .map(Self)
            .map_err(|e: vmctl_api_types::ParseIdError| {
                ApiError::new(ProblemType::BadId).detail(e.to_string())
            })
    }
}
